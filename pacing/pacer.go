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
	"rebound/internal/view"
	"rebound/rtb"
)

// Pacer prices bids and reserves their cost. It is a view of the log. The methods of the bid
// path may be called from any goroutine; Apply from one at a time.
type Pacer struct {
	o Options

	// The bid path reads these fields.
	table        atomic.Pointer[table]
	places       atomic.Pointer[map[placeKey]*place]
	newPlaces    chan newPlace
	pauseSet     atomic.Pointer[pauseSet]
	unbilled     atomic.Pointer[map[string]struct{}] // exchanges whose wins are not billed
	blind        atomic.Bool
	sight        sight
	stopping     atomic.Bool
	failing      atomic.Bool // the last append failed
	reservations *reservations
	flights      *flights
	paths        *paths
	slots        *slotFile             // nil: reservations are not kept over a kill
	unknownUntil secondValue           // bids of an earlier run that are not known may be shown until then
	life         durationValue         // the longest life that grants allow for a bid
	shortest     secondValue           // the least age at which bids are overdue; 0 if none
	longBid      secondValue           // the last bid with a longer life than usual
	touched      changedList[*line]    // lines that were observed
	short        changedList[*account] // accounts whose grant bids ask for
	wanted       atomic.Bool           // a Step is requested
	wake         chan struct{}
	counts       counters

	stepMu sync.Mutex // serializes Step; locked before mu
	ticked time.Time  // time of the last tick fact
	saved  time.Time  // when saveLearned was last called

	// mu protects the remaining fields, and is not held while appending.
	mu       sync.Mutex
	db       *view.DB
	now      time.Time // the time of the folded log
	budgets  map[rtb.BudgetID]*budget
	epoch    uint64 // changes with the set of budgets; never 0
	totals   map[rtb.LineID]*lineTotal
	notices  map[rtb.BidID]*notice // changed in the current Apply
	pauses   map[string]pause
	values   *values
	delays   map[sourceKey]*noticeDelays
	adjusted map[string]struct{} // ids of the adjustments in the current Apply
	changed  changes
	forgotAt time.Time // in log time: when old days were last dropped
	forget   forgotten

	inherited inheritance

	billing       map[string]*billing        // by exchange; not part of the fold
	losses        map[string]*lossClaims     // the same; entries are never replaced or removed, because accounts refer to them
	overdue       map[sourceKey]*overdueBids // not part of the fold; entries as in losses
	lateBy        map[lateKey]rtb.Micros     // late spend of this run's bids; not part of the fold
	plan          []LinePlan
	refused       map[rtb.LineID]bool // lines that do not bid because of their currency
	recheck       bool                // a budget's currency became known: check the lines again
	checked       time.Time           // when the table was built
	accounts      map[rtb.BudgetID]*account
	longs         map[rtb.BudgetID]*account // accounts for bids that live longer than usual
	longRun       string                    // run name of the grants of longs
	controls      map[controlID]*capControl
	savedControls time.Time // when the controllers were last stored
	lines         map[rtb.LineID]*line
	terms         termsBlock
	moved         []*account // scratch memory of moveControls
	agenda        agenda
	sorted        []*account // accounts by id; nil if the list must be rebuilt
	ids           uint64     // numbers the facts of this run
}

// changes lists what an Apply must write.
type changes struct {
	budgets []*budget
	totals  []rtb.LineID
	pauses  []string
	delays  []sourceKey
}

type counters struct {
	refused, grants, conflicts, appendErrors, late, duplicates, billedLosses, expired atomic.Uint64
}

// maxLife bounds the life of a bid, regardless of its claims and the options.
const maxLife = 7 * 24 * time.Hour

