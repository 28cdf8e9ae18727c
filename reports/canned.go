package reports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is a canned report, or a query's answer with a name.
type Report struct {
	Name, Title string
	From, To    time.Time
	Zone        *time.Location
	AsOf        AsOf
	Notes       []string // what the reader must know
	Table       *Table
	Charts      []Chart

	perGroup int // rows with the same first value that tables and pages show; 0: all
}

// Chart is a line chart of a report.
type Chart struct {
	Title  string // ends with the currency of money
	Money  bool   // Y is in micros
	Clock  bool   // X are times of one day
	Series []Series
}

// Series is one curve: X in seconds since 1970.
type Series struct {
	Name string
	X, Y []float64
}

// ask is what a canned report is asked for.
type ask struct {
	s *Store
	q Query // without dimensions and metrics
}

// canned is one of the canned reports.
type canned struct {
	name, title string
	operator    bool // it shows requests, which belong to no advertiser
	fill        func(ctx context.Context, a *ask, r *Report) error
}

// cannedReports are listed in the order of the help text.
var cannedReports = []canned{
	{"delivery", "Delivery by day and line", false, delivery},
	{"pacing", "Spend against an even plan, by 5 minutes of one day", false, pacing},
	{"funnel", "From request to order", false, funnel},
	{"recency_frequency", "Results by recency and frequency", false, recencyFrequency},
	{"nobid", "Why there was no bid", false, noBids},
	{"match_rate", "Requests of known visitors, by exchange", true, matchRate},
	{"losses", "Why bids lost", false, losses},
	{"qps_waste", "Requests that can't lead to a bid, by exchange, size, country and domain", true, waste},
	{"reconcile", "Our books by day and exchange", true, reconcile},
}

// Names returns the names of the canned reports with their titles.
func Names() (list [][2]string) {
	for i := range cannedReports {
		list = append(list, [2]string{cannedReports[i].name, cannedReports[i].title})
	}
	return list
}

// ErrUnknown means that there is no report of a name.
var ErrUnknown = errors.New("no such report")

// Canned returns a canned report over the range, zone, filters and advertiser of q.
func (s *Store) Canned(ctx context.Context, name string, q Query) (*Report, error) {
	i := slices.IndexFunc(cannedReports, func(c canned) bool { return c.name == name })
	if i < 0 {
		var names []string
		for _, n := range Names() {
			names = append(names, n[0])
		}
		return nil, fmt.Errorf("%w: got %q; want one of %s", ErrUnknown, name, strings.Join(names, ", "))
	}
	c := &cannedReports[i]
	if c.operator && q.Advertiser != "" {
		return nil, fmt.Errorf("cannot report %s: it shows requests, which belong to no advertiser: %w", name, ErrNotYours)
	}
	asOf, err := s.AsOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read rollups: %w", err)
	}
	q.Zone = q.zone()
	r := &Report{Name: name, Title: c.title, From: q.From, To: q.To, Zone: q.Zone, AsOf: asOf}
	return r, c.fill(ctx, &ask{s, q}, r)
}

// Custom returns the answer to a query as a report.
func (s *Store) Custom(ctx context.Context, q Query) (*Report, error) {
	t, err := s.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	asOf, err := s.AsOf(ctx)
	return &Report{Name: "custom", Title: "Report", From: q.From, To: q.To, Zone: q.zone(), AsOf: asOf, Table: t}, err
}

func (a *ask) query(ctx context.Context, dims, metrics string) (*Table, error) {
	q := a.q
	q.Dims, q.Metrics = fields(dims), fields(metrics)
	return a.s.Query(ctx, q)
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func delivery(ctx context.Context, a *ask, r *Report) (err error) {
	r.Table, err = a.query(ctx, "day advertiser campaign line", "bids wins win_rate bills imps viewable clicks ctr spend ecpm ecpc avg_bid")
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, "Everything counts on the day of the bid, however late it was reported.")
	for _, c := range byCurrency(r.Table) {
		chart := Chart{Title: "Spend by day, " + c, Money: true}
		chart.Series = curves(r.Table, c, "spend", a.q.Zone)
		r.Charts = append(r.Charts, chart)
	}
	return nil
}

