package replay

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rebound/internal/chart"
	"rebound/rtb"
)

// WriteText writes the report as plain text.
func (r *Report) WriteText(w io.Writer) error {
	t := fmt.Sprintf("%d requests, %d known visitors, %d bids; config %s, seed %d\n", r.Run.Requests, r.Run.Known, r.Run.Bids, r.Run.Config, r.Run.Seed)
	if r.Run.Seconds > 0 {
		t += fmt.Sprintf("%.1f s, %.0f requests a second\n", r.Run.Seconds, r.Run.PerSecond)
	}
	if r.Run.Interrupted {
		t += "interrupted: the report covers the records up to then\n"
	}
	t += r.Run.exchangeText()
	for _, reason := range reasons(r.Run.Bodiless) {
		t += fmt.Sprintf("%d records without a request (%s) were not replayed: the request was refused before it was read\n", r.Run.Bodiless[reason], reason)
	}
	t += r.Run.marketText()
	t += r.recordedText()
	t += fmt.Sprintf("%-28s %9s %8s %8s %12s %12s %8s %8s %9s\n", "line", "matched", "bids", "wins", "spend", "value", "used %", "avg bid", "avg clear")
	for i := range r.Lines {
		l := &r.Lines[i]
		t += fmt.Sprintf("%-28s %9d %8d %8d %12s %12s %8.1f %8.3f %9.3f\n",
			l.name(), l.Matched, l.Bids, l.Wins, l.Spend, l.Value, l.UtilisationPct, l.AvgBid, l.AvgClear)
	}
	t += r.intervalText()
	for _, reason := range reasons(r.NoBids) {
		t += fmt.Sprintf("no bid: %-20s %9d\n", reason, r.NoBids[reason])
	}
	if _, err := io.WriteString(w, t); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	if r.Against == nil {
		return nil
	}
	d := r.Differences
	if _, err := fmt.Fprintf(w, "\nagainst, the old configuration:\n"); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	if err := r.Against.WriteText(w); err != nil {
		return err
	}
	text := ""
	for _, x := range d.Total {
		text += x.text("in total")
	}
	for _, x := range d.Lines {
		text += x.text(x.Advertiser + "/" + x.Campaign + "/" + x.Line)
	}
	_, err := fmt.Fprintf(w, "\n%d decisions compared, old with new: %d same, %d bids gained, %d bids lost, %d with another line, %d higher, %d lower\n",
		d.Compared, d.Same, d.BidGained, d.BidLost, d.OtherLine, d.PriceUp, d.PriceDown)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

// marketText returns what is known of the market.
func (r *RunInfo) marketText() string {
	m := r.Market
	switch {
	case r.Markets == 0 && m == nil:
		return "no record has a market, and there is no log of facts (--data or --facts) to tell one: wins and spend are not simulated\n"
	case m == nil:
		return fmt.Sprintf("%d records have a market\n", r.Markets)
	}
	t := fmt.Sprintf("market: %d recorded bids, %d won; the price to beat of %d is known (of %d it is the floor), of %d bounded by a win, of %d by a loss; %d were refused for another reason; of %d nothing is known\n",
		m.Bids, m.Won, m.Exact, m.Floor, m.AtMost, m.Above, m.Unwinnable, m.Unknown)
	for _, p := range m.Places {
		t += fmt.Sprintf("prices at %s, %s: half between %s and %s CPM, median %s, from %d bids\n", p.Exchange, p.Slot, cpmText(p.Quartiles[0]), cpmText(p.Quartiles[2]), cpmText(p.Quartiles[1]), p.Bids)
	}
	if m.Orphans > 0 {
		t += fmt.Sprintf("%d won bids have notices but no record: their wins are missing below\n", m.Orphans)
	}
	if m.BadFacts > 0 {
		t += fmt.Sprintf("%d facts could not be read\n", m.BadFacts)
	}
	return t
}

func cpmText(p rtb.CPM) string { return fmt.Sprintf("%.3f", p.Units()) }

// recordedText returns what the log says about the recorded bids.
func (r *Report) recordedText() string {
	if len(r.Recorded) == 0 {
		return ""
	}
	t := fmt.Sprintf("%-28s %9s %8s %8s %12s %12s\n", "recorded", "", "bids", "wins", "spend", "value")
	for i := range r.Recorded {
		l := &r.Recorded[i]
		t += fmt.Sprintf("%-28s %9s %8d %8d %12s %12s\n", l.Advertiser+"/"+l.Campaign+"/"+l.Line, "", l.Bids, l.Wins, l.Spend, l.Value)
	}
	return t + "replayed:\n"
}

// intervalText returns the ranges of the lines that won.
func (r *Report) intervalText() (t string) {
	for i := range r.Lines {
		l := &r.Lines[i]
		if l.Wins == 0 {
			continue
		}
		v, a := &l.Interval, &l.Auctions
		t += fmt.Sprintf("%-28s 95 %%: wins %d to %d, spend %s to %s, value %s to %s %s; price known for %d bids, drawn within bounds for %d, drawn for %d, no market for %d\n",
			l.name(), v.Wins[0], v.Wins[1], rtb.Micros(v.Spend[0]), rtb.Micros(v.Spend[1]), rtb.Micros(v.Value[0]), rtb.Micros(v.Value[1]), l.Currency, a.Known, a.Bounded, a.Unknown, a.None)
	}
	return t
}

// exchangeText returns which exchanges the files have, and what was skipped.
func (r *RunInfo) exchangeText() string {
	unread, t := r.Skipped, ""
	for _, id := range slices.Sorted(maps.Keys(r.Exchanges)) {
		e := r.Exchanges[id]
		unread -= e.Skipped
		switch {
		case e.Configured:
			t += fmt.Sprintf("exchange %s: %d records\n", id, e.Records)
		case e.Skipped > 0:
			t += fmt.Sprintf("exchange %s: %d records; %d skipped, because the configuration does not have the exchange\n", id, e.Records, e.Skipped)
		default:
			t += fmt.Sprintf("exchange %s: %d records; the configuration does not have the exchange and never bids there\n", id, e.Records)
		}
	}
	if r.OutOfOrder > 0 {
		t += fmt.Sprintf("%d records are more than a minute older than one before them; they were decided at the time of that one\n", r.OutOfOrder)
	}
	if unread > 0 {
		t += fmt.Sprintf("%d lines skipped: they could not be read\n", unread)
	}
	return t
}

// note returns what limits the report, as one paragraph.
func (r *RunInfo) note() string {
	text := strings.ReplaceAll(strings.TrimSpace(r.exchangeText()), "\n", "; ") + "."
	if r.Interrupted {
		text += " Interrupted: the report covers the records up to then."
	}
	return text
}

// reasons returns the no-bid reasons, the most frequent first.
func reasons(m map[string]int) []string {
	out := slices.Collect(maps.Keys(m))
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(m[b]-m[a], cmp.Compare(a, b)) })
	return out
}

