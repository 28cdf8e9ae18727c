package mock

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"rebound/rtb"
)

// Exchange is an exchange that runs once.
type Exchange struct {
	o     Options
	b     *books
	crowd *crowd
	run   string // makes ids unique across runs
}

// New prepares an exchange.
func New(o Options) (*Exchange, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	now := o.Now()
	return &Exchange{o: o, crowd: newCrowd(&o), b: newBooks(now), run: strconv.FormatInt(now.UnixMilli(), 36)}, nil
}

// worker acts for the visitors whose number modulo the number of workers is its own, one
// step at a time and in order.
type worker struct {
	*Exchange
	ctx   context.Context
	steps chan int
	later []delayed
}

// Run lets the visitors act until the pages or the duration are over, or ctx ends. It
// sends the notices that are still due, compares the books and reports. An error means
// that the exchange could not run; differences between the books are in the report.
func (e *Exchange) Run(ctx context.Context) (*Report, error) {
	before, err := e.readBooks(ctx)
	if err != nil {
		return nil, err
	}
	e.b.began = e.o.Now()
	// Notices that are due go out even after an interruption, for a bounded time.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	workers := make([]*worker, e.o.Workers)
	var wg sync.WaitGroup
	for i := range workers {
		w := &worker{Exchange: e, ctx: life, steps: make(chan int, 64)}
		workers[i] = w
		wg.Go(func() { w.loop() })
	}
	stopProgress, stopWatch := e.progress(), e.watch(life)
	e.dispatch(ctx, workers)
	for _, w := range workers {
		close(w.steps)
	}
	wg.Wait()
	stopProgress()
	curves := stopWatch()
	r := e.report(context.WithoutCancel(ctx), before)
	r.Curves = curves
	return r, nil
}

// dispatch hands every step to the worker of its visitor, on schedule.
func (e *Exchange) dispatch(ctx context.Context, workers []*worker) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for step := 0; e.o.Pages == 0 || step < e.o.Pages; step++ {
		now := e.o.Now()
		if e.o.Duration > 0 && now.Sub(e.b.began) >= e.o.Duration || ctx.Err() != nil {
			return
		}
		if e.o.PerSecond > 0 {
			due := e.b.began.Add(time.Duration(float64(step) / e.o.PerSecond * float64(time.Second)))
			if wait := due.Sub(now); wait > 0 {
				timer.Reset(wait)
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				}
			}
		}
		n := e.crowd.draw(e.random(step))
		select {
		case workers[n%len(workers)].steps <- step:
		case <-ctx.Done():
			return
		}
	}
}

// random returns the generator of one step.
func (e *Exchange) random(step int) *rand.Rand {
	return rand.New(rand.NewPCG(e.o.Seed, uint64(step)))
}

// done returns the share of the run that is over, 0 to 1.
func (e *Exchange) done(step int, now time.Time) float64 {
	if e.o.Pages > 0 {
		return float64(step) / float64(e.o.Pages)
	}
	return min(float64(now.Sub(e.b.began))/float64(e.o.Duration), 1)
}

// progress reports the totals once per second until the returned function is called.
func (e *Exchange) progress() (stop func()) {
	if e.o.Progress == nil {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				e.o.Progress(e.b.snapshot(e.o.Now()))
			}
		}
	}()
	return func() { close(quit); <-ended }
}

// reportFirst describes the first event of a kind.
func (w *worker) reportFirst(kind, format string, args ...any) {
	if w.o.First != nil && w.b.first(kind) {
		w.o.First(fmt.Sprintf(format, args...))
	}
}

// loop processes the steps of a worker, then sends the notices that are still due.
func (w *worker) loop() {
	for step := range w.steps {
		w.step(step)
		w.flush(false)
	}
	w.flush(true)
}

// step is one page view of one visitor.
func (w *worker) step(step int) {
	r := w.random(step)
	p := &w.crowd.people[w.crowd.draw(r)]
	w.b.note(func(t *Totals) { t.Pages++ })
	if again := r.Float64() * 100; p.shopper && (!p.visited || again < w.o.RevisitPct) {
		w.visitShop(p, r, step)
		return
	}
	pg := w.newPage(p, r, step)
	body := w.request(pg, r)
	w.b.note(func(t *Totals) { t.Auctions += len(pg.imps) })
	w.b.second(pg.at, func(s *Second) { s.Auctions += len(pg.imps) })
	bids := w.collectBids(pg, body)
	for i := range pg.imps {
		w.settle(pg, &pg.imps[i], bids, r)
	}
}