// byCurrency returns the currencies of a table.
func byCurrency(t *Table) (list []string) {
	i := t.column("currency")
	for _, row := range t.Rows {
		if c, _ := row[i].(string); c != "" && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// maxCurves bounds the curves of a chart: more cannot be told apart.
const maxCurves = 6

// curves returns the daily values of the lines with the largest sums in a currency.
func curves(t *Table, currency, metric string, zone *time.Location) []Series {
	c, m := t.column("currency"), t.column(metric)
	total := map[string]float64{}
	series := map[string]*Series{}
	for _, row := range t.Rows {
		if row[c] != currency {
			continue
		}
		name := fmt.Sprint(row[1], "/", row[2], "/", row[3])
		if series[name] == nil {
			series[name] = &Series{Name: name}
		}
		day, _ := time.ParseInLocation(time.DateOnly, row[0].(string), zone)
		y, _ := row[m].(int64)
		x := series[name]
		x.X, x.Y = append(x.X, float64(day.Unix())), append(x.Y, float64(y))
		total[name] += float64(y)
	}
	var list []Series
	for _, x := range series {
		list = append(list, *x)
	}
	slices.SortFunc(list, func(a, b Series) int {
		return cmp.Or(cmp.Compare(total[b.Name], total[a.Name]), cmp.Compare(a.Name, b.Name))
	})
	return list[:min(len(list), maxCurves)]
}

func recencyFrequency(ctx context.Context, a *ask, r *Report) (err error) {
	r.Table, err = a.query(ctx, "recency_bucket frequency_bucket", "bids wins imps clicks ctr spend ecpm")
	if err != nil {
		return err
	}
	order := func(row []any) int {
		n := slices.IndexFunc(recencyBuckets, func(b struct {
			below int64
			name  string
		}) bool {
			return b.name == row[0]
		})
		if row[0] == "" {
			n = 1 << 20
		} else if n < 0 {
			n = 1 << 10
		}
		f, _ := strconv.Atoi(strings.TrimLeft(strings.FieldsFunc(row[1].(string)+"-", func(r rune) bool { return r == '-' })[0], ">"))
		if row[1] == ">20" {
			f = 21
		}
		return n*100 + f
	}
	for _, row := range r.Table.Rows {
		if row[1] == "" {
			row[1] = "-"
		}
	}
	slices.SortStableFunc(r.Table.Rows, func(x, y []any) int { return order(x) - order(y) })
	for _, row := range r.Table.Rows {
		for i := range 2 {
			if row[i] == "" || row[i] == "-" {
				row[i] = "unknown"
			}
		}
	}
	r.Notes = append(r.Notes, "Recency is the time since the visitor last did what the line's audience asks for; frequency is the number of impressions of the line that the visitor had seen before the bid.",
		"Unknown: contextual bids, and bids that records of versions before 2026-12 hold or that have no record.")
	return nil
}

func noBids(ctx context.Context, a *ask, r *Report) (err error) {
	lines := a.q.Advertiser != ""
	for _, f := range a.q.Where {
		d, _ := dimNamed(f.Dim)
		lines = lines || !applies(d, mRequests)
	}
	metric, dims, what := "requests", "nobid_reason", "requests"
	if lines {
		metric, dims, what = "refusals", "advertiser campaign line nobid_reason", "refusals"
		r.Notes = append(r.Notes, "Counted are the times that a line was considered and refused; a request may refuse several lines, and one that is refused before its lines are considered counts for none.")
	} else {
		r.Notes = append(r.Notes, "The reason of a request is that of the line that came furthest.")
	}
	r.Notes = append(r.Notes, "Only a share of the requests without a bid is recorded; the numbers are estimates, weighted by that share.")
	t, err := a.query(ctx, dims, metric)
	if err != nil {
		return err
	}
	reason, n := t.column("nobid_reason"), t.column(metric)
	if !lines {
		t.Rows = slices.DeleteFunc(t.Rows, func(row []any) bool { return row[reason] == "" })
	}
	shareColumn(t, n, what)
	slices.SortStableFunc(t.Rows, func(x, y []any) int { return cmp.Compare(y[n].(int64), x[n].(int64)) })
	r.Table = t
	return nil
}

// shareColumn adds the share of each row in the sum of a column.
func shareColumn(t *Table, n int, what string) {
	total := int64(0)
	for _, row := range t.Rows {
		total += row[n].(int64)
	}
	t.Columns = append(t.Columns, Column{"share_of_" + what, unitPercent})
	for i, row := range t.Rows {
		t.Rows[i] = append(row, 100*float64(row[n].(int64))/float64(max(total, 1)))
	}
}

func matchRate(ctx context.Context, a *ask, r *Report) (err error) {
	r.Table, err = a.query(ctx, "exchange", "requests matched_users match_rate in_audience eligible answered bid_rate")
	r.Notes = append(r.Notes, "Requests without a bid are estimated from the recorded share.")
	return err
}

func losses(ctx context.Context, a *ask, r *Report) error {
	t, err := a.query(ctx, "exchange advertiser campaign line loss_reason", "losses")
	if err != nil {
		return err
	}
	n, code := t.column("losses"), t.column("loss_reason")
	t.Rows = slices.DeleteFunc(t.Rows, func(row []any) bool { return row[n] == int64(0) })
	shareColumn(t, n, "losses")
	t.Columns = append(t.Columns, Column{"meaning", unitText})
	for i, row := range t.Rows {
		t.Rows[i] = append(row, lossText(row[code].(string)))
	}
	slices.SortStableFunc(t.Rows, func(x, y []any) int { return cmp.Compare(y[n].(int64), x[n].(int64)) })
	r.Table = t
	return nil
}

// lossTexts describe the codes for lost auctions (OpenRTB 3.0, List: Loss Reason Codes).
var lossTexts = map[string]string{
	"-1": "the notice named no reason", "0": "won", "1": "internal error of the exchange", "2": "impression opportunity expired", "3": "invalid bid response", "4": "invalid deal id",
	"5": "invalid auction id", "6": "invalid advertiser domain", "7": "missing markup", "8": "missing creative id", "9": "missing bid price",
	"10": "missing data for approval", "100": "below the floor", "101": "below the deal's floor", "102": "lost to a higher bid", "103": "lost to a bid for a deal",
	"104": "seat is blocked", "200": "creative filtered", "201": "creative is being processed", "202": "creative is disapproved", "203": "size is not allowed",
	"204": "format is not correct", "205": "advertiser is excluded", "206": "app store id is invalid", "207": "creative is not secure", "208": "language is excluded",
	"209": "category is excluded", "210": "attribute is excluded", "211": "ad type is excluded", "212": "animation is too long", "213": "not allowed in the deal",
	"214": "SKAdNetwork is invalid", "215": "app bundle is excluded",
}

func lossText(code string) string {
	if text := lossTexts[code]; text != "" {
		return text
	}
	if n, err := strconv.Atoi(code); err == nil && n >= 500 {
		return "a reason of the exchange's own"
	}
	return ""
}

func waste(ctx context.Context, a *ask, r *Report) error {
	out := &Table{Columns: []Column{{"by", unitText}, {"value", unitText}}}
	for _, by := range []string{"exchange", "size", "country", "domain"} {
		t, err := a.query(ctx, by, "requests matched_users eligible answered bids wins")
		if err != nil {
			return err
		}
		if len(out.Columns) == 2 {
			out.Columns = append(append(out.Columns, t.Columns[1:]...), Column{"unanswered_pct", unitPercent})
		}
		slices.SortStableFunc(t.Rows, func(x, y []any) int { return cmp.Compare(y[1].(int64)-y[4].(int64), x[1].(int64)-x[4].(int64)) })
		for _, row := range t.Rows {
			var share any
			if requests := row[1].(int64); requests > 0 {
				share = 100 * float64(requests-row[4].(int64)) / float64(requests)
			}
			out.Rows = append(out.Rows, append(append([]any{by}, row...), share))
		}
		if n := len(t.Rows); n > maxWaste {
			r.Notes = append(r.Notes, fmt.Sprintf("There are %d values of %s; tables and pages show the %d with the most requests without a bid, CSV and JSON all.", n, by, maxWaste))
		}
	}
	r.Table, r.perGroup = out, maxWaste
	r.Notes = append(r.Notes, "Ask the exchange not to send what is matched or eligible too rarely. Bids and wins count impressions; the other columns count requests, estimated from the recorded share.")
	return nil
}

// maxWaste is the number of values of each dimension that people see in the report
// of wasted requests.
const maxWaste = 50
