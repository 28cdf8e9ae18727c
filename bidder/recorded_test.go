package bidder_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"rebound/bidder"
	"rebound/events"
	"rebound/rtb"
)

// compareRecord checks the record of the last request: that it holds the request as a
// scenario expects, and that the decision is the same when it is made again from the
// record.
func (w *world) compareRecord(want string, fail func(string, ...any)) {
	rec := w.records.last
	if rec == nil {
		if want != "" {
			fail("got no record; want one")
		}
		return
	}
	if want != "" {
		var got struct{ User, Device map[string]any }
		err := json.Unmarshal(rec.Request, &got)
		personal := len(got.User) > 0 || got.Device["ip"] != nil || got.Device["ifa"] != nil
		if geo, ok := got.Device["geo"].(map[string]any); ok {
			personal = personal || geo["lat"] != nil || geo["lon"] != nil || geo["zip"] != nil
		}
		if err != nil || personal != (want == "body") {
			fail("got the recorded request %s (%v); want it %s", rec.Request, err, want)
		}
	}
	if got := w.repeat(rec); got != "" {
		fail("repeated from its record: %s", got)
	}
}

// repeat makes the decision of a record again, and returns how it differs.
func (w *world) repeat(rec *events.BidRecord) string {
	r := bidder.NewRecorded()
	if err := r.Load(rec); err != nil {
		return err.Error()
	}
	b := bidder.New(bidder.Options{Visitors: r, Budgets: r, Links: w.signer, Clock: func() time.Time { return rec.TS }})
	b.Swap(w.bidder.Catalog())
	d := bidder.NewDecision()
	rs := b.Repeat(rec.Exchange, rec.Request, r, d)
	var now events.Decision
	d.Describe(&now, &rs)
	if r.Lacks() != "" {
		return "the record lacks " + r.Lacks()
	}
	if got, want := comparable(now), comparable(*rec.Decision); !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("got %+v; want %+v", got, want)
	}
	return ""
}

// comparable returns a decision as records have it, without the bid ids, which every
// decision draws again.
func comparable(d events.Decision) events.Decision {
	bids := []events.DecisionBid{}
	for _, b := range d.Bids {
		b.BidID = rtb.BidID{}
		bids = append(bids, b)
	}
	drops := []events.DecisionDrop{}
	for _, x := range d.Dropped {
		if x.Reason != rtb.NoBidNone {
			drops = append(drops, x)
		}
	}
	slices.SortFunc(drops, func(a, b events.DecisionDrop) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	d.Bids, d.Dropped = bids, drops
	return d
}

// Inputs of a later version, and damaged ones, are refused.
func TestInputsAreRefused(t *testing.T) {
	w := newWorld(t, &scenario{})
	w.send(&call{})
	rec := w.records.last
	if rec == nil || w.repeat(rec) != "" {
		t.Fatalf("got %+v; want a record that can be repeated", rec)
	}
	whole := rec.Inputs
	for n := range whole {
		rec.Inputs = whole[:n]
		if got := w.repeat(rec); n < 2 && got == "" {
			t.Errorf("%d bytes: accepted", n)
		}
	}
	rec.Inputs = append([]byte{1}, whole[1:]...)
	if got := w.repeat(rec); got != "" {
		t.Errorf("inputs of version 1: %s", got)
	}
	for _, bad := range [][]byte{{0}, {3}, append(slices.Clone(whole), 200), append(slices.Clone(whole), 3, 0, 99)} {
		rec.Inputs = bad
		if err := bidder.NewRecorded().Load(rec); err == nil {
			t.Errorf("%v: accepted", bad)
		}
	}
}
