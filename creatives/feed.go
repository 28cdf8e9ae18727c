package creatives

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Limits of a feed.
const (
	MaxRowBytes    = 64 << 10  // a longer row is skipped
	MaxRows        = 5_000_000 // further rows are skipped
	MaxRowProblems = 1000      // further bad rows are counted only
)

// Text is a product's text and its escaped forms, made once at load.
type Text struct {
	Raw  string
	HTML string // for HTML text and for quoted attributes
	URL  string // percent-encoded, for a part of a URL
	JS   string // for a quoted string in a script
}

// Product is one good row of a feed.
type Product struct {
	ID          string // trimmed and case-folded
	SKU         Text   // the id as the feed writes it
	Title       Text
	Link        Text
	Image       Text
	Brand       Text
	Price       Text // "29.90 USD"
	SalePrice   Text // empty without a sale
	Type        string
	GroupID     string
	Amount      rtb.Micros
	SaleAmount  rtb.Micros
	Currency    rtb.Currency
	SaleFrom    time.Time // zero: since ever
	SaleTo      time.Time // zero: for ever; exclusive
	InStock     bool
	Complements []string // ids, trimmed and case-folded
}

// OnSale tells whether the sale price holds at a time.
func (p *Product) OnSale(now time.Time) bool {
	return p.SalePrice.Raw != "" && !now.Before(p.SaleFrom) && (p.SaleTo.IsZero() || now.Before(p.SaleTo))
}

// Feed is a loaded product feed; immutable.
type Feed struct {
	ID   string
	Good int // products
	Bad  int // rows that were skipped
	// Kept tells that a newer file was refused and this is the older feed.
	Kept bool

	products map[string]*Product
}

// FeedOptions say how a feed is read.
type FeedOptions struct {
	ID       string
	Domains  []string // hosts that links may have, with their subdomains; empty: any
	Previous *Feed    // what is served now; nil at start
	// MinKeepPct is the least share of the previous good rows, in percent, that a
	// new file must have; 0 means 50.
	MinKeepPct int
}

// Product finds a product by its folded id; nil when there is none. A nil feed
// has none.
func (f *Feed) Product(id string) *Product {
	if f == nil {
		return nil
	}
	return f.products[id]
}

// All are the products, by id.
func (f *Feed) All() []*Product {
	all := make([]*Product, 0, len(f.products))
	for _, p := range f.products {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Product) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// ErrNoFeed is why nothing could be read.
var ErrNoFeed = errors.New("not a product feed")

// LoadFeed reads products as tab separated values with a header line of
// Merchant field names. Bad rows are skipped and reported. An error means that
// nothing could be read; a file with far fewer good rows than the previous feed
// gives the previous feed back, marked Kept.
func LoadFeed(r io.Reader, o FeedOptions) (*Feed, spec.Problems, error) {
	rd := &rowReader{r: bufio.NewReaderSize(r, MaxRowBytes)}
	header, _, err := rd.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("cannot read feed %s: %w", o.ID, err)
	}
	columns, err := readHeader(header)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read feed %s: %w", o.ID, err)
	}
	f := &Feed{ID: o.ID, products: map[string]*Product{}}
	var problems spec.Problems
	bad := func(p spec.Problem) {
		f.Bad++
		if p.Line = rd.line; len(problems) < MaxRowProblems {
			problems = append(problems, p)
		}
	}
	for f.Good+f.Bad < MaxRows {
		row, tooLong, err := rd.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, problems, fmt.Errorf("cannot read feed %s: line %d: %w", o.ID, rd.line, err)
		}
		if tooLong {
			bad(spec.Problem{Got: "a longer row", Want: fmt.Sprintf("at most %d bytes", MaxRowBytes)})
			continue
		}
		if len(bytes.TrimSpace(row)) == 0 {
			continue
		}
		p, wrong := columns.product(row, o.Domains)
		if wrong == nil && f.products[p.ID] != nil {
			wrong = &spec.Problem{Path: "id", Got: spec.Quote(p.ID) + " again", Want: "an id that no other row has"}
		}
		if wrong != nil {
			bad(*wrong)
			continue
		}
		f.products[p.ID] = p
		f.Good++
	}
	return f.orPrevious(o), problems, nil
}

// orPrevious keeps the older feed where the new one lost too much.
func (f *Feed) orPrevious(o FeedOptions) *Feed {
	pct := o.MinKeepPct
	if pct <= 0 {
		pct = 50
	}
	if o.Previous == nil || f.Good*100 >= o.Previous.Good*pct {
		return f
	}
	kept := *o.Previous
	kept.Kept = true
	return &kept
}

// rowReader reads lines with a bound on their length.
type rowReader struct {
	r    *bufio.Reader
	line int
}

// next is the next line without its end; tooLong tells that it was cut off.
func (rd *rowReader) next() (row []byte, tooLong bool, err error) {
	row, err = rd.r.ReadSlice('\n')
	rd.line++
	for errors.Is(err, bufio.ErrBufferFull) {
		tooLong = true
		_, err = rd.r.ReadSlice('\n')
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(row) == 0 && !tooLong) {
		return nil, false, err
	}
	return bytes.TrimRight(row, "\r\n"), tooLong, nil
}

// feedColumns are the places of known fields in a row.
type feedColumns struct {
	at map[string]int
	n  int
}

// RequiredFields are the columns that a feed must have.
var RequiredFields = []string{"id", "title", "link", "image_link", "price", "availability"}

func readHeader(row []byte) (feedColumns, error) {
	row = bytes.TrimPrefix(row, []byte("\xEF\xBB\xBF"))
	c := feedColumns{at: map[string]int{}}
	for name := range strings.SplitSeq(string(row), "\t") {
		name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(unquote(name))), " ", "_")
		if _, again := c.at[name]; again && name != "" {
			return c, fmt.Errorf("%w: got the column %q twice; want every column once", ErrNoFeed, name)
		}
		c.at[name] = c.n
		c.n++
	}
	for _, f := range RequiredFields {
		if _, ok := c.at[f]; !ok {
			return c, fmt.Errorf("%w: got no column %s; want a header line with tabs between %s", ErrNoFeed, f, strings.Join(RequiredFields, ", "))
		}
	}
	return c, nil
}

// unquote takes the quotes off a field that some tools put there.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

// product parses one row.
func (c *feedColumns) product(row []byte, domains []string) (*Product, *spec.Problem) {
	if !utf8.Valid(row) {
		return nil, &spec.Problem{Got: "text that is not UTF-8", Want: "UTF-8"}
	}
	fields := strings.Split(string(row), "\t")
	if len(fields) > c.n {
		return nil, &spec.Problem{Got: strconv.Itoa(len(fields)) + " fields", Want: "at most " + strconv.Itoa(c.n) + ", as in the header"}
	}
	get := rowFields(func(name string) string {
		if i, ok := c.at[name]; ok && i < len(fields) {
			return strings.TrimSpace(unquote(fields[i]))
		}
		return ""
	})
	for _, name := range RequiredFields {
		if get(name) == "" {
			return nil, get.wrong(name, "a value")
		}
	}
	return parseProduct(get, domains)
}