// WriteHTML writes the report as a page with the curves of every line that spent.
func (r *Report) WriteHTML(w io.Writer) error {
	sections := []chart.Section{
		{Text: fmt.Sprintf("%d requests, %d of known visitors, %d bids. Configuration %s, seed %d.", r.Run.Requests, r.Run.Known, r.Run.Bids, r.Run.Config, r.Run.Seed)},
		{Title: "Records", Text: r.Run.note()},
		{Title: "Market", Text: strings.ReplaceAll(strings.TrimSpace(r.Run.marketText()), "\n", "; ") + "."},
	}
	if len(r.Recorded) > 0 {
		sections = append(sections, chart.Section{Title: "Recorded", Table: r.recordedTable()})
	}
	title := "Lines"
	if r.Against != nil {
		sections = append(sections, r.differenceSections()...)
		title = "Lines under the new configuration " + r.Run.Config
	}
	sections = append(sections, chart.Section{Title: title, Table: r.table()}, chart.Section{Title: "95 % intervals", Table: r.intervalTable()})
	if r.Against != nil {
		sections = append(sections, chart.Section{Title: "Lines under the old configuration " + r.Against.Run.Config, Table: r.Against.table()})
	}
	for i := range r.Lines {
		if c := r.curves(&r.Lines[i]); c != nil {
			sections = append(sections, chart.Section{Charts: c})
		}
	}
	sections = append(sections, chart.Section{Title: "No bids", Table: r.nobidTable()})
	return chart.WritePage(w, "Replay", sections)
}

