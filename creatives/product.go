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

// textLimits are the longest texts of a product, in characters (domain rule c8,
// Merchant product data specification).
var textLimits = []struct {
	name string
	most int
}{{"id", 50}, {"title", 150}, {"brand", 70}, {"product_type", 750}, {"item_group_id", 50}}

// rowFields returns the trimmed value of a field of one row, or an empty string.
type rowFields func(name string) string

// wrong returns the problem of a field's value.
func (get rowFields) wrong(field, want string) *spec.Problem {
	return &spec.Problem{Path: field, Got: spec.Quote(get(field)), Want: want}
}

// parseProduct parses one row. Links must be on one of domains, if there are any.
func parseProduct(get rowFields, domains []string) (*Product, *spec.Problem) {
	p := &Product{ID: FoldID(get("id")), Type: get("product_type"), GroupID: get("item_group_id")}
	for _, f := range textLimits {
		if n := utf8.RuneCountInString(get(f.name)); n > f.most {
			return nil, &spec.Problem{Path: f.name, Got: strconv.Itoa(n) + " characters", Want: "at most " + strconv.Itoa(f.most)}
		}
	}
	if want := checkURL(get("link"), true); want != "" {
		return nil, get.wrong("link", want)
	}
	if host := HostOf(get("link")); len(domains) > 0 && !HostWithin(host, domains) {
		return nil, &spec.Problem{Path: "link", Got: "host " + spec.Quote(host), Want: "one of " + strings.Join(domains, ", ")}
	}
	if want := checkURL(get("image_link"), false); want != "" {
		return nil, get.wrong("image_link", want)
	}
	stock, ok := availability[strings.ReplaceAll(strings.ToLower(get("availability")), " ", "_")]
	if !ok {
		return nil, get.wrong("availability", "in_stock, out_of_stock, preorder or backorder")
	}
	p.InStock = stock
	if wrong := p.prices(get); wrong != nil {
		return nil, wrong
	}
	p.SKU, p.Title, p.Brand = newText(get("id")), newText(get("title")), newText(get("brand"))
	p.Link, p.Image = newText(get("link")), newText(get("image_link"))
	for id := range strings.SplitSeq(get("complements"), ",") {
		if id = FoldID(id); id != "" && id != p.ID && len(p.Complements) < 20 {
			p.Complements = append(p.Complements, id)
		}
	}
	return p, nil
}

// availability maps the values of the field to whether the product is shown.
var availability = map[string]bool{"in_stock": true, "out_of_stock": false, "preorder": false, "backorder": false}

func (p *Product) prices(get rowFields) *spec.Problem {
	text, amount, cur, ok := parsePrice(get("price"))
	if !ok {
		return get.wrong("price", "an amount and a currency such as 15.00 USD")
	}
	p.Price, p.Amount, p.Currency = newText(text), amount, cur
	if get("sale_price") == "" {
		return nil
	}
	text, amount, cur, ok = parsePrice(get("sale_price"))
	if !ok || cur != p.Currency {
		return get.wrong("sale_price", "an amount in the currency of the price, such as 12.00 "+p.Currency.String())
	}
	p.SalePrice, p.SaleAmount = newText(text), amount
	if span := get("sale_price_effective_date"); span != "" {
		from, to, _ := strings.Cut(span, "/")
		var ok1, ok2 bool
		p.SaleFrom, ok1 = parseDate(from)
		p.SaleTo, ok2 = parseDate(to)
		if !ok1 || !ok2 || !p.SaleTo.After(p.SaleFrom) {
			return get.wrong("sale_price_effective_date", "two ISO 8601 times separated by /")
		}
	}
	return nil
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

// parseDate parses the forms of ISO 8601 that feeds use.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04-0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05-0700", time.DateOnly} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
