package pacing

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebound/rtb"
)

// A cap of one impression per 24 h gets exactly one bid from 64 requests in parallel, whenever
// runs are killed in between.
func TestCapOfOneUnderParallelRequestsAndKills(t *testing.T) {
	w, dir := newKeptWorld(t), t.TempDir()
	caps := capped(1, 24*time.Hour, 0)
	var bids [30]atomic.Int32
	for run := range 30 {
		p := w.start(fmt.Sprintf("r%d", run), filepath.Join(dir, "money"), dayPlan(1000*unit))
		var wg sync.WaitGroup
		claims := make([]*rtb.Claims, 64)
		for i := range claims {
			claims[i] = w.bid(1000)
		}
		for i := range claims {
			wg.Go(func() {
				for v := range run + 1 { // those of earlier runs too
					c := *claims[i]
					c.Bid[15] = byte(v)
					if p.Reserve(&c, visitor(byte(v+1)), caps) == rtb.NoBidNone {
						bids[v].Add(1)
					}
				}
			})
		}
		wg.Wait()
		w.kill(p)
		w.now = w.now.Add(time.Second)
	}
	for v := range bids {
		if n := bids[v].Load(); n != 1 {
			t.Errorf("visitor %d got %d bids; want 1", v, n)
		}
	}
}

// After 30 kills the money that is held is what bids in flight can still cost, and nothing
// once they have ended.
func TestMoneyHeldAfterKills(t *testing.T) {
	w, dir := newKeptWorld(t), t.TempDir()
	plan := dayPlan(50 * unit)
	held := func(p *Pacer) (old rtb.Micros) {
		for _, b := range p.budgets {
			for i := range b.Grants {
				if g := &b.Grants[i]; !p.mine(g.Run) && !g.HeldUntil.Before(p.now) {
					old += g.open()
				}
			}
		}
		return old
	}
	var want rtb.Micros
	for run := range 30 {
		p := w.start(fmt.Sprintf("r%d", run), filepath.Join(dir, "money"), plan)
		if got := held(p); got != want {
			t.Fatalf("run %d: earlier runs hold %d; want %d", run, got, want)
		}
		for range 3 {
			c := w.bid(1_000_000)
			wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
			want += c.Reserved
			p.Step(context.Background(), w.now)
		}
		w.kill(p)
		w.now = w.now.Add(time.Second)
	}
	p := w.start("last", filepath.Join(dir, "money"), plan)
	if got := held(p); got != want {
		t.Fatalf("after 30 kills: earlier runs hold %d; want %d", got, want)
	}
	w.pass(9 * time.Minute) // each step frees one run of a budget
	if got := held(p); got != 0 {
		t.Errorf("after the bids ended: earlier runs hold %d; want 0", got)
	}
}
