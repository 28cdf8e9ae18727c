package pacing

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// endings are the ways in which a run can end, and whether the next one knows its
// bids.
var endings = []struct {
	name  string
	end   func(*world, *Pacer)
	known bool
}{
	{"kill", (*world).kill, true},
	{"stop", (*world).stop, true},
	{"power cut", func(w *world, p *Pacer) { w.kill(p); w.patch(headerBoot, "another-boot") }, false},
	{"power cut after a stop", func(w *world, p *Pacer) { w.stop(p); w.patch(headerBoot, "another-boot") }, true},
	{"file gone", func(w *world, p *Pacer) { w.kill(p); w.must2(os.Remove(w.reservations)) }, false},
	{"file cut", func(w *world, p *Pacer) { w.kill(p); w.must2(os.Truncate(w.reservations, slotHeader+1000)) }, false},
	{"other file", func(w *world, p *Pacer) { w.kill(p); w.patch(0, "something else") }, false},
	{"power cut, and a kill before the log is folded", func(w *world, p *Pacer) { w.kill(p); w.patch(headerBoot, "another-boot"); w.openAndKill("r1b") }, false},
	{"kill, and another before the log is folded", func(w *world, p *Pacer) { w.kill(p); w.openAndKill("r1b") }, true},
	{"a file of a run before", func(w *world, p *Pacer) { w.kill(p); w.patch(headerRun, "r0") }, false},
	{"a file without known runs, as of an earlier version", func(w *world, p *Pacer) { w.kill(p); w.patch(headerKnown, "\x00\x00\x00\x00") }, true},
}

// openAndKill starts a run that ends before it has read the log.
func (w *world) openAndKill(run string) {
	w.t.Helper()
	p, err := Open(Options{InMemory: true, Run: run, Append: w.append, BidLife: time.Hour, Reservations: w.reservations})
	if err != nil {
		w.t.Fatal(err)
	}
	p.slots = nil
	w.must2(p.Close())
}

func (w *world) must2(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// patch overwrites a part of the file of reservations.
func (w *world) patch(at int64, text string) {
	w.t.Helper()
	f, err := os.OpenFile(w.reservations, os.O_RDWR, 0)
	w.must2(err)
	_, err = f.WriteAt(append([]byte(text), make([]byte, 20)...), at)
	w.must2(err)
	w.must2(f.Close())
}

func newKeptWorld(t *testing.T) *world {
	w := newWorld(t)
	w.reservations = filepath.Join(t.TempDir(), "reservations")
	return w
}

// Case f08: bids in flight at a stop or kill count as shown until they can no longer
// be billed; if they are unknown, capped visitors wait until then.
func TestFrequencySurvivesTheEndOfARun(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			w := newKeptWorld(t)
			p := w.start("r1", "", dayPlan(50*unit))
			v, caps := visitor(1), capped(3, time.Hour, 0)
			reserve := func(p *Pacer) rtb.NoBidReason {
				c := w.bid(1_000_000)
				c.Visitor = v.Key
				reason := p.Reserve(c, v, caps)
				p.Step(context.Background(), w.now)
				return reason
			}
			for range 3 {
				wantReason(t, reserve(p), rtb.NoBidNone)
			}
			wantReason(t, reserve(p), rtb.NoBidFrequency)
			e.end(w, p)
			w.now = w.now.Add(time.Minute)
			p = w.start("r2", "", dayPlan(50*unit))
			wantReason(t, reserve(p), rtb.NoBidFrequency)
			other := w.bid(1_000_000)
			wantReason(t, p.Reserve(other, visitor(2), caps), map[bool]rtb.NoBidReason{true: rtb.NoBidNone, false: rtb.NoBidFrequency}[e.known])
			wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
			w.kill(p) // the second end is handled like the first
			p = w.start("r3", "", dayPlan(50*unit))
			wantReason(t, reserve(p), rtb.NoBidFrequency)
			w.pass(5 * time.Minute) // they can no longer be billed
			if e.known {
				wantReason(t, reserve(p), rtb.NoBidNone)
				return
			}
			wantReason(t, reserve(p), rtb.NoBidFrequency)
			w.pass(80 * time.Minute) // the grants of the run with unknown bids have ended
			wantReason(t, reserve(p), rtb.NoBidNone)
		})
	}
}

