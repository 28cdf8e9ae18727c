package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rebound/events"
	"rebound/pacing"
	"rebound/rtb"
)

// reportRow is what an exchange says it billed on a day of its report, for one line or,
// where line is empty, for all.
type reportRow struct {
	row      int // in the file
	day      rtb.Day
	line     string // advertiser/campaign/line
	currency rtb.Currency
	spend    rtb.Micros
}

// maxReportErrors bounds the errors that are shown of a report.
const maxReportErrors = 20

// readReport reads a CSV with the columns date and spend, and optionally line
// (advertiser/campaign/line) and currency. Other columns are ignored. Every row that cannot
// be read is in the error.
func readReport(r io.Reader, name, currency string) ([]reportRow, error) {
	text, err := io.ReadAll(io.LimitReader(r, 1<<30))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	c := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	c.TrimLeadingSpace, c.FieldsPerRecord = true, -1
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: cannot read the header: got %w; want the columns date and spend, and optionally line and currency", name, err)
	}
	at := map[string]int{}
	for i, h := range head {
		at[strings.ToLower(strings.TrimSpace(h))] = i
	}
	for _, h := range []string{"date", "spend"} {
		if _, ok := at[h]; !ok {
			return nil, fmt.Errorf("%s:1: got columns %q; want date and spend, and optionally line and currency", name, head)
		}
	}
	var rows []reportRow
	var errs []error
	for len(errs) < maxReportErrors {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		row, _ := c.FieldPos(0)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			break
		}
		field := func(h string) string {
			if i, ok := at[h]; ok && i < len(record) {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		x, err := parseReportRow(field, currency)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, row, err))
			continue
		}
		x.row = row
		rows = append(rows, x)
	}
	if len(rows) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: got no rows; want one for each day at least", name))
	}
	return rows, errors.Join(errs...)
}

func parseReportRow(field func(string) string, currency string) (x reportRow, err error) {
	if text := field("date"); text == "" || x.day.UnmarshalText([]byte(text)) != nil {
		return x, fmt.Errorf("date: got %q; want a date such as 2026-10-01", text)
	}
	if x.spend, err = rtb.ParseMicros(field("spend"), rtb.RoundUp); err != nil || x.spend < 0 {
		return x, fmt.Errorf("spend: got %q; want an amount in major units such as 12.34, at least 0", field("spend"))
	}
	if x.line = field("line"); x.line != "" && strings.Count(x.line, "/") != 2 {
		return x, fmt.Errorf("line: got %q; want advertiser/campaign/line", x.line)
	}
	if text := field("currency"); text != "" || currency != "" {
		if text == "" {
			text = currency
		}
		if err := x.currency.UnmarshalText([]byte(text)); err != nil {
			return x, fmt.Errorf("currency: got %q; want an ISO 4217 code such as USD", text)
		}
	}
	return x, nil
}

// bidGroup is the bills of one day of the report whose bids count in the same budgets.
type bidGroup struct {
	line     rtb.LineID
	day      rtb.Day // of the bids, in the advertiser's zone
	flights  rtb.Flights
	currency rtb.Currency
}

func (g bidGroup) String() string {
	return g.line.String() + " " + g.day.String() + " " + g.flights.String()
}

// budgetDay is a budget and a day of the report.
type budgetDay struct {
	budget rtb.BudgetID
	day    rtb.Day
}

func (k budgetDay) String() string { return k.day.String() + " " + k.budget.String() }

// bookedSum is what earlier reports have booked.
type bookedSum struct {
	amount   rtb.Micros
	count    int
	currency rtb.Currency
}

// reconciled is the result for one day and line of the report.
type reconciled struct {
	day              rtb.Day
	line             string
	billed, notified rtb.Micros
}

