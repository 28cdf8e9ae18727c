package pacing

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Pacer covers and prices bids. It is a view of the log. The methods of the bid
// path may be called from any goroutine; Apply from one at a time.
type Pacer struct {
	o Options

	// The bid path reads these.
	table        atomic.Pointer[table]
	pauseSet     atomic.Pointer[pauseSet]
	unbilled     atomic.Pointer[map[string]struct{}] // exchanges whose wins are not billed
	blind        atomic.Bool
	sight        sight
	stopping     atomic.Bool
	failing      atomic.Bool // the last append failed
	reservations *reservations
	flights      *flights
	life         atomic.Int64 // seconds: the longest life of a bid
	longBid      atomic.Int64 // Unix seconds of the last bid that was to live longer than usual
	wanted       atomic.Bool  // a Step is asked for
	wake         chan struct{}
	pos          atomic.Pointer[events.Position]
	counts       counters

	stepMu sync.Mutex // one Step at a time; taken before mu
	ticked int64      // Unix nanoseconds of the last tick fact
	saved  int64      // and of the last time the controllers were stored

	// mu protects the rest, and is not held while appending.
	mu       sync.Mutex
	store    *store
	now      int64 // Unix nanoseconds: the time of the folded log
	budgets  map[rtb.BudgetID]*budget
	totals   map[rtb.LineID]*lineTotal
	notices  map[rtb.BidID]*notice // changed in the Apply under way
	pauses   map[string]pause
	changed  changes
	forgotAt int64 // Unix nanoseconds of the log: when old days were last dropped
	forget   forgotten

	billing  map[string]*billing // by exchange; no part of the fold
	plan     []LinePlan
	refused  map[rtb.LineID]bool // lines that do not bid because of their currency
	recheck  bool                // a budget's currency became known: look again
	checked  int64               // Unix seconds: when the table was made
	accounts map[rtb.BudgetID]*account
	controls map[controlID]*capControl
	lines    map[rtb.LineID]*line
	moved    []*account // scratch of moveControls
	sorted   []*account // accounts by id; nil when it must be made anew
	ids      uint64     // numbers the facts of this run
}

// changes lists what an Apply must write.
type changes struct {
	budgets []*budget
	totals  []rtb.LineID
	pauses  []string
}

type counters struct {
	refused, grants, conflicts, appendErrors, late, duplicates, expired atomic.Uint64
}

// maxLife bounds a bid's life, whatever its claims and the options say.
const maxLife = 7 * 24 * time.Hour

