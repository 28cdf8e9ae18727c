package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rebound/events"
)

// acked collects the ids of facts that were acknowledged.
type acked struct {
	mu  sync.Mutex
	ids map[string]bool
}

func (a *acked) add(id string) {
	a.mu.Lock()
	a.ids[id] = true
	a.mu.Unlock()
}

func (a *acked) copy() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := map[string]bool{}
	for id := range a.ids {
		c[id] = true
	}
	return c
}

// readAll opens a log on d, folds it and returns how often each id is in it.
func readAll(t *testing.T, o Options) map[string]int {
	t.Helper()
	l, err := Open(ctxOf(t), o)
	if err != nil {
		t.Fatalf("cannot open after the crash: %v", err)
	}
	defer closeLog(t, l)
	if why := l.BlindReason(); why != "" {
		t.Fatalf("blind after the crash: %s", why)
	}
	v := newTape("v")
	ctx, cancel := context.WithCancel(ctxOf(t))
	if err := l.Follow(ctx, v, cancel); err != nil {
		t.Fatalf("cannot follow after the crash: %v", err)
	}
	n := map[string]int{}
	for _, id := range v.ids {
		n[id]++
	}
	return n
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(ctxOf(t)); err != nil {
		t.Errorf("close: %v", err)
	}
}

// Every fact that was acknowledged before a power cut is in the log afterwards,
// once, whatever part of the rest the disk kept; also after repeated power
// cuts, while files are created and sealed.
func TestPowerCut(t *testing.T) { powerCuts(t, 12) }

// The same with more seeds.
func TestProvePowerCut(t *testing.T) {
	prove(t)
	powerCuts(t, 400)
}

// prove skips a long proof unless it was asked for.
func prove(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("PROVE is not set")
	}
}

func powerCuts(t *testing.T, seeds uint64) {
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r, d := memRig(t)
		r.o.FileBytes = 20_000
		kept := &acked{ids: map[string]bool{}}
		for cut := range 4 {
			d, kept = powerCut(t, r, d, kept, rnd, fmt.Sprintf("seed %d, cut %d", seed, cut))
		}
		got := readAll(t, r.o)
		for id := range kept.ids {
			if got[id] != 1 {
				t.Fatalf("seed %d: fact %s is in the log %d times; want once", seed, id, got[id])
			}
		}
		for id, n := range got {
			if n != 1 {
				t.Fatalf("seed %d: fact %s is in the log %d times; want once", seed, id, n)
			}
		}
	}
}

// powerCut appends with several goroutines until the power goes at a call that is
// drawn. It returns the disk that is left, and what had been acknowledged.
func powerCut(t *testing.T, r *rig, d *memDisk, kept *acked, rnd *rand.Rand, name string) (*memDisk, *acked) {
	t.Helper()
	l, err := Open(ctxOf(t), r.o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if why := l.BlindReason(); why != "" {
		t.Fatalf("%s: blind: %s", name, why)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var must map[string]bool
	var after *memDisk
	var mu sync.Mutex
	left, keep := 1+rnd.IntN(200), rnd.IntN(101)
	d.hook(func(string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			must = kept.copy()
			after = d.cut(rnd, keep)
			cancel()
		}
		return nil
	})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("%s-%d-%d", name, g, i)
				if l.Append(ctx, event(id), grantless(id+"b")) == nil {
					kept.add(id)
					kept.add(id + "b")
				}
			}
		})
	}
	wg.Wait()
	closeLog(t, l)
	r.o.disk = after
	return after, &acked{ids: must}
}

// grantless is a fact of the class of money.
func grantless(id string) events.Fact {
	return events.Fact{ID: id, Kind: events.KindTick, At: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)}
}

// A fault at any system call loses nothing that was acknowledged, neither when the
// process is started again nor when the power goes too.
func TestFaultAtSomeCalls(t *testing.T) { faults(t, 11) }

// The same with a fault at every call.
func TestProveFaultAtEveryCall(t *testing.T) {
	prove(t)
	faults(t, 1)
}

// faults runs a workload with a fault at one call, for every step-th call.
func faults(t *testing.T, step int) {
	every := func(call, name string) bool { return true }
	for name, c := range map[string]struct {
		err     error
		forever bool
		which   func(call, name string) bool
	}{
		"io once":       {syscall.EIO, false, every},
		"io for good":   {syscall.EIO, true, every},
		"full once":     {syscall.ENOSPC, false, every},
		"full for good": {syscall.ENOSPC, true, func(call, _ string) bool { return call != "read" && call != "open" }},
		"sync fails":    {syscall.EIO, true, func(call, _ string) bool { return call == "sync" }},
		"no writes":     {syscall.EIO, true, func(call, _ string) bool { return call == "write" }},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n += step {
				reached := faultRun(t, n, c.forever, c.err, c.which)
				if !reached {
					if n < 20 {
						t.Fatalf("got %d calls; want more", n)
					}
					return
				}
			}
		})
	}
}

// faultRun runs a workload with a fault at the nth call and reports whether the
// workload made that many calls.
func faultRun(t *testing.T, n int, forever bool, fault error, which func(call, name string) bool) bool {
	t.Helper()
	r, d := memRig(t)
	r.o.FileBytes = 3_000
	var reached atomic.Bool
	inner := nth(n, forever, fault, which)
	d.hook(func(call, name string) error {
		err := inner(call, name)
		if err != nil {
			reached.Store(true)
		}
		return err
	})
	kept := &acked{ids: map[string]bool{}}
	for run := range 3 {
		l, err := Open(ctxOf(t), r.o)
		if err != nil {
			if !errors.Is(err, fault) && !strings.Contains(err.Error(), fault.Error()) {
				t.Fatalf("call %d, run %d: open: %v", n, run, err)
			}
			continue
		}
		for i := range 8 {
			id := fmt.Sprintf("%d-%d", run, i)
			if l.Append(ctxOf(t), event(id), event(id+"b")) == nil {
				kept.add(id)
				kept.add(id + "b")
			}
			r.now.add(2 * time.Second)
		}
		l.Close(ctxOf(t)) //nolint:errcheck // it may fail here
	}
	d.hook(nil)
	for _, disk := range []*memDisk{d, d.cut(rand.New(rand.NewPCG(uint64(n), 2)), 50)} {
		r.o.disk = disk
		got := readAll(t, r.o)
		for id := range kept.ids {
			if got[id] != 1 {
				t.Fatalf("call %d: fact %s is in the log %d times; want once", n, id, got[id])
			}
		}
	}
	return reached.Load()
}
