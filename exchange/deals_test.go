package exchange

import (
	"fmt"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// With a second marketplace or a second list of deals, no deal can be used.
func TestDoubledMarketplaces(t *testing.T) {
	conformance.Covers(t, "B3", "B4")
	p := testProfile(t, nil)
	for text, bad := range map[string]bool{
		`"pmp":{"deals":[{"id":"d","bidfloor":5}]},"pmp":{"deals":[{"id":"d","bidfloor":1}]}`: true,
		`"pmp":{"private_auction":1},"pmp":{}`:                                                true,
		`"pmp":{"deals":[{"id":"d","bidfloor":5}],"deals":[{"id":"d"}]}`:                      true,
		`"pmp":{"deals":[{"id":"d"}],"deals":[]}`:                                             true,
		`"pmp":{"deals":[{"id":"d"}]},"pmp":7`:                                                true,
		`"pmp":{"deals":"d"}`:                                                                 true,
		`"pmp":null,"pmp":{"deals":[{"id":"d"}]},"pmp":null`:                                  false,
		`"pmp":{"deals":null,"deals":[{"id":"d"}],"deals":null}`:                              false,
	} {
		body := `{"id":"r","site":{"id":"s"},"imp":[{"id":"1","banner":{},` + text + `},{"id":"2","banner":{},"pmp":{"deals":[{"id":"d"}]}}]}`
		o := mustDecode(t, p, []byte(body))
		if m := &o.Imps[0]; m.DealsBad != bad || (len(m.Deals) == 0) != bad {
			t.Errorf("%s: got bad %v, %d deals; want bad %v", text, m.DealsBad, len(m.Deals), bad)
		}
		if m := &o.Imps[1]; m.DealsBad || len(m.Deals) != 1 {
			t.Errorf("%s: the other impression: got bad %v, %d deals", text, m.DealsBad, len(m.Deals))
		}
	}
}

// Two entries of one deal are merged: the higher floor applies, and any other
// difference makes the deal unusable.
func TestRepeatedDeals(t *testing.T) {
	conformance.Covers(t, "B4", "P6")
	own, heir := testProfile(t, nil), testProfile(t, func(s *ProfileSpec) { s.DealFloorInheritsCur = true })
	for _, c := range []struct {
		text    string
		profile *Profile
		floor   rtb.CPM
		void    bool
	}{
		{`{"id":"d","bidfloor":5},{"id":"d","bidfloor":1}`, own, 5_000_000, false},
		{`{"id":"d","bidfloor":1},{"id":"e"},{"id":"d","bidfloor":5}`, own, 5_000_000, false},
		{`{"id":"d","bidfloor":1},{"id":"d","bidfloor":5,"bidfloorcur":"USD"}`, own, 5_000_000, false},
		{`{"id":"d","bidfloor":1},{"id":"d","bidfloor":5,"bidfloorcur":"EUR"}`, own, 5_000_000, true},
		{`{"id":"d","bidfloor":1},{"id":"d","bidfloor":5,"bidfloorcur":"EUR"}`, heir, 5_000_000, false},
		{`{"id":"d","bidfloor":1},{"id":"d","bidfloor":5,"bidfloorcur":"USD"}`, heir, 5_000_000, true},
		{`{"id":"d","bidfloor":1},{"id":"d","bidfloor":"x"}`, own, 1_000_000, true},
		{`{"id":"d","at":1},{"id":"d","at":2}`, own, 0, true},
		{`{"id":"d","wseat":["other"]},{"id":"d"}`, own, 0, true},
		{`{"id":"d","wadomain":["a.example"]},{"id":"d","wadomain":["b.example"]}`, own, 0, true},
		{`{"id":"d","wseat":["s"]},{"id":"d","wseat":["s"]}`, own, 0, false},
		{`{"id":"d","durfloors":[{"bidfloor":9}]},{"id":"d"}`, own, 0, true},
	} {
		o := mustDecode(t, c.profile, imp0(`"banner":{},"bidfloorcur":"EUR","pmp":{"deals":[`+c.text+`]}`))
		for i := range o.Imps[0].Deals[1:] {
			if string(o.Imps[0].Deals[1+i].ID) != "e" {
				t.Errorf("%s: got the deal twice", c.text)
			}
		}
		if d := o.Imps[0].Deals[0]; d.Floor != c.floor || (d.FloorBad || d.ListsBad) != c.void {
			t.Errorf("%s: got floor %d, void %v; want %d, %v", c.text, d.Floor, d.FloorBad || d.ListsBad, c.floor, c.void)
		}
	}
	o := mustDecode(t, own, imp0(`"banner":{},"pmp":{"deals":[{"id":"d","guar":1},{"id":"d"}]}`))
	if o.Imps[0].Deals[0].Guaranteed {
		t.Error("got a guaranteed deal; want guaranteed only where both entries say so")
	}
}

// The table holds the maximum number of deals of an impression: different ids stay
// separate, and a repeated one is found at any position.
func TestJoinManyDeals(t *testing.T) {
	list := make([]rtb.Deal, maxDeals)
	for i := range list {
		list[i] = rtb.Deal{ID: fmt.Appendf(nil, "deal-%d", i), Floor: rtb.CPM(i)}
	}
	list[maxDeals-1] = rtb.Deal{ID: []byte("deal-0"), Floor: 9}
	got := joinDeals(list)
	if len(got) != maxDeals-1 || got[0].Floor != 9 {
		t.Errorf("%d deals, the first with floor %d; want %d and 9", len(got), got[0].Floor, maxDeals-1)
	}
	for i := range got {
		if string(got[i].ID) != fmt.Sprintf("deal-%d", i) {
			t.Fatalf("deal %d is %q", i, got[i].ID)
		}
	}
	if maxDeals*2 > dealSlots {
		t.Errorf("%d deals in a table of %d", maxDeals, dealSlots)
	}
}
