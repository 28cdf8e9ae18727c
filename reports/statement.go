package reports

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rebound/rtb"
)

// statementRow is what an exchange's statement says of one day.
type statementRow struct {
	imps  int64
	spend rtb.Micros
	used  bool
}

// AddStatement adds the columns of an exchange's statement to the report reconcile, and
// the differences: theirs minus ours. The statement is CSV with a header that names the
// columns day (2006-01-02), imps and spend (a decimal in the currency of the row), and
// optionally exchange; others are ignored. A row of the statement that we have no books of
// is added.
func (r *Report) AddStatement(in io.Reader) error {
	if r.Name != "reconcile" {
		return fmt.Errorf("cannot compare the report %s with a statement: want the report reconcile", r.Name)
	}
	rows, byExchange, err := readStatement(in)
	if err != nil {
		return err
	}
	t := r.Table
	day, exchange, bills, spend := t.column("day"), t.column("exchange"), t.column("bills"), t.column("spend")
	t.Columns = append(t.Columns, Column{"statement_imps", unitCount}, Column{"imps_difference", unitCount}, Column{"statement_spend", unitMoney}, Column{"spend_difference", unitMoney})
	for i, row := range t.Rows {
		key := [2]string{row[day].(string), ""}
		if byExchange {
			key[1] = row[exchange].(string)
		}
		s := rows[key]
		if s == nil {
			t.Rows[i] = append(row, nil, nil, nil, nil)
			continue
		}
		if s.used {
			return fmt.Errorf("cannot compare with the statement: the report has several rows for %s %s; want a column exchange in the statement, or the filter --where exchange:eq:ID", key[0], key[1])
		}
		s.used = true
		t.Rows[i] = append(row, s.imps, s.imps-row[bills].(int64), int64(s.spend), int64(s.spend)-row[spend].(int64))
	}
	for key, s := range rows {
		if s.used {
			continue
		}
		row := make([]any, len(t.Columns))
		for i, c := range t.Columns {
			if c.unit == unitText {
				row[i] = ""
			} else {
				row[i] = int64(0)
			}
		}
		n := len(row)
		row[day], row[exchange], row[n-4], row[n-3], row[n-2], row[n-1] = key[0], key[1], s.imps, s.imps, int64(s.spend), int64(s.spend)
		t.Rows = append(t.Rows, row)
	}
	slices.SortStableFunc(t.Rows, func(x, y []any) int {
		return strings.Compare(x[day].(string)+" "+x[exchange].(string), y[day].(string)+" "+y[exchange].(string))
	})
	r.Notes = []string{"Differences are the statement minus our charged impressions (bills) and spend. The exchange's days must be those of the report's time zone."}
	return nil
}

// readStatement reads a statement by day and exchange; the exchange is empty if it has no
// such column.
func readStatement(in io.Reader) (rows map[[2]string]*statementRow, byExchange bool, err error) {
	c := csv.NewReader(in)
	head, err := c.Read()
	if err != nil {
		return nil, false, fmt.Errorf("cannot read statement: %w", err)
	}
	for i := range head {
		head[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(head[i], "\ufeff")))
	}
	day, imps, spend, exchange := slices.Index(head, "day"), slices.Index(head, "imps"), slices.Index(head, "spend"), slices.Index(head, "exchange")
	if day < 0 || imps < 0 || spend < 0 {
		return nil, false, fmt.Errorf("cannot read statement: got columns %s; want day, imps and spend", strings.Join(head, ", "))
	}
	rows = map[[2]string]*statementRow{}
	for n := 2; ; n++ {
		line, err := c.Read()
		if errors.Is(err, io.EOF) {
			return rows, exchange >= 0, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("cannot read statement: %w", err)
		}
		key := [2]string{strings.TrimSpace(line[day]), ""}
		if exchange >= 0 {
			key[1] = strings.TrimSpace(line[exchange])
		}
		if _, err := time.Parse(time.DateOnly, key[0]); err != nil {
			return nil, false, fmt.Errorf("cannot read statement: line %d: got day %q; want a date such as 2026-10-01", n, key[0])
		}
		amount, err := rtb.ParseMicros(strings.TrimSpace(line[spend]), rtb.RoundDown)
		if err != nil {
			return nil, false, fmt.Errorf("cannot read statement: line %d: spend: %w", n, err)
		}
		var count int64
		if _, err := fmt.Sscan(line[imps], &count); err != nil {
			return nil, false, fmt.Errorf("cannot read statement: line %d: got imps %q; want a number", n, line[imps])
		}
		if rows[key] == nil {
			rows[key] = &statementRow{}
		}
		rows[key].imps += count
		rows[key].spend += amount
	}
}
