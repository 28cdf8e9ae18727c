package segments

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

const (
	viewRule  = `shop "view_item"`
	cartRule  = `shop "add_to_cart"`
	buyRule   = `shop "purchase"`
	otherRule = `other "view_item"`
)

var allRules = []string{otherRule, cartRule, buyRule, viewRule}

// start is the time of the first fact of every test.
var start = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// log writes facts as the journal hands them out.
type log struct {
	seq   uint64
	now   time.Time
	facts []events.Fact
}

func newLog() *log {
	l := &log{now: start}
	l.add(events.Fact{Kind: events.KindConfig, Config: &events.Config{Hash: "h", Rules: allRules}})
	return l
}

func (l *log) add(f events.Fact) {
	l.seq++
	f.V, f.Seq, f.TS = 1, l.seq, l.now
	if f.ID == "" {
		f.ID = fmt.Sprint("f", l.seq)
	}
	if f.At.IsZero() {
		f.At = l.now
	}
	l.facts = append(l.facts, f)
}

// event adds an event that happened ago before now.
func (l *log) event(visitor rtb.Key, name string, ago time.Duration, items ...string) {
	e := &events.Event{Name: name}
	for _, id := range items {
		e.Items = append(e.Items, events.Item{ID: id})
	}
	l.add(events.Fact{Kind: events.KindEvent, Advertiser: "shop", Visitor: visitor, Event: e, At: l.now.Add(-ago)})
}

func (l *log) link(visitor rtb.Key, kind string, k rtb.Key) {
	l.add(events.Fact{Kind: events.KindLink, Visitor: visitor, Link: &events.Link{LinkKey: events.LinkKey{KeyKind: kind, Key: k}}})
}

func (l *log) notice(kind events.Kind, visitor rtb.Key, bid byte) {
	l.add(events.Fact{Kind: kind, Advertiser: "shop", Visitor: visitor,
		Notice: &events.Notice{BidID: rtb.BidID{bid}, Campaign: "autumn", Line: "cart", Creative: "c1"}})
}

// take returns the facts that were not taken yet.
func (l *log) take() []events.Fact {
	facts := l.facts
	l.facts = nil
	return facts
}

func visitorOf(id string) rtb.Key {
	return (&rtb.Keyring{}).Key(rtb.IDVisitor, "", []byte(id))
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func inMemory(t testing.TB) *Store {
	return open(t, Options{InMemory: true, Dir: "view", CacheBytes: 1 << 20})
}

func apply(t testing.TB, s *Store, facts []events.Fact) {
	t.Helper()
	if err := s.Apply(facts); err != nil {
		t.Fatal(err)
	}
}

// dump returns the whole content of the view's files.
func dump(t testing.TB, s *Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := s.db.Scan([]byte{1}, nil, func(k, v []byte) error {
		out[string(k)] = string(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameDump compares two views and reports where they differ.
func sameDump(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("%s: key %q:\n got %q\nwant %q", what, k, got[k], want[k])
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: key %q is too much", what, k)
		}
	}
}

func profile(t testing.TB, s *Store, k rtb.Key) *rtb.Visitor {
	t.Helper()
	v := &rtb.Visitor{}
	if _, err := s.Profile(k, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func segment(t testing.TB, s *Store, visitor rtb.Key, rule string) rtb.SegmentState {
	t.Helper()
	if st := profile(t, s, visitor).Segment(audiences.SegmentOf(rule)); st != nil {
		return *st
	}
	return rtb.SegmentState{}
}

func byUID(id string) []rtb.ExternalID {
	return []rtb.ExternalID{{Kind: rtb.IDVisitor, Value: []byte(id)}}
}

func find(t testing.TB, s *Store, ids []rtb.ExternalID, want rtb.NoBidReason) *rtb.Visitor {
	t.Helper()
	v := &rtb.Visitor{}
	if got := s.Find("demo", ids, v, nil); got != want {
		t.Errorf("Find: %v, want %v", got, want)
	}
	return v
}