// reconciliation compares an exchange's report with the log. A bill belongs to the day of
// the report in which its notice came, in the report's time zone; the difference is booked
// in the budgets of the bids that were billed on that day, in proportion to their bills.
type reconciliation struct {
	exchange string
	zone     *time.Location
	rows     []reportRow
	notified map[rtb.Day]map[bidGroup]rtb.Micros
	booked   map[budgetDay]bookedSum
	results  []reconciled
	warnings []string
}

func newReconciliation(exchange string, zone *time.Location, rows []reportRow) *reconciliation {
	b := &reconciliation{exchange: exchange, zone: zone, notified: map[rtb.Day]map[bidGroup]rtb.Micros{}, booked: map[budgetDay]bookedSum{}}
	for _, x := range rows { // rows of the same day and line are one
		i := slices.IndexFunc(b.rows, func(y reportRow) bool { return y.day == x.day && y.line == x.line && y.currency == x.currency })
		if i < 0 {
			b.rows = append(b.rows, x)
			b.notified[x.day] = map[bidGroup]rtb.Micros{}
			continue
		}
		b.rows[i].spend += x.spend
	}
	return b
}

// readLog reads what the notices of the report's days charged, and what was booked before.
func (b *reconciliation) readLog(r *logReader) error {
	names, err := r.factFiles()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("got no log in %s; want the data folder of the bidder", r.logFolders.facts)
	}
	first := b.rows[0].day
	for _, x := range b.rows {
		first = min(first, x.day)
	}
	began, charged := true, map[rtb.BidID]struct{}{}
	for e := range r.facts(names) {
		f := e.fact
		if begin := first.Start(b.zone); began && f.Seq > 1 && f.TS.After(begin) {
			return fmt.Errorf("the log begins at %s; want it to reach back to %s, when the report begins", f.TS.Format(time.RFC3339), begin.Format(time.RFC3339))
		}
		began = false
		switch {
		case f.Adjustment != nil && f.Adjustment.Reason == pacing.ReasonReport && f.Adjustment.Exchange == b.exchange:
			b.addBooked(f)
		case f.Notice != nil && f.Notice.Bills && !f.Notice.BidID.IsZero():
			if _, again := charged[f.Notice.BidID]; again {
				continue
			}
			charged[f.Notice.BidID] = struct{}{}
			b.addBill(f)
		}
	}
	return nil
}

func (b *reconciliation) addBooked(f *events.Fact) {
	k := budgetDay{f.Adjustment.Budget, f.Adjustment.Day}
	if b.notified[k.day] == nil {
		return
	}
	x := b.booked[k]
	x.amount, x.count, x.currency = x.amount+f.Adjustment.Amount, x.count+1, f.Currency
	b.booked[k] = x
}

func (b *reconciliation) addBill(f *events.Fact) {
	n := f.Notice
	groups := b.notified[rtb.DayOf(f.At, b.zone)]
	if groups == nil || n.Exchange != b.exchange {
		return
	}
	groups[bidGroup{rtb.LineID{Advertiser: f.Advertiser, Campaign: n.Campaign, Line: n.Line}, n.Day, n.Flights, f.Currency}] += n.Charge
}

// compare returns the adjustments that make the budgets agree with the report.
func (b *reconciliation) compare(name string) ([]adjustmentOrder, error) {
	want := map[budgetDay]bookedSum{}
	var errs []error
	for i := range b.rows {
		if err := b.compareRow(&b.rows[i], want); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, b.rows[i].row, err))
		}
	}
	b.warnMissing()
	for k, x := range b.booked { // booked by an earlier report, and not by this one
		if _, ok := want[k]; !ok {
			want[k] = bookedSum{currency: x.currency}
		}
	}
	var orders []adjustmentOrder
	for _, k := range sortedKeys(want, budgetDay.String) {
		x, before := want[k], b.booked[k]
		if x.amount == before.amount {
			continue
		}
		orders = append(orders, adjustmentOrder{
			ID:         fmt.Sprintf("%s%s:%s:%s:%d:%d", reportID, b.exchange, k.day, k.budget, before.count, int64(x.amount)),
			Advertiser: k.budget.Advertiser, Currency: x.currency, Budget: k.budget, Exchange: b.exchange, Day: k.day, Amount: x.amount - before.amount,
		})
	}
	return orders, errors.Join(errs...)
}

