package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// billedBid is a bill of a line, of a bid made at a time.
func billedBid(n byte, line string, at time.Time, zone *time.Location, charge rtb.Micros) events.Fact {
	return events.Fact{
		ID: fmt.Sprintf("bill:%d", n), At: at, Kind: events.KindBill, Advertiser: "shop", Currency: rtb.USD,
		Notice: &events.Notice{BidID: rtb.BidID{n}, Exchange: "demo", Campaign: "autumn", Line: line, Day: rtb.DayOf(at, zone),
			Charge: charge, Bills: true, Issued: at},
	}
}

func inEuros(f events.Fact) events.Fact {
	f.Advertiser, f.Currency = "other", rtb.Currency{'E', 'U', 'R'}
	return f
}

// A report in its own time zone is shown first, then booked once in all budgets of the lines,
// and a corrected one books what it changes; errors name the row.
func TestReconcile(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := startProgram(t, copyShop(t), data)
	zone := r.app.snapshot.Load().Index.Advertiser("shop").Zone
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	today := rtb.DayOf(now, berlin)
	for _, f := range []events.Fact{
		billedBid(1, "viewed", now, zone, 6_000_000), billedBid(2, "cart", now, zone, 2_000_000), billedBid(3, "cart", now.Add(-48*time.Hour), zone, 1_000_000),
		billedBid(4, "cart", now.Add(-7*24*time.Hour), zone, 1_000_000), inEuros(billedBid(5, "cart", now.Add(-7*24*time.Hour), zone, 1_000_000)),
	} {
		if err := r.app.journal.Append(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	report := filepath.Join(t.TempDir(), "report.csv")
	reconcile := func(text string, flags ...string) (int, string, string) {
		t.Helper()
		if err := os.WriteFile(report, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return run(t, append(append([]string{"reconcile", "--data", data, "--admin", r.at.Admin, "--exchange", "demo", "--zone", "Europe/Berlin"}, flags...), report)...)
	}
	spent := func(campaign, line string) (sum rtb.Micros) {
		for _, x := range r.app.money.Budgets(now) {
			if x.Campaign == campaign && x.Line == line && x.Window == "day" {
				sum = x.Spent
			}
		}
		return sum
	}
	holds := func(want rtb.Micros) func() bool { return func() bool { return spent("autumn", "") == want } }
	eventually(t, "the bills are folded", holds(8_000_000))
	whole := fmt.Sprintf("Date,Spend,Placement\n%s,6.00,a\n%s,4.00,b\n", today, today)
	status, out, errs := reconcile(whole)
	if status != 0 || !strings.Contains(out, "1.2500") || !strings.Contains(out, "adjustments to book") {
		t.Fatalf("dry run: got %d %s %s", status, out, errs)
	}
	for i, want := range []string{"adjustments booked", "nothing to book"} {
		if status, out, errs := reconcile(whole, "--apply"); status != 0 || !strings.Contains(out, want) {
			t.Fatalf("run %d: got %d %s %s; want %s", i, status, out, errs, want)
		}
		eventually(t, "the report is booked once", holds(10_000_000))
	}
	lines := fmt.Sprintf("date,line,spend,currency\n%s,shop/autumn/cart,2.00,USD\n%s,shop/autumn/viewed,6.50,USD\n", today, today)
	if status, out, errs := reconcile(lines, "--apply"); status != 0 || !strings.Contains(out, "adjustments booked") {
		t.Fatalf("a corrected report: got %d %s %s", status, out, errs)
	}
	eventually(t, "the corrected report is booked", holds(8_500_000))
	for _, x := range []struct{ text, want string }{
		{"day,cost\n", ":1: got columns"},
		{"date,spend\n2026-13-01,1\n2026-10-01,-1\n", `:2: date: got "2026-13-01"`},
		{"date,spend\n2026-10-01,-1\n", `:2: spend: got "-1"`},
		{"date,spend\n", "got no rows"},
		{fmt.Sprintf("date,spend,currency\n%s,8,EUR\n", today), ":2: currency: got EUR; want USD"},
		{fmt.Sprintf("date,spend,line\n%s,8,\n%s,8,shop/autumn/cart\n", today, today), ":2: line: got a row"},
		{"date,spend\n2099-01-01,1\n", "no bid was billed"},
		{fmt.Sprintf("date,spend\n%s,8\n", today-7), ":2: currency: got none; want one in each row"},
	} {
		if status, out, errs := reconcile(x.text, "--apply"); status != 1 || !strings.Contains(errs, x.want) {
			t.Errorf("%q: got %d %s %s; want %s", x.text, status, out, errs, x.want)
		}
	}
	if got := spent("autumn", ""); got != 8_500_000 {
		t.Errorf("bad reports changed the spend to %s", got)
	}
	if status, body := r.do("POST", "http://"+r.at.Admin+adjustmentsPath, `[{"id":"other","advertiser":"shop"}]`); status != 400 {
		t.Errorf("a bad adjustment: got %d %s", status, body)
	}
}
