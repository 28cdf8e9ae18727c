package reports

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rebound/rtb"
)

// funnelStep is a step of the funnel with the sum that it counts.
type funnelStep struct{ name, metric, lost string }

// requestSteps are the steps that only an operator sees.
var requestSteps = []funnelStep{
	{"requests", "requests", ""},
	{"known user", "matched_users", "the visitor is unknown or must not be known"},
	{"audience", "in_audience", "the visitor is in no audience, or the site is excluded"},
	{"eligible", "eligible", "no line or creative fits the impression"},
	{"answered", "answered", "the price, a budget, pacing or a frequency cap refuses"},
}

var bidSteps = []funnelStep{
	{"bids", "bids", ""},
	{"won", "wins", "auctions are lost: see the report losses"},
	{"impressions", "imps", "won bids are not rendered, or the pixel of the impression does not arrive"},
	{"clicks", "clicks", "the ad is not clicked"},
}

func funnel(ctx context.Context, a *ask, r *Report) error {
	t := &Table{Columns: []Column{{"step", unitText}, {"count", unitWeight}, {"of_previous_pct", unitPercent}, {"lost", unitWeight}}}
	worst, share := funnelStep{}, 2.0
	operator := a.q.Advertiser == "" && !slices.ContainsFunc(a.q.Where, func(f Filter) bool {
		d, _ := dimNamed(f.Dim)
		return !applies(d, mRequests)
	})
	groups := [][]funnelStep{bidSteps}
	if operator {
		groups = [][]funnelStep{requestSteps, bidSteps}
	}
	for _, steps := range groups {
		var names []string
		for _, st := range steps {
			names = append(names, st.metric)
		}
		q := a.q
		q.Metrics = names
		got, err := a.s.Query(ctx, q)
		if err != nil {
			return err
		}
		row := make([]any, len(steps))
		if len(got.Rows) > 0 {
			row = got.Rows[0]
		}
		previous := int64(0)
		for i, st := range steps {
			n, _ := row[i].(int64)
			if unitOf(st.metric) == unitCount {
				n *= million
			}
			cells := []any{st.name, n, nil, nil}
			if i > 0 && previous > 0 {
				kept := float64(n) / float64(previous)
				cells[2], cells[3] = 100*kept, max(previous-n, 0)
				if st.metric != "clicks" && kept < share { // few impressions are clicked anywhere
					worst, share = st, kept
				}
			}
			previous = n
			t.Rows = append(t.Rows, cells)
		}
	}
	r.Table = t
	if worst.lost != "" {
		r.Notes = append(r.Notes, fmt.Sprintf("The biggest leak is before %q: %.1f %% of the step before it get there; %s.", worst.name, 100*share, worst.lost))
	}
	r.Notes = append(r.Notes, "Steps up to answered count requests, estimated from the recorded share; steps from bids on count bids, of which a request may get several.")
	return a.orders(ctx, r)
}

// orders adds the orders of the site. They are not attributed to ads, so they are no step.
func (a *ask) orders(ctx context.Context, r *Report) error {
	if len(a.q.Where) > 0 {
		return nil
	}
	q := a.q
	q.Metrics = []string{"orders"}
	got, err := a.s.Query(ctx, q)
	if err != nil || len(got.Rows) == 0 {
		return err
	}
	n, _ := got.Rows[0][0].(int64)
	r.Table.Rows = append(r.Table.Rows, []any{"orders on the site", n * million, nil, nil})
	r.Notes = append(r.Notes, "Orders are those that the site's server reported; they are not attributed to ads.")
	return nil
}

// pacing reports one day: the last of the range.
func pacing(ctx context.Context, a *ask, r *Report) error {
	day := rtb.DayOf(a.q.To.Add(-time.Second), a.q.Zone)
	from, to := day.Start(a.q.Zone), (day + 1).Start(a.q.Zone)
	r.From, r.To = from, to
	q := a.q
	q.From, q.To, q.Dims, q.Metrics = from, to, []string{timeSlot, "advertiser", "campaign", "line"}, []string{"bids", "wins", "spend", "refusals", "paced"}
	t, err := a.s.Query(ctx, q)
	if err != nil {
		return err
	}
	caps, err := a.s.dayCaps(ctx, day)
	if err != nil {
		return err
	}
	t.Columns = append(t.Columns, Column{"plan", unitMoney}, Column{"spent", unitMoney}, Column{"throttle_pct", unitPercent})
	spent := map[string]int64{}
	charts := map[string]*Chart{}
	var order []string
	for i, row := range t.Rows {
		line := rtb.LineID{Advertiser: row[1].(string), Campaign: row[2].(string), Line: row[3].(string)}.String()
		at, _ := time.Parse("2006-01-02T15:04Z07:00", row[0].(string))
		end := at.Add(paceGrain * time.Second)
		spent[line] += row[7].(int64)
		var plan, throttle any
		if limit, ok := caps[line]; ok {
			plan = int64(float64(limit) * end.Sub(from).Seconds() / to.Sub(from).Seconds())
		}
		if considered := row[5].(int64)*million + row[8].(int64); considered > 0 {
			throttle = 100 * float64(row[9].(int64)) / float64(considered)
		}
		t.Rows[i] = append(row, plan, spent[line], throttle)
		c := charts[line]
		if c == nil {
			c = &Chart{Title: fmt.Sprintf("Spend of %s on %s, %s", line, day, row[4]), Money: true, Clock: true, Series: []Series{{Name: "spent", X: []float64{float64(from.Unix())}, Y: []float64{0}}}}
			if limit, ok := caps[line]; ok {
				c.Series = append(c.Series, Series{Name: "even plan", X: []float64{float64(from.Unix()), float64(to.Unix())}, Y: []float64{0, float64(limit)}})
			}
			charts[line] = c
			order = append(order, line)
		}
		c.Series[0].X = append(c.Series[0].X, float64(at.Unix()), float64(end.Unix())) // nothing was spent before it
		c.Series[0].Y = append(c.Series[0].Y, c.Series[0].Y[len(c.Series[0].Y)-1], float64(spent[line]))
	}
	slices.Sort(order)
	for _, line := range order {
		r.Charts = append(r.Charts, *charts[line])
	}
	r.Table = t
	r.Notes = append(r.Notes, "The plan is the line's cap of the day, as its last grant has it, spread evenly over the day; a line that paces ahead or as fast as possible is meant to leave it. Throttled are refusals by pacing, of all times that the line bid or was refused.")
	return nil
}

// dayCaps returns the caps of lines on a day, by line.
func (s *Store) dayCaps(ctx context.Context, day rtb.Day) (map[string]int64, error) {
	caps := map[string]int64{}
	rows, err := s.db.QueryContext(ctx, "SELECT budget, cap FROM caps")
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err reports what went wrong
	for rows.Next() {
		var text string
		var limit int64
		if err := rows.Scan(&text, &limit); err != nil {
			return nil, err
		}
		var id rtb.BudgetID
		if id.UnmarshalText([]byte(text)) == nil && id.Day == day && id.Line != "" {
			caps[rtb.LineID{Advertiser: id.Advertiser, Campaign: id.Campaign, Line: id.Line}.String()] = limit
		}
	}
	return caps, rows.Err()
}

// reconcile reports our own books by day and exchange.
func reconcile(ctx context.Context, a *ask, r *Report) (err error) {
	r.Table, err = a.query(ctx, "day exchange", "bids wins bills imps spend flagged")
	r.Notes = append(r.Notes, "Compare with the exchange's statement: --statement FILE adds its columns and the differences.")
	return err
}