// settle holds the auction of an impression and sends its notices.
func (w *worker) settle(pg *page, imp *impression, all []bid, r *rand.Rand) {
	var bids []*bid
	for i := range all {
		if all[i].ImpID == imp.id {
			bids = append(bids, &all[i])
		}
	}
	s := sell(imp, pg.first, bids)
	switch {
	case s.winner == nil && imp.competition >= imp.floor:
		w.b.note(func(t *Totals) { t.MarketWins++ })
	case s.winner != nil && s.winner.rival:
		w.b.note(func(t *Totals) { t.RivalWins++ })
	}
	for _, b := range bids {
		w.conclude(pg, imp, &s, b, r)
	}
}

// conclude sends a bidder the notices of its bid. Rivals get the same notices; only the
// bidder's are in the books.
func (w *worker) conclude(pg *page, imp *impression, s *sale, b *bid, r *rand.Rand) {
	toBeat := s.toBeat(imp, b)
	m := &macros{price: s.cleared, toBeat: toBeat, loss: "0", request: fmt.Sprintf("mx-%s-%d", w.run, pg.step), imp: imp.id, bid: b}
	if s.winner != b {
		m.price, m.loss = 0, lossToHigher
		switch {
		case b.late:
			m.loss = lossLate
		case toBeat == imp.floor:
			m.loss = lossBelowFloor
		}
	}
	if b.rival {
		if s.winner == b {
			w.notice("win", m.expand(b.NURL), r, nil)
			w.notice("bill", m.expand(b.BURL), r, nil)
		} else {
			w.notice("loss", m.expand(b.LURL), r, nil)
		}
		return
	}
	e := &Entry{BidID: b.ID, Campaign: b.CID, Day: pg.at.In(w.o.Zone).Format(time.DateOnly), At: pg.at, FirstPrice: pg.first, Deal: b.DealID,
		Bid: b.price, Cleared: s.cleared, ToBeat: toBeat}
	w.b.keep(e, s.winner == b, w.o.KeepAuctions)
	if s.winner == b {
		w.reportFirst("win", "The bid wins the auction: the highest competing price is %.2f, and the exchange charges %.2f CPM.", toBeat.Units(), s.cleared.Units())
		w.b.enter(e)
		w.b.second(pg.at, func(x *Second) { x.Wins++ })
		w.won(pg, e, m, r)
		return
	}
	w.reportFirst("loss", "A bid of %.2f CPM loses: somebody else offers %.2f. The exchange sends a loss notice, and the reserved money is free again.", b.price.Units(), toBeat.Units())
	billed := r.Float64()*100 < w.o.Notices.BilledLossPct
	w.notice("loss", m.expand(b.LURL), r, nil)
	if billed {
		e.Cleared, e.LostFirst = min(b.price, toBeat), true
		w.b.enter(e)
		w.b.note(func(t *Totals) { t.Notices.BilledLoss++ })
		m.price, m.loss = e.Cleared, "0"
		w.notice("bill", m.expand(b.BURL), r, func(ok bool) { w.b.bill(e, ok) })
	}
}

// keep counts the outcome of a bid.
func (b *books) keep(e *Entry, won, auction bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.totals.toBeatSum += int64(e.ToBeat)
	if won {
		b.totals.Wins++
	} else {
		b.totals.Losses++
	}
	if auction {
		b.auctions = append(b.auctions, Auction{BidID: e.BidID, FirstPrice: e.FirstPrice, Bid: e.Bid, ToBeat: e.ToBeat, Won: won})
	}
	if i := max(int(e.At.Sub(b.began)/time.Second), 0); i < len(b.seconds) {
		b.seconds[i].toBeat += int64(e.ToBeat)
	}
}

// units returns an amount in major units.
func units(m rtb.Micros) float64 { return float64(m) / 1e6 }
