package reports

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"rebound/internal/chart"
	"rebound/rtb"
)

// Formats are the names of the formats that a report can be written in.
var Formats = []string{"table", "csv", "json", "html"}

// Write writes the report in one of the [Formats]. Tables and pages have money as decimals;
// CSV and JSON have it in micros.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.writeText(w)
	case "csv":
		return r.writeCSV(w)
	case "json":
		return r.writeJSON(w)
	case "html":
		return r.writeHTML(w)
	}
	return fmt.Errorf("cannot write report: got format %q; want one of %s", format, strings.Join(Formats, ", "))
}

// span returns the range of the report in its zone.
func (r *Report) span() string {
	const layout = "2006-01-02 15:04"
	return fmt.Sprintf("from %s to %s, %s", r.From.In(r.Zone).Format(layout), r.To.In(r.Zone).Format(layout), r.Zone)
}

func (r *Report) asOf() string {
	text := "The log has been counted up to fact " + strconv.FormatUint(r.AsOf.Seq, 10)
	if !r.AsOf.Facts.IsZero() {
		text += " of " + r.AsOf.Facts.In(r.Zone).Format("2006-01-02 15:04:05")
	}
	if r.AsOf.Broken > 0 {
		text += fmt.Sprintf("; %d lines of the bid log could not be read", r.AsOf.Broken)
	}
	return text + "."
}

