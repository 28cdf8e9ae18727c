package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"rebound/journal"
)

// follow folds the log into the views and waits until they have caught up.
func (a *app) follow(ctx context.Context) error {
	views := a.views()
	last := a.journal.Last().Seq
	began := a.now()
	caught := make([]chan struct{}, len(views))
	for i, v := range views {
		caught[i] = make(chan struct{})
		done := caught[i]
		a.following = append(a.following, spawn(func(ctx context.Context) error {
			return a.keepFollowing(ctx, v, done)
		}))
	}
	for i, v := range views {
		if behind := last - min(last, v.Position().Seq); behind > 10_000 {
			a.console.line(fmt.Sprintf("folding %d facts into %s; meanwhile the edge accepts events and bidding waits", behind, v.Name()))
		}
		select {
		case <-caught[i]:
		case err := <-a.journal.Broken():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.live.Store(true)
	a.log.Info("folds have caught up", zap.Uint64("facts", last), zap.Duration("took", a.now().Sub(began)))
	return nil
}

// keepFollowing follows the log until ctx ends. A view that fails makes the
// bidder blind and is retried every second; the log keeps the facts that it
// misses.
func (a *app) keepFollowing(ctx context.Context, v journal.View, caughtUp chan<- struct{}) error {
	first := true
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		err := a.journal.Follow(ctx, v, func() {
			a.faults.set(v.Name(), nil)
			if first {
				first = false
				close(caughtUp)
			}
		})
		if err == nil || ctx.Err() != nil || errors.Is(err, journal.ErrClosed) {
			return nil
		}
		a.faults.set(v.Name(), err)
		a.log.Error("view failed; bidding stops until it folds again", zap.String("view", v.Name()), zap.Error(err))
		again.Reset(time.Second)
	}
}

// viewFaults holds the views that cannot fold, with their errors.
type viewFaults struct {
	mu     sync.Mutex
	failed []string // names, sorted
}

// set records the error with which following a view ended; nil means that it continues.
func (f *viewFaults) set(view string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = slices.DeleteFunc(f.failed, func(name string) bool { return name == view })
	if err != nil {
		f.failed = append(f.failed, view)
		slices.Sort(f.failed)
	}
}

// first returns the reason why bids must not be made; empty if every view folds.
func (f *viewFaults) first() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch len(f.failed) {
	case 0:
		return ""
	case 1:
		return "view " + f.failed[0] + " failed"
	}
	return "views " + strings.Join(f.failed, ", ") + " failed"
}

// grant cuts the first grants, waits until they are folded, and then keeps cutting
// grants.
func (a *app) grant(ctx context.Context) error {
	a.money.Step(ctx, a.now())
	want := a.journal.Last().Seq
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	for a.money.Position().Seq < want {
		select {
		case <-tick.C:
		case <-limit.C:
			a.log.Warn("the first grants are not folded yet; bidding begins without them")
			want = 0
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	a.granting = spawn(func(ctx context.Context) error { return a.money.Run(ctx) })
	return nil
}

// maxLag is how far a fold may be behind before the bidder counts as blind.
// Beyond it the bidder would retarget visitors who have bought and overspend
// exhausted budgets.
const maxLag = 5 * time.Second

// watch stops bidding while the bidder is blind, and logs the reason.
func (a *app) watch(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			a.look()
		}
	}
}

// firstLook checks for blindness before the first request arrives.
func (a *app) firstLook(context.Context) error {
	a.look()
	return nil
}

// blindReason is why no bids are made; empty when they are.
func (a *app) blindReason() string {
	if b := a.blind.Load(); b != nil {
		return *b
	}
	return ""
}

// look checks once whether the bidder is blind.
func (a *app) look() {
	st := a.journal.Stats()
	behind := time.Duration(0)
	for i := range st.Views {
		behind = max(behind, st.Views[i].Age)
	}
	a.behind.Store(int64(behind))
	why := st.BlindFor(maxLag)
	if why == "" {
		why = a.faults.first()
	}
	if why == "" {
		why = a.money.Blind()
	}
	was := a.blindReason()
	if why == was {
		return
	}
	a.blind.Store(&why)
	a.health.Blind(why)
	a.money.SetBlind(why != "")
	if why == "" {
		a.log.Warn("no longer blind: bidding resumes", zap.String("was", was))
		a.console.line("bidding resumes")
		if a.greeted.Load() {
			a.announce()
		}
		return
	}
	a.log.Error("blind: bidding stops", zap.String("why", why), zap.String("last_error", st.LastError),
		zap.Uint64("disk_free", st.DiskFree))
	a.console.line("bidding stops: " + why)
}
