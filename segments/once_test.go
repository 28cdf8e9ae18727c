package segments

import (
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// One order that comes under two visitors counts for both, once each: the
// shop's server and the browser knew the buyer by different identifiers.
func TestAnOrderCountsForEachVisitor(t *testing.T) {
	l, s := newLog(), inMemory(t)
	buyers := []rtb.Key{visitorOf("server"), visitorOf("browser")}
	for range 2 {
		for _, v := range buyers {
			for _, id := range []string{"", "e1"} {
				l.event(v, "purchase", 0)
				e := l.facts[len(l.facts)-1].Event
				e.OrderID, e.EventID = "A-1", id
			}
		}
	}
	apply(t, s, l.take())
	for i, v := range buyers {
		if got := segment(t, s, v, buyRule).Count; got != 1 {
			t.Errorf("visitor %d: got %d purchases; want 1", i, got)
		}
	}
	if n := s.Stats().Duplicates; n != 6 {
		t.Errorf("got %d duplicates; want 6", n)
	}
}

// A bid's impression is remembered for the longest notice_ttl, whatever is
// configured: a second notice of it within 7 days counts nothing.
func TestAnImpressionIsRememberedForTheLongestTTL(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	count := func() (n int) {
		l.event(v, "view_item", 0)
		apply(t, s, l.take())
		if f := profile(t, s, v).Scope(rtb.ScopeOf("line", "shop/autumn/cart")); f != nil {
			for _, b := range f.Buckets {
				n += int(b.Count)
			}
		}
		return n
	}
	l.event(v, "view_item", 0)
	l.notice(events.KindImp, v, 1)
	for _, at := range []time.Duration{0, 49 * time.Hour, 7 * 24 * time.Hour} {
		l.now = start.Add(at)
		l.notice(events.KindBill, v, 1)
		if got := count(); got != 1 {
			t.Errorf("after %s: got %d impressions; want 1", at, got)
		}
	}
}
