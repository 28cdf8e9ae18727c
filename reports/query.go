package reports

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Query is a question to the rollups.
type Query struct {
	Dims    []string // of time at most one
	Metrics []string
	// From and To bound the range; To is exclusive. Both must be whole hours, or quarters of
	// one in a store of quarters.
	From, To time.Time
	Zone     *time.Location // of the dimensions of time; nil: UTC
	Where    []Filter
	// Advertiser, if not empty, restricts the answer to one advertiser. What cannot be
	// attributed to an advertiser, such as requests, is then an error.
	Advertiser string
	Limit      int // rows; 0: all
}

// Filter selects rows by a dimension.
type Filter struct {
	Dim    string
	Not    bool // the value is none of Values
	Values []string
}

// ParseFilter parses "dimension:eq:value", where eq may be ne, in or nin; the values of the
// last two are separated by "|".
func ParseFilter(text string) (f Filter, err error) {
	name, rest, _ := strings.Cut(text, ":")
	op, value, ok := strings.Cut(rest, ":")
	if _, known := dimNamed(name); !ok || !known {
		return f, fmt.Errorf("cannot read filter: got %q; want DIMENSION:eq:VALUE with one of %s", text, strings.Join(dimNames[:], ", "))
	}
	f = Filter{Dim: name, Values: []string{value}}
	switch op {
	case "eq":
	case "ne":
		f.Not = true
	case "in", "nin":
		f.Not, f.Values = op == "nin", strings.Split(value, "|")
	default:
		return f, fmt.Errorf("cannot read filter: got operator %q; want eq, ne, in or nin", op)
	}
	return f, nil
}

// plan is a query whose words are known.
type plan struct {
	q        Query
	time     string // the dimension of time; empty: none
	dims     []dim
	filters  []dim
	needed   []measure
	money    bool
	byCube   map[int][]measure
	currency bool // the question asks for the currency, or for money
}

// ErrNotYours means that a question is not one that an advertiser may ask.
var ErrNotYours = errors.New("want the dimensions and metrics of your own bids and orders")

// plan checks a query and chooses the cubes that answer it.
func (s *Store) plan(q Query) (*plan, error) {
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	p := &plan{q: q, byCube: map[int][]measure{}}
	for _, name := range q.Dims {
		d, ok := dimNamed(name)
		switch {
		case slices.Contains(times, name) && p.time == "":
			p.time = name
		case slices.Contains(times, name):
			return nil, fmt.Errorf("cannot report by %s and %s: want one dimension of time", p.time, name)
		case !ok:
			return nil, fmt.Errorf("cannot report by %q: want one of %s, %s", name, strings.Join(times, ", "), strings.Join(dimNames[:], ", "))
		case d != dimCurrency: // added where it belongs
			p.dims = append(p.dims, d)
		}
	}
	if err := p.metrics(); err != nil {
		return nil, err
	}
	for _, f := range q.Where {
		d, ok := dimNamed(f.Dim)
		if !ok {
			return nil, fmt.Errorf("cannot filter by %q: want one of %s", f.Dim, strings.Join(dimNames[:], ", "))
		}
		p.filters = append(p.filters, d)
	}
	if q.Advertiser != "" {
		p.filters = append(p.filters, dimAdvertiser)
		p.q.Where = append(slices.Clone(q.Where), Filter{Dim: dimNames[dimAdvertiser], Values: []string{q.Advertiser}})
	}
	return p, p.choose(s)
}

// metrics finds the measures that the metrics need.
func (p *plan) metrics() error {
	need := func(m measure) {
		if !slices.Contains(p.needed, m) {
			p.needed = append(p.needed, m)
		}
		p.money = p.money || measureUnits[m] == unitMoney
	}
	for _, name := range p.q.Metrics {
		if i := slices.Index(measureNames[:], name); i >= 0 {
			need(measure(i))
		} else if i := slices.IndexFunc(ratios, func(r ratio) bool { return r.name == name }); i >= 0 {
			need(ratios[i].num)
			need(ratios[i].den)
		} else {
			return fmt.Errorf("cannot report metric %q: want one of %s", name, strings.Join(Metrics(), ", "))
		}
	}
	if len(p.needed) == 0 {
		return fmt.Errorf("cannot report: got no metrics; want some of %s", strings.Join(Metrics(), ", "))
	}
	return nil
}

// Metrics returns the names of all metrics.
func Metrics() (names []string) {
	names = append(names, measureNames[:]...)
	for i := range ratios {
		names = append(names, ratios[i].name)
	}
	return names
}

// UnavailableError means that no rollup holds the combination of dimensions. A scan of the
// logs can answer.
type UnavailableError struct {
	Metric string
	Dims   []string
}

// Error names the metric, the dimensions and the remedy.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("cannot report %s by %s together: no rollup holds that; want fewer dimensions or filters, or bidder report --scan, which reads the logs", e.Metric, strings.Join(e.Dims, ", "))
}