// nobidTable returns the no-bids by reason, under both configurations where there are two.
func (r *Report) nobidTable() *chart.Table {
	t := &chart.Table{Head: []string{"reason", "requests"}}
	all := maps.Clone(r.NoBids)
	if r.Against != nil {
		t.Head = []string{"reason", "new", "old"}
		for reason, n := range r.Against.NoBids {
			all[reason] += n
		}
	}
	for _, reason := range reasons(all) {
		row := []string{reason, strconv.Itoa(r.NoBids[reason])}
		if r.Against != nil {
			row = append(row, strconv.Itoa(r.Against.NoBids[reason]))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// differenceSections returns what the new configuration changes.
func (r *Report) differenceSections() []chart.Section {
	d := r.Differences
	moved := &chart.Table{Head: []string{"decision", "requests"}}
	for _, row := range []struct {
		name string
		n    int
	}{{"the same", d.Same}, {"gained: only the new configuration bids", d.BidGained}, {"lost: only the old configuration bids", d.BidLost},
		{"another line or creative", d.OtherLine}, {"higher price", d.PriceUp}, {"lower price", d.PriceDown}} {
		moved.Rows = append(moved.Rows, []string{row.name, strconv.Itoa(row.n)})
	}
	for _, reason := range reasons(d.ReasonMove) {
		moved.Rows = append(moved.Rows, []string{"no bid, " + reason, strconv.Itoa(d.ReasonMove[reason])})
	}
	changes := &chart.Table{Head: []string{"line", "wins", "spend", "value", "value, 95 %", "clicks", "conversions", "more value"}}
	row := func(name string, x *LineDifference) {
		changes.Rows = append(changes.Rows, []string{name, fmt.Sprintf("%+d", x.Wins), money(x.Spend, x.Currency), money(x.Value, x.Currency),
			x.Interval.Value.money(x.Currency), fmt.Sprintf("%+d", x.Clicks), fmt.Sprintf("%+d", x.Conversions), cmp.Or(x.Better, "unclear")})
	}
	for i := range d.Lines {
		x := &d.Lines[i]
		row(x.Advertiser+"/"+x.Campaign+"/"+x.Line, x)
	}
	for i := range d.Total {
		row("total", &d.Total[i])
	}
	return []chart.Section{{Title: "Decisions, old to new", Table: moved}, {Title: "New less old", Table: changes}}
}

func (r *Report) recordedTable() *chart.Table {
	t := &chart.Table{Head: []string{"line", "bids", "wins", "spend", "value", "clicks", "conversions"}}
	for i := range r.Recorded {
		l := &r.Recorded[i]
		currency := ""
		for k := range r.Lines {
			if x := &r.Lines[k]; x.Advertiser == l.Advertiser {
				currency = x.Currency
			}
		}
		t.Rows = append(t.Rows, []string{l.Advertiser + "/" + l.Campaign + "/" + l.Line, strconv.Itoa(l.Bids), strconv.Itoa(l.Wins),
			money(l.Spend, currency), money(l.Value, currency), strconv.Itoa(l.Clicks), strconv.Itoa(l.Conversions)})
	}
	return t
}

func (r *Report) intervalTable() *chart.Table {
	t := &chart.Table{Head: []string{"line", "wins", "spend", "value", "clicks", "conversions", "price known", "bounded", "unknown", "no market"}}
	for i := range r.Lines {
		l := &r.Lines[i]
		v, a := &l.Interval, &l.Auctions
		t.Rows = append(t.Rows, []string{l.name(), v.Wins.text(), v.Spend.money(l.Currency), v.Value.money(l.Currency), v.Clicks.text(), v.Conversions.text(),
			strconv.Itoa(a.Known), strconv.Itoa(a.Bounded), strconv.Itoa(a.Unknown), strconv.Itoa(a.None)})
	}
	return t
}

// money returns an amount with two decimals, or four below a unit, and its currency.
func money(m rtb.Micros, currency string) string {
	decimals := 2
	if m > -1_000_000 && m < 1_000_000 {
		decimals = 4
	}
	return strings.TrimSpace(fmt.Sprintf("%.*f %s", decimals, float64(m)/1e6, currency))
}

func (v Interval) text() string { return fmt.Sprintf("%d to %d", v[0], v[1]) }

func (v Interval) money(currency string) string {
	return money(rtb.Micros(v[0]), "") + " to " + money(rtb.Micros(v[1]), currency)
}

// name returns the line's full name.
func (l *LineReport) name() string { return l.Advertiser + "/" + l.Campaign + "/" + l.Line }

func (r *Report) table() *chart.Table {
	t := &chart.Table{Head: []string{"line", "pacing", "matched", "bids", "wins", "spend", "cap", "used %", "value", "avg bid", "avg clear", "over cap", "late"}}
	for i := range r.Lines {
		l := &r.Lines[i]
		t.Rows = append(t.Rows, []string{l.name(), l.Pacing, strconv.Itoa(l.Matched), strconv.Itoa(l.Bids), strconv.Itoa(l.Wins),
			money(l.Spend, l.Currency), money(l.Cap, l.Currency), fmt.Sprintf("%.1f", l.UtilisationPct), money(l.Value, l.Currency),
			fmt.Sprintf("%.3f", l.AvgBid), fmt.Sprintf("%.3f", l.AvgClear), money(l.OverCap, l.Currency), money(l.LateSpend, l.Currency)})
	}
	return t
}

// curves returns charts of a line's spend and multiplier under both configurations;
// nil when the line spent under neither.
func (r *Report) curves(l *LineReport) []*chart.Line {
	clock := func(x float64) string {
		switch i := int(x); {
		case i <= 0:
			return ""
		case i <= len(l.Curve):
			return l.Curve[i-1].At
		}
		return ""
	}
	of := "share of the total spend, and of the traffic"
	if l.Cap > 0 {
		of = "share of " + money(l.Cap, l.Currency) + ", and of the traffic"
	}
	spend := &chart.Line{Title: "Spend of " + l.name(), XLabel: "time of day, advertiser's zone", YLabel: of, XText: clock, YText: percent}
	multiplier := &chart.Line{Title: "Pacing multiplier of " + l.name(), XLabel: "time of day, advertiser's zone", YLabel: "multiplier", XText: clock}
	var traffic chart.Series // last, so that each configuration has one color in both charts
	add := func(tag string, l *LineReport) {
		var x, s, t, m []float64
		for i, p := range l.Curve {
			x = append(x, float64(i+1))
			s, t, m = append(s, p.SpendShare), append(t, p.TrafficShare), append(m, p.Multiplier)
		}
		spend.Series = append(spend.Series, chart.Series{Name: "spend, " + tag, X: x, Y: s})
		multiplier.Series = append(multiplier.Series, chart.Series{Name: tag, X: x, Y: m})
		traffic = chart.Series{Name: "traffic", X: x, Y: t}
	}
	tag := l.Pacing
	if r.Against != nil {
		tag = "new (" + l.Pacing + ")"
	}
	add(tag, l)
	spent := l.Spend > 0
	if r.Against != nil {
		for i := range r.Against.Lines {
			o := &r.Against.Lines[i]
			if o.name() == l.name() {
				add("old ("+o.Pacing+")", o)
				spent = spent || o.Spend > 0
			}
		}
	}
	if !spent {
		return nil
	}
	spend.Series = append(spend.Series, traffic)
	return []*chart.Line{spend, multiplier}
}

func percent(x float64) string { return fmt.Sprintf("%.0f %%", 100*x) }

// text returns the difference as a line.
func (d *LineDifference) text(name string) string {
	verdict := "no clear difference in value"
	if d.Better != "" {
		verdict = "the " + d.Better + " configuration wins more value"
	}
	v := &d.Interval
	return fmt.Sprintf("%s, new less old (95 %%): wins %+d (%+d to %+d), spend %s (%s to %s), value %s (%s to %s) %s: %s\n", name,
		d.Wins, v.Wins[0], v.Wins[1], d.Spend, rtb.Micros(v.Spend[0]), rtb.Micros(v.Spend[1]), d.Value, rtb.Micros(v.Value[0]), rtb.Micros(v.Value[1]), d.Currency, verdict)
}