// Open reads the view from its folder.
func Open(o Options) (*Pacer, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	db, err := openView(&o)
	if err != nil {
		return nil, err
	}
	p := &Pacer{
		o: o, db: db, wake: make(chan struct{}, 1), newPlaces: make(chan newPlace, waitingPlaces),
		reservations: newReservations(o.MaxReservations), flights: newFlights(), paths: newPaths(), values: newValues(db),
		accounts: map[rtb.BudgetID]*account{}, longs: map[rtb.BudgetID]*account{}, longRun: longRun(o.Run), controls: map[controlID]*capControl{}, lines: map[rtb.LineID]*line{},
		refused: map[rtb.LineID]bool{}, billing: map[string]*billing{},
		losses: map[string]*lossClaims{}, lateBy: map[lateKey]rtb.Micros{}, overdue: map[sourceKey]*overdueBids{},
	}
	p.life.Store(o.BidLife)
	p.table.Store(&table{})
	p.places.Store(&map[placeKey]*place{})
	err = p.load()
	if view.IsDamage(err) {
		p.o.Logger.Error("the money view cannot be read; it is emptied", zap.Error(err))
		err = p.refill(db.Reset)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	p.watchClock(o.Now())
	for id, b := range p.budgets {
		if b.run(o.Run) != nil {
			err := fmt.Errorf("cannot open pacing: run %q has a grant of %s already; want a new name for each start", o.Run, id)
			return nil, errors.Join(err, db.Close())
		}
	}
	if err := p.loadControl(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := p.openSlots(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return p, nil
}

// load reads the fold's state from the store. p.mu is held, or p is not shared yet.
func (p *Pacer) load() error {
	p.clear()
	p.now = p.Position().Time
	err := p.readFold()
	if err != nil {
		p.clear()
	}
	p.publishPauses()
	p.sight.setLogTime(p.now)
	p.reconcile()
	return err
}

// clear removes the folded state.
func (p *Pacer) clear() {
	p.budgets, p.totals = map[rtb.BudgetID]*budget{}, map[rtb.LineID]*lineTotal{}
	p.pauses, p.notices = map[string]pause{}, map[rtb.BidID]*notice{}
	p.adjusted, p.changed, p.delays = map[string]struct{}{}, changes{}, map[sourceKey]*noticeDelays{}
	p.values.clear()
	p.now, p.forgotAt, p.forget = time.Time{}, time.Time{}, forgotten{}
	p.epoch++
	p.recheck = true
}

// readFold reads everything but the position.
func (p *Pacer) readFold() error {
	if err := each(p.db, keyBudget, p.loadBudget); err != nil {
		return err
	}
	if err := each(p.db, keyLine, p.loadTotal); err != nil {
		return err
	}
	if err := each(p.db, keyNotices, p.loadDelays); err != nil {
		return err
	}
	if err := p.values.load(p.db); err != nil {
		return err
	}
	return each(p.db, keyPause, func(k, v []byte) error {
		var x pause
		if err := json.Unmarshal(v, &x); err != nil {
			return unreadable("pause", k, err)
		}
		p.pauses[string(k)] = x
		return nil
	})
}

func (p *Pacer) loadBudget(k, v []byte) error {
	b := &budget{}
	err := b.id.UnmarshalText(k)
	if err == nil {
		err = json.Unmarshal(v, b)
	}
	if err != nil {
		return unreadable("budget", k, err)
	}
	p.budgets[b.id] = b
	p.epoch++
	return nil
}

// keepDays is how long the budgets of past days are kept. It is longer than
// notices of their bids are accepted.
const keepDays = 9

func oldBudget(id rtb.BudgetID, now time.Time) bool {
	switch id.Window {
	case rtb.WindowDay:
		return id.Day < rtb.DayOf(now, time.UTC)-keepDays
	case rtb.WindowHour:
		return now.Sub(id.Hour.Start()) > keepDays*24*time.Hour
	}
	return false
}

func (p *Pacer) loadTotal(k, v []byte) error {
	parts := strings.Split(string(k), "/")
	if len(parts) != 3 {
		return unreadable("line total", k, errors.New("want advertiser/campaign/line"))
	}
	t := &lineTotal{}
	p.totals[rtb.LineID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2]}] = t
	if err := json.Unmarshal(v, t); err != nil {
		return unreadable("line total", k, err)
	}
	return nil
}

// reconcile sets the accounts and lines to the loaded state. After Reset or
// Restore the folds add to it again.
func (p *Pacer) reconcile() {
	for _, a := range p.sortedAccounts() {
		b := p.budgetOf(a)
		var open rtb.Micros
		if b != nil {
			if g := b.run(a.run); g != nil {
				open = g.Amount - g.Settled
			}
		}
		a.withheld, a.sent = 0, time.Time{}
		a.available.Store(open - a.reserved.Load() - a.kept.Load())
		a.until.Store(0)
		a.heldUntil.Store(0)
		a.refresh(b, p.now, p.stopping.Load())
	}
	for id, l := range p.lines {
		l.total = p.total(id)
	}
	p.agenda.everything()
}

// Close stores the controllers and closes the view's folder. Apply must not be
// called afterwards.
func (p *Pacer) Close() error {
	p.stepMu.Lock()
	defer p.stepMu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if !p.o.InMemory {
		p.savedControls = time.Time{}
		err = p.saveLearned(p.o.Now())
	}
	return errors.Join(err, p.db.Close(), p.slots.close(p.o.Run, p.unknownUntil.Load()))
}

// Name is the view's name.
func (p *Pacer) Name() string { return name }

// Position returns the position of the last fact applied.
func (p *Pacer) Position() events.Position { return p.db.Position() }

// Checkpoint writes a copy of the view to dir, which does not exist yet.
func (p *Pacer) Checkpoint(dir string) error { return p.db.Checkpoint(dir) }

// Restore replaces the view by the checkpoint in dir, which is not changed. If that
// fails, the view is empty and at the zero position.
func (p *Pacer) Restore(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refill(func() error { return p.db.Restore(dir) })
}

// Reset empties the view.
func (p *Pacer) Reset() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refill(p.db.Reset)
}

// refill replaces the view's files and loads them. Files that can be opened but not read
// are emptied. p.mu is held.
func (p *Pacer) refill(exchange func() error) error {
	err := exchange()
	if lerr := p.load(); lerr != nil {
		err = errors.Join(err, lerr, p.db.Reset(), p.load())
	}
	return err
}
