package pacing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// ledgerProof drives a node's runs with random operations from many goroutines, and the
// model with the same log.
type ledgerProof struct {
	t     *testing.T
	dir   string
	clock atomic.Int64 // nanoseconds
	log   *MemLog
	model *books // under the log's lock
	plan  []LinePlan

	ops, reserved, restarts, edits atomic.Int64

	mu   sync.RWMutex // held for reading by operations, for writing by restarts and edits
	p    *Pacer
	runs int
}

const proofCaps = rtb.CapLineDay | rtb.CapCampaignTotal | rtb.CapAdvertiserHour | rtb.CapCampaignFlight

func newLedgerProof(t *testing.T) *ledgerProof {
	x := &ledgerProof{t: t, dir: memoryDir(t), model: newBooks()}
	x.clock.Store(noon.UnixNano())
	x.log = &MemLog{Now: x.now, Apply: func(facts []events.Fact) error {
		for i := range facts {
			x.model.add(bookFactOf(&facts[i]))
		}
		return x.p.Apply(facts)
	}}
	for _, id := range []rtb.LineID{cartLine, viewLine} {
		l := dayPlan(0)
		l.Line, l.Zone = id, time.FixedZone("west", -4*3600)
		l.Caps = proofCaps | rtb.CapLineDay.Imps() | rtb.CapAdvertiserTotal.Imps()
		l.Flights = rtb.Flights{0, 20500, 0}
		x.plan = append(x.plan, l)
	}
	x.edit(rand.New(rand.NewPCG(1, 1)))
	x.start()
	return x
}

// memoryDir returns a folder in memory where the system has one: the proof stores the
// controllers thousands of times, and a power cut is not what it proves.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "rebound-ledger-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (x *ledgerProof) now() time.Time { return time.Unix(0, x.clock.Load()).UTC() }

// edit sets other limits. x.mu is held, or x is not shared yet.
func (x *ledgerProof) edit(r *rand.Rand) {
	limit := func(most int64) rtb.Micros { return rtb.Micros(1 + r.Int64N(most)) }
	day, total, hour, flight := [2]rtb.Micros{limit(8_000_000), limit(8_000_000)}, limit(400_000_000), limit(4_000_000), limit(300_000_000)
	imps, all := limit(8000)*rtb.ImpressionUnit, limit(400_000)*rtb.ImpressionUnit
	for i := range x.plan {
		l := &x.plan[i]
		l.LineDay, l.CampaignTotal = day[i], total
		l.Limits.Set(rtb.CapAdvertiserHour, hour)
		l.Limits.Set(rtb.CapCampaignFlight, flight)
		l.Limits.Set(rtb.CapLineDay.Imps(), imps)
		l.Limits.Set(rtb.CapAdvertiserTotal.Imps(), all)
		l.HoldbackPct = r.IntN(2) * 5
		x.model.limit(l.Line.String()+"/day", int64(day[i]))
		x.model.limit(l.Line.String()+"/imps_day", int64(imps))
	}
	x.model.limit("shop/autumn//total", int64(total))
	x.model.limit("shop///hour", int64(hour))
	x.model.limit("shop/autumn//flight", int64(flight))
	x.model.limit("shop///imps_total", int64(all))
	if x.p != nil {
		x.p.SetPlan(x.plan)
	}
	x.edits.Add(1)
}

func (x *ledgerProof) start() {
	x.runs++
	p, err := Open(Options{Dir: filepath.Join(x.dir, "money"), Run: fmt.Sprintf("r%d", x.runs), Append: x.log.Append, IsConflict: IsConflict,
		Now: x.now, BidLife: time.Hour, Reservations: filepath.Join(x.dir, "reservations")})
	if err != nil {
		x.t.Fatal(err)
	}
	x.p = p
	p.SetPlan(x.plan)
	for range 2 {
		p.Step(context.Background(), x.now())
	}
}

// restart ends the run, cleanly or as a kill does, and starts the next one.
func (x *ledgerProof) restart(r *rand.Rand) {
	if r.IntN(3) == 0 {
		if err := x.p.Stop(context.Background()); err != nil {
			x.t.Error(err)
		}
	} else {
		x.p.slots = nil // as a kill leaves them
	}
	if err := x.p.Close(); err != nil {
		x.t.Error(err)
	}
	x.start()
	x.restarts.Add(1)
	x.compare()
}

// compare checks that the ledger and the model agree to the micro. x.mu is held.
func (x *ledgerProof) compare() {
	for name, m := range x.model.budgets {
		var id rtb.BudgetID
		if err := id.UnmarshalText([]byte(name)); err != nil {
			x.t.Errorf("the log names budget %q: %v", name, err)
			continue
		}
		b := x.p.budgets[id]
		if b == nil && id.Imps {
			b = x.p.newBudget(id)
		}
		if b == nil {
			b = &budget{}
		}
		if int64(b.Settled) != m.settled || int64(b.Late) != m.late || int64(b.held(x.p.now)) != x.model.held(m) {
			x.t.Errorf("%s: the ledger has settled %d, late %d, held %d; the model %d, %d, %d", name,
				b.Settled, b.Late, b.held(x.p.now), m.settled, m.late, x.model.held(m))
		}
	}
	for id, b := range x.p.budgets {
		if x.model.budgets[id.String()] == nil && (b.Settled != 0 || b.held(x.p.now) != 0) {
			x.t.Errorf("the model has no budget %s", id)
		}
	}
	for _, wrong := range x.model.wrong {
		x.t.Error(wrong)
	}
}

// proofBid is a bid that a goroutine knows.
type proofBid struct {
	claims  rtb.Claims
	notices int
}

