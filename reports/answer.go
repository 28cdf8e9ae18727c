package reports

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Column is a column of a [Table].
type Column struct {
	Name string
	unit unit
}

// Table is an answer. A cell is a string, an int64 (a number, millionths of a number or
// micros, according to its column), a float64, or nil where nothing can be computed.
type Table struct {
	Columns []Column
	Rows    [][]any
}

// column returns the index of a column.
func (t *Table) column(name string) int {
	return slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
}

// Query answers a question.
func (s *Store) Query(ctx context.Context, q Query) (*Table, error) {
	p, err := s.plan(q)
	if err != nil {
		return nil, err
	}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("cannot read rollups: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	rows, list, err := s.run(ctx, tx, p)
	if err == nil && p.currency {
		err = s.fillCurrency(ctx, tx, p, rows)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read rollups: %w", err)
	}
	return p.table(rows, list), nil
}

// fillCurrency adds rows without a currency, which bids and counts without money have, to
// the row of the same group that has one.
func (s *Store) fillCurrency(ctx context.Context, tx querier, p *plan, rows sums) error {
	of := map[string]string{}
	err := each(ctx, tx, "SELECT advertiser, currency FROM currencies", nil, func(r *sql.Rows) error {
		var advertiser, currency string
		err := r.Scan(&advertiser, &currency)
		of[advertiser] = currency
		return err
	})
	if err != nil {
		return err
	}
	best := map[group]string{} // the currency of a group, without that
	for _, g := range slices.SortedFunc(maps.Keys(rows), compareGroups) {
		if values, c := splitCurrency(g.values); c != "" && best[group{g.period, values}] == "" {
			best[group{g.period, values}] = c
		}
	}
	single := ""
	for _, c := range of {
		if single != "" && single != c {
			single = ""
			break
		}
		single = c
	}
	for g, row := range rows {
		values, c := splitCurrency(g.values)
		if c != "" {
			continue
		}
		if c = best[group{g.period, values}]; c == "" {
			c = single
			if i := slices.Index(p.dims, dimAdvertiser); i >= 0 {
				c = of[strings.Split(values, string(rune(separator)))[i]]
			} else if p.q.Advertiser != "" {
				c = of[p.q.Advertiser]
			}
		}
		if c == "" {
			continue
		}
		delete(rows, g)
		to := rows.at(group{g.period, values + c + string(rune(separator))})
		for m := range row {
			to[m] += row[m]
		}
	}
	return nil
}

// splitCurrency splits the last of a group's values off.
func splitCurrency(values string) (rest, currency string) {
	values = values[:len(values)-1]
	i := strings.LastIndexByte(values, separator) + 1
	return values[:i], values[i:]
}

func compareGroups(a, b group) int {
	if a.period != b.period {
		return a.period - b.period
	}
	return strings.Compare(a.values, b.values)
}

// table lays an answer out, sorted by its dimensions.
func (p *plan) table(rows sums, list []period) *Table {
	t := &Table{}
	if p.time != "" {
		t.Columns = append(t.Columns, Column{p.time, unitText})
	}
	for _, d := range p.dims {
		t.Columns = append(t.Columns, Column{dimNames[d], unitText})
	}
	if p.currency {
		t.Columns = append(t.Columns, Column{dimNames[dimCurrency], unitText})
	}
	for _, name := range p.q.Metrics {
		t.Columns = append(t.Columns, Column{name, unitOf(name)})
	}
	for _, g := range slices.SortedFunc(maps.Keys(rows), compareGroups) {
		if p.q.Limit > 0 && len(t.Rows) == p.q.Limit {
			break
		}
		if *rows[g] == ([measures]int64{}) { // what was taken back
			continue
		}
		var row []any
		if p.time != "" {
			row = append(row, list[g.period].name)
		}
		values := strings.Split(g.values, string(rune(separator)))
		for i := range p.dims {
			row = append(row, values[i])
		}
		if p.currency {
			row = append(row, values[len(p.dims)])
		}
		for _, name := range p.q.Metrics {
			row = append(row, metricOf(name, rows[g]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func unitOf(metric string) unit {
	if i := slices.Index(measureNames[:], metric); i >= 0 {
		return measureUnits[i]
	}
	return ratios[slices.IndexFunc(ratios, func(r ratio) bool { return r.name == metric })].unit
}

// metricOf returns the value of a metric; nil where a ratio would divide by zero.
func metricOf(name string, sum *[measures]int64) any {
	if i := slices.Index(measureNames[:], name); i >= 0 {
		return sum[i]
	}
	r := &ratios[slices.IndexFunc(ratios, func(r ratio) bool { return r.name == name })]
	num, den := sum[r.num], sum[r.den]
	if den == 0 {
		return nil
	}
	if r.unit == unitMoney {
		return divide(num, int64(r.factor), den)
	}
	return r.factor * float64(num) / float64(den)
}

// divide returns num x factor / den, rounded to the nearest, without overflow.
func divide(num, factor, den int64) int64 {
	if num < 0 || den < 0 {
		return int64(math.Round(float64(num) * float64(factor) / float64(den)))
	}
	hi, lo := bits.Mul64(uint64(num), uint64(factor))
	var carry uint64
	if lo, carry = bits.Add64(lo, uint64(den)/2, 0); carry > 0 {
		hi++
	}
	if hi >= uint64(den) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(den))
	return int64(min(q, math.MaxInt64))
}

// AsOf says what the rollups reflect.
type AsOf struct {
	Seq    uint64    `json:"seq"`              // the last fact
	Facts  time.Time `json:"facts,omitzero"`   // its time
	Broken int64     `json:"broken,omitempty"` // lines of the bid log that could not be read
}

// AsOf returns what the rollups reflect.
func (s *Store) AsOf(ctx context.Context) (AsOf, error) {
	st := state{files: map[string]fileState{}}
	err := each(ctx, s.db, "SELECT name, value FROM meta", nil, func(r *sql.Rows) error {
		var name, value string
		if err := r.Scan(&name, &value); err != nil {
			return err
		}
		return st.meta(name, value)
	})
	return AsOf{Seq: st.facts.Seq, Facts: st.facts.Time, Broken: st.broken}, err
}

// Scan answers a question by reading the whole logs, for combinations of dimensions that no
// rollup holds. It needs no store.
func Scan(ctx context.Context, o Options, q Query) (*Report, error) {
	o.Path = ""
	var list []dim
	for _, name := range q.Dims {
		if d, ok := dimNamed(name); ok {
			list = append(list, d)
		}
	}
	for _, f := range q.Where {
		if d, ok := dimNamed(f.Dim); ok {
			list = append(list, d)
		}
	}
	if q.Advertiser != "" {
		list = append(list, dimAdvertiser)
	}
	list = append(list, dimCurrency)
	slices.Sort(list)
	list = slices.Compact(list)
	grain := int64(0)
	if slices.Contains(q.Dims, timeSlot) {
		grain = paceGrain
	}
	if _, offset := q.From.In(q.zone()).Zone(); offset%hourGrain != 0 {
		o.Quarters = true
	}
	for i, k := range []kind{ofRequest, ofBid | ofNotice, ofRefusal, ofOrder} {
		o.cubes = append(o.cubes, cube{"scan" + strconv.Itoa(i), k, list, grain})
	}
	s, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	_, err = s.Update(ctx)
	var r *Report
	if err == nil {
		r, err = s.Custom(ctx, q)
	}
	return r, errors.Join(err, s.Close())
}

func (q *Query) zone() *time.Location {
	if q.Zone == nil {
		return time.UTC
	}
	return q.Zone
}