// Open reads the view from its folder.
func Open(o Options) (*Pacer, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	s, err := openStore(&o)
	if err != nil {
		return nil, err
	}
	p := &Pacer{
		o: o, store: s, wake: make(chan struct{}, 1),
		reservations: newReservations(o.MaxReservations), flights: newFlights(),
		accounts: map[rtb.BudgetID]*account{}, controls: map[controlID]*capControl{}, lines: map[rtb.LineID]*line{},
		refused: map[rtb.LineID]bool{}, billing: map[string]*billing{},
	}
	p.life.Store(int64(o.BidLife.Seconds()))
	p.table.Store(&table{})
	if err := p.load(); err != nil {
		if !unusable(err) {
			return nil, errors.Join(err, s.close())
		}
		p.o.Logger.Error("the money view cannot be read; it is emptied and rebuilt from the log", zap.Error(err))
		if err := p.refill(""); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	p.watchClock(o.Now())
	for id, b := range p.budgets {
		if b.run(o.Run) != nil {
			s.close()
			return nil, fmt.Errorf("cannot open pacing: run %q has a grant of %s already; want a new name for each start", o.Run, id)
		}
	}
	if err := p.loadControl(); err != nil {
		s.close()
		return nil, err
	}
	return p, nil
}

// load reads the fold's state from the store. p.mu is held, or p is not shared yet.
func (p *Pacer) load() error {
	p.clear()
	pos, err := p.store.readPosition()
	if err != nil {
		return err
	}
	if pos.Seq != 0 {
		p.now = pos.Time.UnixNano()
	}
	err = p.readFold()
	if err != nil {
		p.clear()
	} else {
		p.pos.Store(&pos)
	}
	p.publishPauses()
	p.sight.logTime.Store(p.now)
	p.reconcile()
	return err
}

// clear forgets what was folded.
func (p *Pacer) clear() {
	p.pos.Store(&events.Position{})
	p.budgets, p.totals = map[rtb.BudgetID]*budget{}, map[rtb.LineID]*lineTotal{}
	p.pauses, p.notices = map[string]pause{}, map[rtb.BidID]*notice{}
	p.changed = changes{}
	p.now, p.forgotAt, p.forget = 0, 0, forgotten{}
	p.recheck = true
}

// readFold reads everything but the position.
func (p *Pacer) readFold() error {
	if err := p.store.each(keyBudget, p.loadBudget); err != nil {
		return err
	}
	if err := p.store.each(keyLine, p.loadTotal); err != nil {
		return err
	}
	return p.store.each(keyPause, func(k, v []byte) error {
		var x pause
		if err := json.Unmarshal(v, &x); err != nil {
			return fmt.Errorf("cannot read pause %q: %w", k, err)
		}
		p.pauses[string(k)] = x
		return nil
	})
}

func (p *Pacer) loadBudget(k, v []byte) error {
	b := &budget{}
	if err := b.id.UnmarshalText(k); err != nil {
		return err
	}
	if err := json.Unmarshal(v, b); err != nil {
		return fmt.Errorf("cannot read budget %q: %w", k, err)
	}
	p.budgets[b.id] = b
	return nil
}

// keepDays is how long the budgets of past days are kept: longer than notices of
// their bids are believed.
const keepDays = 9

func oldBudget(id rtb.BudgetID, now int64) bool {
	return id.Window == rtb.WindowDay && int64(id.Day) < now/int64(24*time.Hour)-keepDays
}

func (p *Pacer) loadTotal(k, v []byte) error {
	parts := strings.Split(string(k), "/")
	if len(parts) != 3 {
		return fmt.Errorf("cannot read line total: got key %q; want advertiser/campaign/line", k)
	}
	t := &lineTotal{}
	p.totals[rtb.LineID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2]}] = t
	return json.Unmarshal(v, t)
}

// reconcile sets the accounts and lines to what was loaded: after Reset or
// Restore the folds add to that again.
func (p *Pacer) reconcile() {
	for id, a := range p.accounts {
		b := p.budgets[id]
		var open rtb.Micros
		if b != nil {
			if g := b.run(p.o.Run); g != nil {
				open = g.Amount - g.Settled
			}
		}
		a.withheld, a.asked = 0, 0
		a.available.Store(int64(open) - a.reserved.Load())
		a.until.Store(0)
		a.heldUntil.Store(0)
		a.refresh(b, p.o.Run, p.now, p.stopping.Load())
	}
	for id, l := range p.lines {
		l.total = p.total(id)
	}
}

// Close stores the controllers and closes the view's folder. Apply must not be
// called afterwards.
func (p *Pacer) Close() error {
	p.stepMu.Lock()
	defer p.stepMu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.saveControl()
	if cerr := p.store.close(); err == nil {
		err = cerr
	}
	return err
}

// Name is the view's name.
func (p *Pacer) Name() string { return "money" }

// Position is that of the last fact applied.
func (p *Pacer) Position() events.Position { return *p.pos.Load() }

// Checkpoint writes a copy of the view to dir, which does not exist yet.
func (p *Pacer) Checkpoint(dir string) error { return p.store.checkpoint(dir) }

// Restore replaces the view by the copy in dir, and leaves dir as it is.
func (p *Pacer) Restore(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refill(dir)
}

// Reset empties the view.
func (p *Pacer) Reset() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refill("")
}

// refill empties the view and fills it from a copy, where there is one. When
// that fails it is empty, at the zero position. p.mu is held.
func (p *Pacer) refill(from string) error {
	err := p.store.replace(from)
	if lerr := p.load(); lerr != nil && err == nil {
		err = lerr
		if from != "" { // a copy that opens and cannot be read
			err = errors.Join(err, p.store.replace(""), p.load())
		}
	}
	return err
}