// choose finds the smallest cube for each measure.
func (p *plan) choose(s *Store) error {
	need := slices.Clone(p.dims)
	for _, d := range p.filters {
		if !slices.Contains(need, d) {
			need = append(need, d)
		}
	}
	for _, m := range p.needed {
		for _, d := range need {
			if !applies(d, m) {
				if d == dimAdvertiser && p.q.Advertiser != "" {
					return fmt.Errorf("cannot report %s: it belongs to no advertiser: %w", measureNames[m], ErrNotYours)
				}
				return fmt.Errorf("cannot report %s by %s: it has no such dimension", measureNames[m], dimNames[d])
			}
		}
		i := slices.IndexFunc(s.cubes, func(c cube) bool {
			return c.has(need, m) && (c.grain == 0 || p.time == timeSlot) && (c.grain > 0 || p.time != timeSlot)
		})
		if i < 0 {
			e := &UnavailableError{Metric: measureNames[m]}
			if p.time == timeSlot {
				e.Dims = append(e.Dims, timeSlot)
			}
			for _, d := range need {
				e.Dims = append(e.Dims, dimNames[d])
			}
			return e
		}
		p.byCube[i] = append(p.byCube[i], m)
		if grain := s.grainOf(i); p.q.From.Unix()%grain != 0 || p.q.To.Unix()%grain != 0 {
			return fmt.Errorf("cannot report from %s to %s: want whole multiples of %s", p.q.From.Format(time.RFC3339), p.q.To.Format(time.RFC3339), time.Duration(grain)*time.Second)
		}
		if _, offset := p.q.From.In(p.q.Zone).Zone(); p.time != "" && int64(offset)%s.grainOf(i) != 0 {
			return fmt.Errorf("cannot report by %s in zone %s: its hours do not begin with those of the rollups, which have sums by the hour; name a zone of an advertiser, or use UTC", p.time, p.q.Zone)
		}
	}
	p.currency = p.money && !slices.ContainsFunc(p.dims, func(d dim) bool { return d == dimLoss })
	return nil
}

func (s *Store) grainOf(i int) int64 {
	if g := s.cubes[i].grain; g > 0 {
		return g
	}
	return s.grain
}

// sourceOf returns the number of the cube from whose sums those of a cube are summed up when
// they are written: the largest one that covers it. It returns i if there is none.
func (s *Store) sourceOf(i int) int {
	c := &s.cubes[i]
	for n := len(s.cubes) - 1; n > i; n-- {
		if s.cubes[n].covers(c) {
			return n
		}
	}
	return i
}

// separator follows each value of a group.
const separator = 0x1f

// group identifies a row of an answer.
type group struct {
	period int
	values string // each followed by a separator
}

// sums are the rows of an answer by group.
type sums map[group]*[measures]int64

func (m sums) at(g group) *[measures]int64 {
	if m[g] == nil {
		m[g] = new([measures]int64)
	}
	return m[g]
}

// run executes a plan. The last value of each group is the currency.
func (s *Store) run(ctx context.Context, tx querier, p *plan) (sums, []period, error) {
	list, err := periods(p.time, p.q.From, p.q.To, p.q.Zone)
	if err != nil {
		return nil, nil, err
	}
	out := sums{}
	for i := range s.cubes {
		if len(p.byCube[i]) == 0 {
			continue
		}
		for n := range list {
			if err := s.runCube(ctx, tx, p, i, n, &list[n], out); err != nil {
				return nil, nil, err
			}
		}
	}
	return out, list, nil
}

// runCube adds the sums of one cube and period to out.
func (s *Store) runCube(ctx context.Context, tx querier, p *plan, i, n int, t *period, out sums) error {
	text, args := s.statement(p, i, t)
	c, width := &s.cubes[i], len(p.dims)
	money := p.currency && slices.Contains(c.dims, dimCurrency)
	if money {
		width++
	}
	list := p.byCube[i]
	values, numbers := make([]string, width), make([]int64, len(list))
	var targets []any
	for j := range values {
		targets = append(targets, &values[j])
	}
	for j := range numbers {
		targets = append(targets, &numbers[j])
	}
	return each(ctx, tx, text, args, func(rows *sql.Rows) error {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		g := group{n, ""}
		for _, v := range values {
			g.values += v + string(rune(separator))
		}
		if !money {
			g.values += string(rune(separator))
		}
		row := out.at(g)
		for j, m := range list {
			row[m] += numbers[j]
		}
		return nil
	})
}

// statement returns the query of one cube and period. Whole days of UTC come from the
// sums by day.
func (s *Store) statement(p *plan, i int, t *period) (string, []any) {
	c := &s.cubes[i]
	var names, texts, joins, sums []string
	list := p.dims
	if p.currency && slices.Contains(c.dims, dimCurrency) {
		list = append(slices.Clone(list), dimCurrency)
	}
	for n, d := range list {
		names = append(names, dimNames[d])
		texts = append(texts, fmt.Sprintf("w%d.text", n))
		joins = append(joins, fmt.Sprintf(" JOIN words w%[1]d ON w%[1]d.id = r.%[2]s", n, dimNames[d]))
	}
	for _, m := range p.byCube[i] {
		sums = append(sums, "SUM("+measureNames[m]+") "+measureNames[m])
		texts = append(texts, "r."+measureNames[m])
	}
	var args []any
	columns := strings.Join(append(slices.Clone(names), sums...), ", ")
	group := " HAVING COUNT(*) > 0"
	if len(names) > 0 {
		group = " GROUP BY " + strings.Join(names, ", ")
	}
	part := func(table string, from, to int64) string {
		args = append(args, from, to)
		text := "SELECT " + columns + " FROM " + c.name + "_" + table + " WHERE at >= ? AND at < ?"
		for _, f := range p.q.Where {
			not := ""
			if f.Not {
				not = "NOT "
			}
			text += " AND " + f.Dim + " " + not + "IN (SELECT id FROM words WHERE text IN (?" + strings.Repeat(", ?", len(f.Values)-1) + "))"
			for _, v := range f.Values {
				args = append(args, v)
			}
		}
		return text + group
	}
	first, last := (t.from+dayGrain-1)/dayGrain*dayGrain, t.to/dayGrain*dayGrain
	source := ""
	if first < last {
		source = part("fine", t.from, first) + " UNION ALL " + part("days", first, last) + " UNION ALL " + part("fine", last, t.to)
	} else {
		source = part("fine", t.from, t.to)
	}
	return "SELECT " + strings.Join(texts, ", ") + " FROM (" + source + ") r" + strings.Join(joins, ""), args
}
