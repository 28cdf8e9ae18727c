package creatives

import (
	"crypto/sha256"
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
	Good int // products
	Bad  int // rows that were skipped
	// Kept is why a newer file was rejected, if this is the older feed, and empty
	// otherwise.
	Kept string
	// Sum is the hash of the file.
	Sum [sha256.Size]byte

	products map[string]*Product
	ended    bool // the last row ends with a line end
}

// FeedOptions are the options of [LoadFeed].
type FeedOptions struct {
	ID       string
	Domains  []string       // hosts that links may have, with their subdomains; empty: any
	Zone     *time.Location // of dates and times without a zone; nil: UTC
	Previous *Feed          // the feed in use; nil at start
	// MinKeepPct is the minimum number of valid rows in a new file, in percent of
	// the previous number; 0 means 50.
	MinKeepPct int
	// Fresh is set if the file was written so recently that it may not be
	// complete yet.
	Fresh bool
}

// Why a newer file was rejected.
const (
	KeptShrunk    = "far fewer valid rows than before"
	KeptTruncated = "a file that ends in the middle of a row"
	KeptFresh     = "fewer rows than before in a file that was written a moment ago"
)

// FeedReport lists the problems in the rows of a feed. At most [MaxRowProblems] of
// each kind are kept.
type FeedReport struct {
	Skipped spec.Problems // rows that are not products
	Ignored spec.Problems // optional fields that could not be read; their products have none
	// SkippedRows and IgnoredFields count all of them.
	SkippedRows, IgnoredFields int
	// Truncated is set if the file ends in the middle of a row.
	Truncated bool
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
// names. Rows without a valid required field are skipped, and optional fields that
// cannot be read are ignored; the report names both. An error means that nothing
// could be read. If a file is not complete or has far fewer valid rows than the
// previous feed, LoadFeed returns the previous feed with Kept set.
func LoadFeed(r io.Reader, o FeedOptions) (*Feed, *FeedReport, error) {
	sum := sha256.New()
	rd := newRowReader(io.TeeReader(r, sum))
	header, _, err := rd.row()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("cannot load feed %s: %w", o.ID, err)
	}
	columns, err := readHeader(header)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot load feed %s: %w", o.ID, err)
	}
	rd.columns = columns.n
	l := feedLoader{rd: rd, columns: columns, options: o, feed: &Feed{products: map[string]*Product{}}}
	if l.options.Zone == nil {
		l.options.Zone = time.UTC
	}
	for l.feed.Good+l.feed.Bad < MaxRows {
		row, tooLong, err := rd.row()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("cannot load feed %s: line %d: %w", o.ID, rd.line, err)
		}
		l.row(row, tooLong)
	}
	if _, err := io.Copy(io.Discard, rd.r); err != nil { // beyond MaxRows, for the hash
		return nil, nil, fmt.Errorf("cannot load feed %s: %w", o.ID, err)
	}
	sum.Sum(l.feed.Sum[:0])
	l.feed.ended = rd.ended
	l.report.Truncated = !rd.ended && (l.badLast || o.Previous != nil && o.Previous.ended && l.feed.Good < o.Previous.Good)
	return l.feed.orPrevious(o, l.report.Truncated), &l.report, nil
}

// feedLoader loads the rows of one feed.
type feedLoader struct {
	rd      *rowReader
	columns feedColumns
	options FeedOptions
	feed    *Feed
	report  FeedReport
	badLast bool // the last row is not valid
}

// row adds the product of one row, or reports why the row is skipped.
func (l *feedLoader) row(row []string, tooLong bool) {
	l.badLast = false
	switch {
	case tooLong:
		l.skip(&spec.Problem{Got: "a longer row", Want: fmt.Sprintf("at most %d bytes", MaxRowBytes)})
		return
	case !slices.ContainsFunc(row, func(field string) bool { return strings.TrimSpace(field) != "" }):
		return
	}
	p, wrong := l.product(row)
	switch {
	case wrong != nil:
		l.skip(wrong)
		l.badLast = true
		return
	case l.feed.products[p.ID] != nil:
		l.skip(&spec.Problem{Path: "id", Got: spec.Quote(p.ID) + " again", Want: "an id that no other row has"})
		return
	}
	l.feed.products[p.ID] = p
	l.feed.Good++
}

func (l *feedLoader) skip(p *spec.Problem) {
	l.feed.Bad++
	l.report.SkippedRows++
	if p.Line = l.rd.line; len(l.report.Skipped) < MaxRowProblems {
		l.report.Skipped = append(l.report.Skipped, *p)
	}
}

// ignore notes an optional field that cannot be read.
func (l *feedLoader) ignore(p *spec.Problem) {
	l.report.IgnoredFields++
	if p.Line = l.rd.line; len(l.report.Ignored) < MaxRowProblems {
		l.report.Ignored = append(l.report.Ignored, *p)
	}
}

// orPrevious returns the previous feed if the new file is not complete or has lost
// too many rows.
func (f *Feed) orPrevious(o FeedOptions, truncated bool) *Feed {
	pct := o.MinKeepPct
	if pct <= 0 {
		pct = 50
	}
	why := ""
	switch {
	case o.Previous == nil:
		return f
	case f.Good*100 < o.Previous.Good*pct:
		why = KeptShrunk
	case truncated:
		why = KeptTruncated
	case o.Fresh && f.Good < o.Previous.Good:
		why = KeptFresh
	default:
		return f
	}
	kept := *o.Previous
	kept.Kept = why
	return &kept
}

// Changes returns how many products another feed adds, removes and changes.
func (f *Feed) Changes(to *Feed) (added, removed, changed int) {
	for id, p := range to.products {
		switch was := f.products[id]; {
		case was == nil:
			added++
		case !was.equal(p):
			changed++
		}
	}
	return added, len(f.products) + added - len(to.products), changed
}

// feedColumns are the columns of known fields.
type feedColumns struct {
	at map[string]int
	n  int
}

// RequiredFields are the columns that every feed must have.
var RequiredFields = []string{"id", "title", "link", "image_link", "price", "availability"}

func readHeader(row []string) (feedColumns, error) {
	c := feedColumns{at: map[string]int{}}
	for i, name := range row {
		if i == 0 {
			if strings.HasPrefix(name, "\xFF\xFE") || strings.HasPrefix(name, "\xFE\xFF") {
				return c, fmt.Errorf("%w: got text in UTF-16; want UTF-8", ErrNoFeed)
			}
			name = unquote(strings.TrimPrefix(name, "\uFEFF"))
		}
		name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
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

// product parses one row. Empty fields beyond the header's are ignored: some tools
// end every row with a tab.
func (l *feedLoader) product(fields []string) (*Product, *spec.Problem) {
	c := &l.columns
	for len(fields) > c.n && strings.TrimSpace(fields[len(fields)-1]) == "" {
		fields = fields[:len(fields)-1]
	}
	if len(fields) > c.n {
		return nil, &spec.Problem{Got: strconv.Itoa(len(fields)) + " fields", Want: "at most " + strconv.Itoa(c.n) + ", as in the header"}
	}
	for _, field := range fields {
		if !utf8.ValidString(field) {
			return nil, &spec.Problem{Got: "text that is not UTF-8", Want: "UTF-8"}
		}
	}
	get := rowFields(func(name string) string {
		if i, ok := c.at[name]; ok && i < len(fields) {
			return strings.TrimSpace(fields[i])
		}
		return ""
	})
	for _, name := range RequiredFields {
		if get(name) == "" {
			return nil, get.wrong(name, "a value")
		}
	}
	return l.parse(get)
}
