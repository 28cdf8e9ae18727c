package creatives

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Longest texts of a product, in characters (domain rule c8, Merchant product data
// specification). A longer optional text is ignored.
const (
	maxProductID   = 50
	maxTitle       = 150
	maxBrand       = 70
	maxComplements = 20
)

// rowFields returns the trimmed value of a field of one row, or an empty string.
type rowFields func(name string) string

// wrong returns the problem of a field's value.
func (get rowFields) wrong(field, want string) *spec.Problem {
	return &spec.Problem{Path: field, Got: spec.Quote(get(field)), Want: want}
}

// parse parses one row. Links must be on one of the domains, if there are any.
func (l *feedLoader) parse(get rowFields) (*Product, *spec.Problem) {
	sku, title := plainText(get("id")), plainText(get("title"))
	for _, f := range []struct {
		name, text string
		most       int
	}{{"id", sku, maxProductID}, {"title", title, maxTitle}} {
		if n := utf8.RuneCountInString(f.text); n > f.most {
			return nil, &spec.Problem{Path: f.name, Got: strconv.Itoa(n) + " characters", Want: "at most " + strconv.Itoa(f.most)}
		}
	}
	p := &Product{ID: rtb.FoldProductID(sku)}
	if p.ID == "" || title == "" {
		return nil, &spec.Problem{Path: "id", Got: spec.Quote(get("id")), Want: "an id and a title with characters that are shown"}
	}
	link, image, wrong := l.links(get)
	if wrong != nil {
		return nil, wrong
	}
	stock, ok := availability[stockWord(get("availability"))]
	if !ok {
		return nil, get.wrong("availability", "in_stock, out_of_stock, preorder or backorder")
	}
	p.InStock = stock
	text, amount, cur, ok := parsePrice(get("price"))
	if !ok {
		return nil, get.wrong("price", "an amount and a currency such as 15.00 USD")
	}
	p.Price, p.Amount, p.Currency = newText(text), amount, cur
	l.sale(p, get)
	p.SKU, p.Title, p.Brand = newText(sku), newText(title), newText(l.brand(get))
	p.Link, p.Image = newText(link), newText(image)
	for id := range strings.SplitSeq(decodeEntities(get("complements")), ",") {
		if id = rtb.FoldProductID(id); id != "" && id != p.ID && len(p.Complements) < maxComplements {
			p.Complements = append(p.Complements, id)
		}
	}
	return p, nil
}

// links returns the URLs of the landing page and of the image, in ASCII.
func (l *feedLoader) links(get rowFields) (link, image string, wrong *spec.Problem) {
	link, image = asciiURL(decodeEntities(get("link"))), asciiURL(decodeEntities(get("image_link")))
	if want := checkURL(link, true); want != "" {
		return "", "", get.wrong("link", want)
	}
	domains := l.options.Domains
	if host := HostOf(link); len(domains) > 0 && !HostWithin(host, domains) {
		return "", "", &spec.Problem{Path: "link", Got: "host " + spec.Quote(host), Want: "one of " + strings.Join(domains, ", ")}
	}
	if want := checkURL(image, false); want != "" {
		return "", "", get.wrong("image_link", want)
	}
	return link, image, nil
}

func (l *feedLoader) brand(get rowFields) string {
	brand := plainText(get("brand"))
	if n := utf8.RuneCountInString(brand); n > maxBrand {
		l.ignore(&spec.Problem{Path: "brand", Got: strconv.Itoa(n) + " characters", Want: "at most " + strconv.Itoa(maxBrand)})
		return ""
	}
	return brand
}

// availability maps the values of the field to whether the product is shown.
var availability = map[string]bool{"in_stock": true, "instock": true, "out_of_stock": false, "outofstock": false, "preorder": false, "pre_order": false, "backorder": false, "back_order": false}

// stockWord returns an availability as in the table: some tools write schema.org's
// names, blanks or hyphens.
func stockWord(s string) string {
	s = strings.ToLower(s)
	if i := strings.LastIndex(s, "schema.org/"); i >= 0 {
		s = s[i+len("schema.org/"):]
	}
	return strings.NewReplacer(" ", "_", "-", "_").Replace(s)
}

// sale reads the sale price and its dates. A sale that cannot be read, or that is
// not below the price, is none: the price itself is always right.
func (l *feedLoader) sale(p *Product, get rowFields) {
	if get("sale_price") == "" {
		return
	}
	text, amount, cur, ok := parsePrice(get("sale_price"))
	switch {
	case !ok || cur != p.Currency:
		l.ignore(get.wrong("sale_price", "an amount in the currency of the price, such as 12.00 "+p.Currency.String()))
		return
	case amount > p.Amount:
		l.ignore(get.wrong("sale_price", "less than the price, "+p.Price.Raw))
		return
	case amount == 0 || amount == p.Amount: // how some tools write an absent value
		return
	}
	var from, to time.Time
	if span := get("sale_price_effective_date"); span != "" {
		if from, to, ok = parseSpan(span, l.options.Zone); !ok {
			l.ignore(get.wrong("sale_price_effective_date", "two ISO 8601 dates or times separated by /, the second after the first"))
			return
		}
	}
	p.SalePrice, p.SaleAmount, p.SaleFrom, p.SaleTo = newText(text), amount, from, to
}

// equal reports whether two products are the same.
func (p *Product) equal(q *Product) bool {
	return p.ID == q.ID && p.SKU == q.SKU && p.Title == q.Title && p.Link == q.Link && p.Image == q.Image && p.Brand == q.Brand &&
		p.Price == q.Price && p.SalePrice == q.SalePrice && p.Amount == q.Amount && p.SaleAmount == q.SaleAmount && p.Currency == q.Currency &&
		p.SaleFrom.Equal(q.SaleFrom) && p.SaleTo.Equal(q.SaleTo) && p.InStock == q.InStock && slices.Equal(p.Complements, q.Complements)
}

// parsePrice parses "15.00 USD" or "USD 15.00"; text has the first form.
func parsePrice(s string) (text string, amount rtb.Micros, cur rtb.Currency, ok bool) {
	parts := strings.Fields(s)
	if len(parts) != 2 {
		return "", 0, cur, false
	}
	if cur, ok = rtb.ParseCurrency(parts[0]); ok {
		slices.Reverse(parts)
	} else if cur, ok = rtb.ParseCurrency(parts[1]); !ok {
		return "", 0, cur, false
	}
	if strings.Trim(parts[0], "0123456789.") != "" {
		return "", 0, cur, false
	}
	amount, err := rtb.ParseMicros(parts[0], rtb.RoundDown)
	return parts[0] + " " + cur.String(), amount, cur, err == nil && amount >= 0
}