// reportID is what the ids of facts that book a report begin with. They also have the
// number of facts that were booked before, so that the same fact is never booked twice.
const reportID = "report:"

// compareRow adds what a row of the report shows beyond the bills to the budgets.
func (b *reconciliation) compareRow(x *reportRow, want map[budgetDay]bookedSum) error {
	var groups []bidGroup
	notified := rtb.Micros(0)
	for _, g := range sortedKeys(b.notified[x.day], bidGroup.String) {
		if x.line != "" && g.line.String() != x.line {
			continue
		}
		if !x.currency.IsZero() && x.currency != g.currency {
			return fmt.Errorf("currency: got %s; want %s, the currency of %s: convert the amount", x.currency, g.currency, g.line)
		}
		if len(groups) > 0 && g.currency != groups[0].currency {
			return fmt.Errorf("currency: got none; want one in each row, with a line, because %s and %s have different ones", groups[0].line, g.line)
		}
		groups, notified = append(groups, g), notified+b.notified[x.day][g]
	}
	if x.line == "" && slices.ContainsFunc(b.rows, func(y reportRow) bool { return y.day == x.day && y.line != "" }) {
		return fmt.Errorf("line: got a row of %s without a line, and others with one; want a line in all rows of a day, or in none", x.day)
	}
	b.results = append(b.results, reconciled{x.day, x.line, x.spend, notified})
	rest := x.spend - notified
	if rest == 0 {
		return nil
	}
	if notified == 0 {
		if x.line == "" || x.currency.IsZero() {
			return fmt.Errorf("got a spend of %s on %s, on which no bid was billed; want the columns line and currency, so that it can be booked", x.spend, x.day)
		}
		parts := strings.Split(x.line, "/")
		bookIn(want, x.day, bidGroup{line: rtb.LineID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2]}, day: x.day, currency: x.currency}, rest)
		return nil
	}
	left := rest
	for i, g := range groups {
		part := left
		if i < len(groups)-1 {
			part = rtb.Micros(float64(rest) * float64(b.notified[x.day][g]) / float64(notified))
		}
		left -= part
		bookIn(want, x.day, g, part)
	}
	return nil
}

// bookIn adds an amount to all budgets of money in which the bids of a group count, except
// those per hour, which are over.
func bookIn(want map[budgetDay]bookedSum, day rtb.Day, g bidGroup, amount rtb.Micros) {
	periods := rtb.Periods{Day: g.day, Flights: g.flights}
	for _, c := range rtb.Caps {
		if c.OnImps() || c.Window() == rtb.WindowHour || c.Window() == rtb.WindowFlight && g.flights[c.Owner()] == 0 {
			continue
		}
		k := budgetDay{rtb.BudgetIn(c, g.line, &periods), day}
		x := want[k]
		x.amount, x.currency = x.amount+amount, g.currency
		want[k] = x
	}
}

// warnMissing warns of lines with bills of which a report with lines says nothing. What an
// earlier report booked for them is taken back.
func (b *reconciliation) warnMissing() {
	for _, day := range sortedKeys(b.notified, rtb.Day.String) {
		seen := map[string]rtb.Micros{}
		for g, amount := range b.notified[day] {
			if !slices.ContainsFunc(b.rows, func(x reportRow) bool { return x.day == day && (x.line == "" || x.line == g.line.String()) }) {
				seen[g.line.String()] += amount
			}
		}
		for _, line := range sortedKeys(seen, func(s string) string { return s }) {
			b.warnings = append(b.warnings, fmt.Sprintf("the report has no row of %s on %s, of which notices charged %s: nothing is booked for it", line, day, seen[line]))
		}
	}
}
