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
	MaxRowProblems = 1000      // further invalid rows are only counted
)

// Text is a text of a product and its escaped forms, which are made when the
// feed is loaded.
type Text struct {
	Raw  string
	HTML string // for HTML text and for quoted attributes
	URL  string // percent-encoded, for a part of a URL
	JS   string // for a quoted string in a script
}

// Product is a valid row of a feed.
type Product struct {
	ID          string // trimmed and case-folded
	SKU         Text   // the id as in the feed
	Title       Text
	Link        Text
	Image       Text
	Brand       Text
	Price       Text // "29.90 USD"
	SalePrice   Text // empty if there is no sale
	Type        string
	GroupID     string
	Amount      rtb.Micros
	SaleAmount  rtb.Micros
	Currency    rtb.Currency
	SaleFrom    time.Time // zero: no start
	SaleTo      time.Time // exclusive; zero: no end
	InStock     bool
	Complements []string // ids, trimmed and case-folded
}

// OnSale reports whether the sale price applies at a time.
func (p *Product) OnSale(now time.Time) bool {
	return p.SalePrice.Raw != "" && !now.Before(p.SaleFrom) && (p.SaleTo.IsZero() || now.Before(p.SaleTo))
}

// Feed is a loaded product feed. It is immutable.
type Feed struct {
	ID   string
	Good int // products
	Bad  int // rows that were skipped
	// Kept is set if a newer file was rejected and this is the older feed.
	Kept bool

	products map[string]*Product
}

// FeedOptions are the options of [LoadFeed].
type FeedOptions struct {
	ID       string
	Domains  []string // hosts that links may have, with their subdomains; empty: any
	Previous *Feed    // the feed in use; nil at start
	// MinKeepPct is the least number of valid rows that a new file must have,
	// in percent of the previous ones; 0 means 50.
	MinKeepPct int
}

// Product returns a product by its folded id, or nil if there is none. A nil
// feed has none.
func (f *Feed) Product(id string) *Product {
	if f == nil {
		return nil
	}
	return f.products[id]
}

// All returns the products, by id.
func (f *Feed) All() []*Product {
	all := make([]*Product, 0, len(f.products))
	for _, p := range f.products {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Product) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// ErrNoFeed means that a file is not a product feed.
var ErrNoFeed = errors.New("not a product feed")

// LoadFeed parses tab-separated values with a header line of Merchant field
// names. Invalid rows are skipped and returned as problems. An error means that
// nothing could be read. If a file has far fewer valid rows than the previous
// feed, LoadFeed returns the previous feed with Kept set.
func LoadFeed(r io.Reader, o FeedOptions) (*Feed, spec.Problems, error) {
	rd := &rowReader{r: bufio.NewReaderSize(r, MaxRowBytes)}
	header, _, err := rd.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("cannot load feed %s: %w", o.ID, err)
	}
	columns, err := readHeader(header)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot load feed %s: %w", o.ID, err)
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
			return nil, problems, fmt.Errorf("cannot load feed %s: line %d: %w", o.ID, rd.line, err)
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

// orPrevious returns the previous feed if the new one has lost too many rows.
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

// rowReader reads lines of limited length.
type rowReader struct {
	r    *bufio.Reader
	line int
}

// next returns the next line without its end. tooLong is set if it was cut off.
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

// feedColumns are the columns of known fields.
type feedColumns struct {
	at map[string]int
	n  int
}

// RequiredFields are the columns that every feed must have.
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

// unquote removes the quotes that some tools put around a field.
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
