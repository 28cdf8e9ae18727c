package pacing_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebound/events"
	"rebound/journal"
	"rebound/pacing"
	"rebound/rtb"
)

// node is a run with real parts: log, folder, Run, Follow.
type node struct {
	*pacing.Pacer
	stop func()
}

func openNode(t *testing.T, l *journal.Log, dir, run string, limit rtb.Micros) *node {
	t.Helper()
	p, err := pacing.Open(pacing.Options{
		Dir: dir, Run: run, Append: l.Append, Now: time.Now,
		IsConflict: func(err error) bool { return errors.Is(err, journal.ErrConflict) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	caughtUp := make(chan struct{})
	wg.Go(func() {
		if err := l.Follow(ctx, p, func() { close(caughtUp) }); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-caughtUp:
	case <-time.After(time.Minute):
		t.Fatal("the view does not catch up")
	}
	p.SetPlan([]pacing.LinePlan{{
		Line: rtb.LineID{Advertiser: "shop", Campaign: "autumn", Line: "cart"}, Currency: rtb.Currency{'U', 'S', 'D'},
		Mode: pacing.ASAP, CampaignMode: pacing.ASAP, Caps: rtb.CapLineTotal, LineTotal: limit, MaxCPM: 1_000_000, Active: true,
	}})
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return &node{p, func() { // no Stop: nothing is returned, as after kill -9
		cancel()
		wg.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}}
}

func (n *node) total(t *testing.T) pacing.BudgetRow {
	t.Helper()
	rows := n.Budgets(time.Now())
	if len(rows) != 1 {
		t.Fatalf("rows: %+v", rows)
	}
	return rows[0]
}

// eventually waits until the log has caused a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if ok() {
			return
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func claims(t *testing.T) *rtb.Claims {
	c := &rtb.Claims{
		Exchange: "demo", Advertiser: "shop", Campaign: "autumn", Line: "cart", Price: 1_000_000,
		AdvertiserCurrency: rtb.Currency{'U', 'S', 'D'}, Rate: rtb.RateOne, Reserved: 1000, Value: 2000, Expected: 500, Issued: time.Now().Truncate(time.Second),
	}
	if _, err := rand.Read(c.Bid[:]); err != nil {
		t.Fatal(err)
	}
	c.WinExpiry, c.BillExpiry = c.Issued.Add(5*time.Minute), c.Issued.Add(time.Hour)
	return c
}

func billOf(c *rtb.Claims) events.Fact {
	return events.Fact{
		ID: "bill:" + c.Bid.String(), At: time.Now(), Kind: events.KindBill, Advertiser: c.Advertiser, Node: c.Node, Currency: c.AdvertiserCurrency,
		Notice: &events.Notice{
			BidID: c.Bid, Exchange: c.Exchange, Grant: c.Grant, Campaign: c.Campaign, Line: c.Line, Day: c.Day, Caps: c.Caps, Bid: c.Price,
			Price: c.Price, PriceTold: true, Charge: c.Reserved, Reserved: c.Reserved, Bills: true, Issued: c.Issued,
			WinExpiry: c.WinExpiry, BillExpiry: c.BillExpiry,
		},
	}
}

// attack bids n times from many goroutines; every covered bid wins and is handed
// to won.
func attack(t *testing.T, p *node, n int, won func(*rtb.Claims)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				c := claims(t)
				r := p.Reserve(c, nil, nil)
				for range 100 { // the next request comes soon
					if r != rtb.NoBidGrant {
						break
					}
					<-time.After(time.Millisecond)
					r = p.Reserve(c, nil, nil)
				}
				if r == rtb.NoBidNone {
					won(c)
				}
			}
		})
	}
	wg.Wait()
}

func openLog(t *testing.T, dir string) *journal.Log {
	t.Helper()
	l, err := journal.Open(context.Background(), journal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// A total of 1.00 against 10,000 concurrent wins at 1.00 CPM, with the real log.
func TestTotalOfOneOnTheRealLog(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	p := openNode(t, l, filepath.Join(dir, "money"), "r1", 1_000_000)
	defer p.stop()
	eventually(t, "a first grant", func() bool { return p.total(t).Granted > 0 })
	var wins atomic.Int64
	attack(t, p, 10_000, func(c *rtb.Claims) {
		wins.Add(1)
		if err := l.Append(context.Background(), billOf(c)); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "every bill folded", func() bool { return p.Stats().Reservations == 0 })
	r := p.total(t)
	if r.Spent < 990_000 || r.Spent > 1_000_000 || r.Late != 0 {
		t.Fatalf("got %+v", r)
	}
	t.Logf("settled %s for %d wins with %d grants", r.Spent, wins.Load(), p.Stats().Grants)
}

// The same with a crash in the middle: the outstanding bills come after the
// restart, inside their window, and nothing is late or above the cap.
func TestDeathInTheMiddleOnTheRealLog(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	view := filepath.Join(dir, "money")
	p := openNode(t, l, view, "r1", 1_000_000)
	eventually(t, "a first grant", func() bool { return p.total(t).Granted > 0 })
	var mu sync.Mutex
	var open []*rtb.Claims
	attack(t, p, 500, func(c *rtb.Claims) {
		mu.Lock()
		defer mu.Unlock()
		if open = append(open, c); len(open)%2 == 0 {
			return // its bill comes after the restart
		}
		if err := l.Append(context.Background(), billOf(c)); err != nil {
			t.Error(err)
		}
	})
	p.stop()
	q := openNode(t, l, view, "r2", 1_000_000)
	defer q.stop()
	before := q.total(t)
	for _, c := range open { // the billed ones again, too
		if err := l.Append(context.Background(), billOf(c)); err != nil {
			t.Fatal(err)
		}
	}
	want := rtb.Micros(len(open)) * 1000
	eventually(t, "every bill folded", func() bool { return q.total(t).Spent == want })
	attack(t, q, 2000, func(c *rtb.Claims) {
		if err := l.Append(context.Background(), billOf(c)); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "every bill folded", func() bool { return q.Stats().Reservations == 0 })
	r := q.total(t)
	if r.Late != 0 || r.Spent > 1_000_000 || r.Spent+r.Granted > 1_000_000 || r.Spent < want {
		t.Fatalf("got %+v", r)
	}
	t.Logf("%d wins before, spent %s at the restart, %s at the end, %s still held for the dead run", len(open), before.Spent, r.Spent, r.Granted)
}