// operate does n random operations.
func (x *ledgerProof) operate(seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, 5))
	var bids []proofBid
	for i := range n {
		if x.t.Failed() {
			return
		}
		if done := x.ops.Add(1); done%100_000 == 0 {
			x.t.Logf("%d operations", done)
		}
		switch k := r.IntN(20_000); {
		case k == 0 || k == 1 || seed == 0 && i == n/2: // at least one in a short run
			x.mu.Lock()
			x.restart(r)
			x.mu.Unlock()
			continue
		case k < 6:
			x.mu.Lock()
			x.edit(r)
			x.mu.Unlock()
			continue
		case k < 400:
			x.clock.Add(int64(time.Second) * int64(1+r.IntN(20)))
		case k < 402:
			x.clock.Add(int64(time.Minute) * int64(10+r.IntN(50)))
		case k < 900:
			x.mu.RLock()
			x.p.Step(context.Background(), x.now())
			x.mu.RUnlock()
		}
		x.mu.RLock()
		if len(bids) == 0 || r.IntN(2) == 0 {
			bids = x.bid(r, bids)
		} else {
			bids = x.notify(r, bids)
		}
		x.mu.RUnlock()
	}
}

func (x *ledgerProof) bid(r *rand.Rand, bids []proofBid) []proofBid {
	w := &world{now: x.now()}
	c := w.bid(rtb.CPM(1000 * (1 + r.IntN(2000))))
	for i := range c.Bid {
		c.Bid[i] = byte(r.Uint32())
	}
	if r.IntN(2) == 0 {
		c.Line = viewLine.Line
	}
	if r.IntN(200) == 0 { // a bid that lives longer than usual
		c.BillExpiry = c.Issued.Add(3 * time.Hour)
	}
	if x.p.Reserve(c, nil, nil) != rtb.NoBidNone {
		return bids
	}
	x.reserved.Add(1)
	if r.IntN(10) == 0 {
		x.p.Release(c.Bid)
		return bids
	}
	if len(bids) == 16 { // its reservation expires
		bids[r.IntN(len(bids))] = proofBid{claims: *c}
		return bids
	}
	return append(bids, proofBid{claims: *c})
}

// notify appends a random notice of a random bid, whatever came before: in any order,
// late and repeated.
func (x *ledgerProof) notify(r *rand.Rand, bids []proofBid) []proofBid {
	i := r.IntN(len(bids))
	b := &bids[i]
	w := &world{now: x.now()}
	kind := []events.Kind{events.KindWin, events.KindBill, events.KindBill, events.KindLoss}[r.IntN(4)]
	f := w.notice(kind, &b.claims)
	f.Notice.Charge = rtb.Micros(r.Int64N(int64(b.claims.Reserved) + 1))
	if err := x.log.Append(context.Background(), f); err != nil {
		x.t.Error(err)
	}
	if b.notices++; b.notices >= 2+r.IntN(3) {
		bids[i] = bids[len(bids)-1]
		return bids[:len(bids)-1]
	}
	return bids
}

func bookFactOf(f *events.Fact) *bookFact {
	x := &bookFact{kind: string(f.Kind), at: f.TS}
	if g := f.Grant; g != nil {
		x.run, x.budget, x.amount, x.held = g.Run, g.Budget.String(), int64(g.Amount), g.HeldUntil
	}
	if n := f.Notice; n != nil {
		x.owner = f.Advertiser + "/" + n.Campaign + "/" + n.Line
		x.run, x.bid, x.amount, x.bills, x.caps, x.day = n.Grant, n.BidID.String(), int64(n.Charge), n.Bills, uint32(n.Caps), n.Day.String()
		x.issued, x.winExpiry, x.expiry = n.Issued, n.WinExpiry, n.BillExpiry
		for i, d := range n.Flights {
			if d != 0 {
				x.flights[i] = d.String()
			}
		}
	}
	return x
}

// proveLedger runs the proof with a number of operations.
func proveLedger(t *testing.T, total int) {
	x := newLedgerProof(t)
	const workers = 16
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() { x.operate(uint64(k), total/workers) })
	}
	wg.Wait()
	x.compare()
	for range 40 { // everything in flight ends
		x.clock.Add(int64(10 * time.Minute))
		x.p.Step(context.Background(), x.now())
	}
	if err := x.log.Append(context.Background(), events.Fact{ID: "end", Kind: events.KindTick}); err != nil {
		t.Fatal(err)
	}
	x.compare()
	checkAccounts(t, x.p, 0)
	if s := x.p.Stats(); s.Reservations != 0 {
		t.Errorf("%d reservations are left", s.Reservations)
	}
	settled, late := int64(0), int64(0)
	for name, m := range x.model.budgets {
		if name == "shop/autumn//total" {
			settled, late = m.settled, m.late
		}
	}
	t.Logf("%d operations: %d bids reserved, %d restarts, %d budget edits; settled %d micros, %d of them late; %d facts", x.ops.Load(), x.reserved.Load(),
		x.restarts.Load(), x.edits.Load(), settled, late, x.log.seq)
	if x.reserved.Load() < int64(total)/100 || x.restarts.Load() == 0 || settled == 0 || late == 0 {
		t.Error("the proof did not exercise the ledger")
	}
	if err := x.p.Close(); err != nil {
		t.Error(err)
	}
}

// Random operations from 16 goroutines: never more is settled on time and held than a cap
// allows, and the books equal those of a plain model. This is the short form of
// TestProveLedger.
func TestLedgerAgainstModel(t *testing.T) {
	total := 60_000
	if raceOn {
		total = 16_000
	}
	proveLedger(t, total)
}

// TestProveLedger does a million operations. make prove runs it under the race detector.
func TestProveLedger(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs it")
	}
	proveLedger(t, 1_000_000)
}