// A known dead run holds the amount that its bids in flight can still cost; an
// unknown one holds everything that it was granted.
func TestTakeOverOfMoney(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			w := newKeptWorld(t)
			p := w.start("r1", "", dayPlan(50*unit))
			var bids []*rtb.Claims
			for range 5 {
				c := w.bid(2_000_000)
				wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
				bids = append(bids, c)
				p.Step(context.Background(), w.now)
			}
			w.must(w.notice(events.KindBill, bids[0]), w.notice(events.KindLoss, bids[1]), w.notice(events.KindWin, bids[2]))
			p.Release(bids[3].Bid)
			e.end(w, p)
			p = w.start("r2", "", dayPlan(50*unit))
			var b *budget
			for _, x := range p.budgets {
				if g := x.run("r1"); g != nil && x.id.Day == bids[0].Day {
					b = x
				}
			}
			held := b.run("r1").open()
			if e.known && held != 6000 || !e.known && held <= 6000 {
				t.Fatalf("held %d for the run before; known %v", held, e.known)
			}
			for _, i := range []int{1, 2, 4} {
				w.must(w.notice(events.KindBill, bids[i]))
			}
			r := row(t, p.Budgets(w.now), "cart", "day")
			if r.Spent != 8000 || r.Late != 0 {
				t.Fatalf("got %+v; want every bill on time", r)
			}
			if n := p.Stats().Reservations; n != 0 {
				t.Fatalf("%d reservations are left", n)
			}
		})
	}
}

// The file grows ahead of need, up to its limit, and its slots are used again.
func TestSlotFileGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reservations")
	s, _, _, err := openSlots(path, "r1", 3*slotsPerChunk, func(*slotRecord, int32) bool { return true })
	if s == nil {
		t.Fatal(err)
	}
	put := func(n uint64) int32 {
		r := slotRecord{run: nameHash("r1"), cost: rtb.Micros(n), n: 2, scopes: [maxScopes]rtb.ScopeID{1, 2}, billExpiry: 7}
		binary.BigEndian.PutUint64(r.bid[:], n)
		return s.put(&r)
	}
	n := 0
	for range 5 * slotsPerChunk {
		if put(uint64(n+1)) < 0 {
			break
		}
		if n++; n%1000 == 0 {
			if err := s.grow(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 3*slotsPerChunk {
		t.Fatalf("%d bids fit; want %d", n, 3*slotsPerChunk)
	}
	for i := range int32(n) {
		if i%2 == 0 {
			s.drop(i)
		}
	}
	if put(1<<40) < 0 {
		t.Fatal("no slot was free")
	}
	if err := s.close("r1", 9); err != nil {
		t.Fatal(err)
	}
	seen := 0
	s, last, unknown, err := openSlots(path, "r2", 3*slotsPerChunk, func(r *slotRecord, _ int32) bool {
		seen++
		return r.cost != 1<<40 && r.n == 2 && r.scopes[1] == 2 && r.billExpiry == 7 && r.run == nameHash("r1")
	})
	if err != nil || last != "r1" || unknown != 9 || seen != n/2+1 || len(s.free) != n/2 {
		t.Fatalf("last %q, unknown %d, %d seen, %d free: %v", last, unknown, seen, len(s.free), err)
	}
	if err := s.close("r2", 0); err != nil {
		t.Fatal(err)
	}
}

// The bids in flight of one visitor are counted, not listed: thousands of them leave
// one count for each scope.
func TestManyBidsOfOneVisitor(t *testing.T) {
	f := newFlights()
	v, caps := visitor(1), capped(1<<30, time.Hour, time.Second)
	caps = append(caps, rtb.FrequencyCap{Scope: 99, Max: 1 << 30, Per: time.Hour})
	var set scopeSet
	set.set(v.Key, caps)
	reserve := func(at rtb.Second) flightRef {
		i, reason := f.reserve(v, caps, &set, at)
		wantReason(t, reason, rtb.NoBidNone)
		return i
	}
	var flying []flightRef
	for i := range 20_000 {
		flying = append(flying, reserve(rtb.Second(1_000_000+20*i)))
	}
	sh := f.shard(v.Key)
	if c, _ := sh.scope(sh.visitor(&v.Key), 99); c.open != 20_000 {
		t.Fatalf("%d in flight are counted; want 20000", c.open)
	}
	now := rtb.Second(1_000_000 + 20*20_000)
	if n := testing.AllocsPerRun(1000, func() {
		i, _ := f.reserve(v, caps, &set, now)
		f.drop(&i)
	}); n != 0 && !raceOn {
		t.Errorf("a bid allocates %.0f times", n)
	}
	for n := range flying {
		if n%2 == 0 {
			f.impression(&flying[n], uint64(n+1), now)
		}
	}
	v.Position = 10_000
	late := now + 100
	i := reserve(late)
	if c, _ := sh.scope(sh.visitor(&v.Key), 99); c.open != 10_001 || c.seen != 5000 {
		t.Fatalf("open %d, seen %d; want 10001 and the 5000 that the profile lacks", c.open, c.seen)
	}
	f.drop(&i)
	for i := range flying {
		f.drop(&flying[i])
	}
	if sh.byKey.used+sh.byScope.used != 0 {
		t.Fatalf("%d visitors and %d scopes are left", sh.byKey.used, sh.byScope.used)
	}
}
