package mock

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"rebound/internal/chart"
)

// Report is what an exchange has in its books at the end.
type Report struct {
	Seed       uint64     `json:"seed"`
	Totals     Totals     `json:"totals"`
	Rows       []Row      `json:"rows"` // by campaign, line and day
	Comparison Comparison `json:"comparison"`
	Entries    []*Entry   `json:"entries,omitempty"`  // with KeepAuctions
	Auctions   []Auction  `json:"auctions,omitempty"` // with KeepAuctions
	PerSecond  []Second   `json:"-"`

	Curves []*BudgetCurve `json:"curves,omitempty"` // of the bidder's caps, if it has an admin listener
	began  time.Time
}

// report compares the books and closes them.
func (e *Exchange) report(ctx context.Context, before *bidderBooks) *Report {
	r := &Report{Seed: e.o.Seed, Totals: e.b.snapshot(e.o.Now()), began: e.b.began}
	r.Comparison = *e.compare(ctx, before)
	r.Rows, r.PerSecond = rowsOf(e.b.entries), e.b.seconds
	if e.o.KeepAuctions {
		r.Auctions = e.b.auctions
		for _, id := range slices.Sorted(maps.Keys(e.b.entries)) {
			r.Entries = append(r.Entries, e.b.entries[id])
		}
	}
	return r
}

// Agrees reports whether the books were compared and every cent agrees.
func (r *Report) Agrees() bool { return r.Comparison.Compared && len(r.Comparison.Differences) == 0 }

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("cannot write books: %w", err)
	}
	return nil
}

// WriteText writes the report as plain text.
func (r *Report) WriteText(w io.Writer) error {
	t, n, c := &r.Totals, &r.Totals.Notices, &r.Comparison
	var b strings.Builder
	fmt.Fprintf(&b, "page views            %d, of which %d in the shop, in %.1f s\n", t.Pages, t.ShopVisits, t.Elapsed.Seconds())
	fmt.Fprintf(&b, "impressions offered   %d in %d requests; no bid for %d requests, %d too late\n", t.Auctions, t.Requests, t.NoBids, t.Timeouts)
	fmt.Fprintf(&b, "bids                  %d: won %d, lost %d; %d invalid; mean price to beat %.2f CPM\n", t.Bids, t.Wins, t.Losses, t.Invalid, t.ToBeat.Units())
	fmt.Fprintf(&b, "notices               %d win, %d bill, %d loss; of these late %d, twice %d, reordered %d, billed losses %d; lost on the way %d; sent again after 503: %d\n",
		n.Win, n.Bill, n.Loss, n.Late, n.Duplicated, n.Reordered, n.BilledLoss, n.Lost, n.Retried)
	fmt.Fprintf(&b, "visitors              %d ads rendered, %d clicked, %d orders worth %.2f USD\n", t.Rendered, t.Clicks, t.Orders, units(t.OrderValue))
	fmt.Fprintf(&b, "spend                 %s USD billed and acknowledged, %s USD in bills that were lost on the way\n", t.Spend, t.Unbilled)
	if t.Failures > 0 {
		fmt.Fprintf(&b, "failures              %d, the last: %s\n", t.Failures, t.LastFailure)
	}
	switch {
	case !c.Compared:
		fmt.Fprintf(&b, "books                 not compared: no admin listener and no data folder were given\n")
	case len(c.Differences) == 0:
		fmt.Fprintf(&b, "books                 agree to the last micro: %s USD here and in the bidder", c.Expected)
		if c.Log != nil {
			fmt.Fprintf(&b, "; %d bills in its log, one by one", c.Log.Bills)
		}
		b.WriteString("\n")
	default:
		fmt.Fprintf(&b, "books                 DIFFER:\n  %s\n", strings.Join(c.Differences, "\n  "))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

// WriteHTML writes the report as an HTML page with charts.
func (r *Report) WriteHTML(w io.Writer) error {
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		return err
	}
	x := make([]float64, len(r.PerSecond))
	var spend, wins, bids, toBeat []float64
	sum := 0.0
	for i, s := range r.PerSecond {
		x[i] = float64(i)
		sum += units(s.Spend)
		spend, wins, bids = append(spend, sum), append(wins, float64(s.Wins)), append(bids, float64(s.Bids))
		toBeat = append(toBeat, float64(s.toBeat)/1e6/float64(max(s.Bids, 1)))
	}
	rows := [][]string{}
	for _, row := range r.Rows {
		rows = append(rows, []string{row.Campaign + " / " + row.Line + " / " + row.Day, fmt.Sprint(row.Wins), row.Spend.String(), row.Unbilled.String(), fmt.Sprint(row.Clicks), fmt.Sprint(row.Orders), row.OrderValue.String()})
	}
	sections := []chart.Section{{Title: "Totals"}}
	for line := range strings.Lines(text.String()) {
		sections = append(sections, chart.Section{Text: strings.TrimSpace(line)})
	}
	for _, c := range shown(r.Curves) {
		sections = append(sections, c.section(r.began))
	}
	return chart.WritePage(w, "Mock exchange", append(sections,
		chart.Section{Title: "By campaign, line and day", Table: &chart.Table{Head: []string{"", "wins", "spend", "unbilled", "clicks", "orders", "order value"}, Rows: rows}},
		chart.Section{Charts: []*chart.Line{
			{Title: "Spend", XLabel: "second", YLabel: "USD", Series: []chart.Series{{Name: "billed", X: x, Y: spend}}},
			{Title: "Bids and wins per second", XLabel: "second", YLabel: "per second", Series: []chart.Series{{Name: "bids", X: x, Y: bids}, {Name: "wins", X: x, Y: wins}}},
			{Title: "Mean price to beat of the auctions with a bid", XLabel: "second", YLabel: "CPM", Series: []chart.Series{{Name: "price to beat", X: x, Y: toBeat}}},
		}}))
}

// Line describes the totals in one line.
func (t *Totals) Line() string {
	return fmt.Sprintf("%4.0fs  %6d page views (%d in the shop)  %6d auctions  %5d bids  %5d won  %4d clicks  %3d orders  spend %s USD",
		t.Elapsed.Seconds(), t.Pages, t.ShopVisits, t.Auctions, t.Bids, t.Wins, t.Clicks, t.Orders, t.Spend)
}