func (r *Report) writeText(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n\n", r.Title, r.span())
	if len(r.Table.Rows) == 0 {
		fmt.Fprintln(&b, "nothing was counted in this range")
	} else {
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		var names []string
		for _, c := range r.Table.Columns {
			names = append(names, c.Name)
		}
		fmt.Fprintln(w, strings.Join(names, "\t"))
		for _, row := range r.shown() {
			var cells []string
			for i := range row {
				cells = append(cells, r.Table.Columns[i].human(row[i]))
			}
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		if err := w.Flush(); err != nil {
			return fmt.Errorf("cannot write report: %w", err)
		}
	}
	b.WriteByte('\n')
	for _, n := range append(r.Notes, r.asOf()) {
		fmt.Fprintln(&b, n)
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

// shown returns the rows that people see.
func (r *Report) shown() (rows [][]any) {
	if r.perGroup == 0 {
		return r.Table.Rows
	}
	n := map[any]int{}
	for _, row := range r.Table.Rows {
		if n[row[0]]++; n[row[0]] <= r.perGroup {
			rows = append(rows, row)
		}
	}
	return rows
}

// human formats a cell for people.
func (c Column) human(v any) string {
	switch x := v.(type) {
	case nil:
		return "-"
	case string:
		if x == "" {
			return "-"
		}
		return x
	case float64:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case int64:
		switch c.unit {
		case unitMoney:
			return rtb.Micros(x).String()
		case unitWeight:
			return weightText(x)
		}
		return strconv.FormatInt(x, 10)
	}
	return fmt.Sprint(v)
}

// weightText formats millionths as a decimal without needless zeros.
func weightText(n int64) string {
	if n%million == 0 {
		return strconv.FormatInt(n/million, 10)
	}
	return strings.TrimRight(strconv.FormatFloat(float64(n)/million, 'f', 6, 64), "0")
}

// exactName is the name of a column in CSV and JSON.
func (c Column) exactName() string {
	if c.unit == unitMoney {
		return c.Name + "_micros"
	}
	return c.Name
}

func (r *Report) writeCSV(out io.Writer) error {
	w := csv.NewWriter(out)
	var line []string
	for _, c := range r.Table.Columns {
		line = append(line, c.exactName())
	}
	err := w.Write(line)
	for _, row := range r.Table.Rows {
		line = line[:0]
		for i, v := range row {
			line = append(line, r.Table.Columns[i].csv(v))
		}
		if err == nil {
			err = w.Write(line)
		}
	}
	w.Flush()
	if err == nil {
		err = w.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

func (c Column) csv(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		if x != "" && strings.IndexByte("=+-@\t\r", x[0]) >= 0 && c.Name != "loss_reason" {
			return "'" + x // a spreadsheet must not take text from a bid request for a formula
		}
		return x
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case int64:
		if c.unit == unitWeight {
			return weightText(x)
		}
		return strconv.FormatInt(x, 10)
	}
	return fmt.Sprint(v)
}

func (r *Report) writeJSON(out io.Writer) error {
	var b bytes.Buffer
	text := func(v any) {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.Encode(v) //nolint:errcheck // texts, numbers and times can always be encoded
		b.Truncate(b.Len() - 1)
	}
	b.WriteString(`{"report":`)
	text(r.Name)
	b.WriteString(`,"from":`)
	text(r.From.In(r.Zone).Format(time.RFC3339))
	b.WriteString(`,"to":`)
	text(r.To.In(r.Zone).Format(time.RFC3339))
	b.WriteString(`,"zone":`)
	text(r.Zone.String())
	b.WriteString(`,"as_of":`)
	text(r.AsOf)
	b.WriteString(`,"notes":`)
	text(append([]string{}, r.Notes...))
	b.WriteString(`,"rows":[`)
	for n, row := range r.Table.Rows {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n{")
		for i, v := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			c := &r.Table.Columns[i]
			text(c.exactName())
			b.WriteByte(':')
			if w, ok := v.(int64); ok && c.unit == unitWeight {
				b.WriteString(weightText(w))
				continue
			}
			text(v)
		}
		b.WriteByte('}')
	}
	b.WriteString("]}\n")
	if _, err := out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

// maxRows bounds the rows of a table in a page.
const maxRows = 2000

func (r *Report) writeHTML(out io.Writer) error {
	t := &chart.Table{}
	currency := r.Table.column("currency")
	for i, c := range r.Table.Columns {
		if i != currency { // each amount has its own
			t.Head = append(t.Head, strings.ReplaceAll(c.Name, "_", " "))
		}
	}
	for n, row := range r.shown() {
		if n == maxRows {
			break
		}
		var cells []string
		for i, v := range row {
			if i == currency {
				continue
			}
			text := r.Table.Columns[i].human(v)
			if slices.Contains(times, r.Table.Columns[i].Name) {
				text = strings.ReplaceAll(text, "-", "\u2011") // dates stay on one line
			}
			if r.Table.Columns[i].unit == unitMoney && v != nil && currency >= 0 {
				text += "\u00a0" + fmt.Sprint(row[currency])
			}
			cells = append(cells, text)
		}
		t.Rows = append(t.Rows, cells)
	}
	text := strings.Join(append(append([]string{}, r.Notes...), r.asOf()), " ")
	if n := len(r.Table.Rows); n > maxRows {
		text += fmt.Sprintf(" The table shows the first %d of %d rows; CSV and JSON have all.", maxRows, n)
	}
	sections := []chart.Section{{Text: r.span() + ". " + text}}
	for i := range r.Charts {
		sections = append(sections, chart.Section{Charts: []*chart.Line{r.line(&r.Charts[i])}})
	}
	if len(t.Rows) == 0 {
		sections = append(sections, chart.Section{Text: "Nothing was counted in this range."})
	} else {
		sections = append(sections, chart.Section{Table: t})
	}
	return chart.WritePage(out, r.Title, sections)
}

// line converts a chart. Its X axis is hours of the day, or days.
func (r *Report) line(c *Chart) *chart.Line {
	l := &chart.Line{Title: c.Title}
	scale, origin := 1.0, 0.0
	if c.Money {
		scale = million
	}
	unit := float64(dayGrain)
	l.YText = func(y float64) string { return strconv.FormatFloat(math.Round(y*million)/million, 'f', -1, 64) }
	days := math.Ceil(r.To.Sub(r.From).Hours() / 24)
	l.X0, l.X1, l.XStep = -0.5, days-0.5, math.Ceil(days/8)
	l.XText = func(x float64) string {
		return r.From.In(r.Zone).AddDate(0, 0, int(x)).Format("Jan 2")
	}
	l.XLabel = "day, " + r.Zone.String()
	origin = float64(rtb.DayOf(r.From, r.Zone).Start(r.Zone).Unix())
	if c.Clock {
		unit = hourGrain
		l.XLabel = "time of day, " + r.Zone.String()
		l.X0, l.X1, l.XStep = 0, math.Round(r.To.Sub(r.From).Hours()), 3
		l.XText = func(x float64) string {
			return time.Unix(int64(origin+x*hourGrain), 0).In(r.Zone).Format("15:04")
		}
	}
	for _, s := range c.Series {
		out := chart.Series{Name: s.Name}
		for i := range s.X {
			out.X, out.Y = append(out.X, (s.X[i]-origin)/unit), append(out.Y, s.Y[i]/scale)
		}
		l.Series = append(l.Series, out)
	}
	return l
}
