package pacing

import (
	"math"
	"testing"
	"time"

	"rebound/rtb"
)

// The best bids that fit into the free money are those above the least use.
func TestLeastUse(t *testing.T) {
	var a asks
	for _, use := range []float64{0.9, 0.4, 0.1, 0.001} {
		a[askBin(use)] += 100
	}
	for _, tt := range []struct {
		free     float64
		from, to float64
	}{{1000, 0, 0}, {400, 0, 0}, {350, 0, 0.1}, {250, 0.08, 0.13}, {150, 0.35, 0.5}, {100, 0.35, 0.5}, {50, 0.7, 1}, {0, 1, 1}, {-5, 1, 1}} {
		if got := a.least(tt.free); got < tt.from || got > tt.to {
			t.Errorf("%g free: got a least use of %.4f; want %g to %g", tt.free, got, tt.from, tt.to)
		}
	}
	for _, use := range []float64{0, -1, math.NaN(), 1, 2, math.Inf(1)} {
		askBin(use) // must not panic
	}
}

// Where bids ask for more money than there is, those that hardly ever win are refused, and
// those that usually do are not. With enough money all of them are made.
func TestMoneyIsHeldForTheBestBids(t *testing.T) {
	for _, tt := range []struct {
		limit rtb.Micros
		want  rtb.NoBidReason
	}{{unit / 10, rtb.NoBidPaced}, {10 * unit, rtb.NoBidNone}} {
		w := newWorld(t)
		p := w.start("r1", "", evenPlan(tt.limit))
		made := map[bool]int{}
		var last rtb.NoBidReason
		for range 300 { // those of a minute ask for 0.18, of which 0.06 by bids that usually win
			for _, good := range []bool{true, false, false} {
				c := w.bid(1_000_000)
				if c.Expected = c.Reserved / 1000; good {
					c.Expected = c.Reserved * 8 / 10
				}
				c.WinExpiry, c.BillExpiry = c.Issued.Add(60*time.Second), c.Issued.Add(60*time.Second)
				r := p.Reserve(c, nil, nil)
				if r == rtb.NoBidNone {
					made[good]++
				}
				if !good {
					last = r
				}
				p.observe(cartLine, 0)
			}
			w.pass(time.Second)
		}
		wantReason(t, last, tt.want)
		if made[true] < 250 {
			t.Errorf("limit %s: %d of 300 bids that usually win were made, and %d of 600 others", tt.limit, made[true], made[false])
		}
	}
}
