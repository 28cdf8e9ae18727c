package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"rebound/config"
	"rebound/events"
	"rebound/segments"
)

// Options of a replay.
type Options struct {
	Config  *config.Snapshot
	Against *config.Snapshot // a second configuration for the same traffic; nil: none
	// Store finds the visitors of records without one; nil: they are unknown.
	Store *segments.Store
	// Facts are folded into Store in their order, as the virtual clock reaches them;
	// nil: none.
	Facts iter.Seq2[*events.Fact, error]

	Exchange string // of bare requests
	Only     string // skip records of other exchanges; empty: replay all
	// At is the time of the first bare request, and Spacing the time between two.
	At       time.Time
	Spacing  time.Duration
	From, To time.Time // skip records outside [From, To); zero: open

	NoticeDelay time.Duration // from a win to its notices
	LostPct     float64       // share of wins whose notices never arrive
	Seed        uint64

	// Differ is called for every decision that the two configurations make
	// differently; nil: not called.
	Differ func(Difference) error
	// Progress is called with the number of records done, every 10,000 records; nil:
	// not called.
	Progress func(done int)
	// Clock measures the duration of the replay and nothing else.
	Clock func() time.Time
}

// Difference is one decision that two configurations make differently.
type Difference struct {
	N      int       `json:"n"` // of the record, from 1
	TS     time.Time `json:"ts"`
	First  Decided   `json:"first"`
	Second Decided   `json:"second"`
	Kind   string    `json:"kind"` // bid_gained, bid_lost, other_line, price_up, price_down or reason
}

// Decided is one side of a difference.
type Decided struct {
	NoBid string               `json:"nobid,omitempty"`
	Bids  []events.DecisionBid `json:"bids,omitempty"`
}

// Run replays the records and returns the report. Lines that cannot be read are
// counted and skipped; any other error ends the run.
func Run(ctx context.Context, o Options, lines iter.Seq2[*events.BidRecord, error]) (*Report, error) {
	r := &runner{o: &o, nextBare: o.At, bodiless: map[string]int{}}
	began := o.Clock()
	stop := r.openFacts()
	defer stop()
	for rec, err := range lines {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.line(ctx, rec, err); err != nil {
			return nil, err
		}
		if n := r.n; o.Progress != nil && n%10_000 == 0 {
			o.Progress(n)
		}
	}
	report, err := r.report(ctx)
	if err != nil {
		return nil, err
	}
	seconds := o.Clock().Sub(began).Seconds()
	report.Run.Seconds = seconds
	if seconds > 0 {
		report.Run.PerSecond = float64(report.Run.Requests) / seconds
	}
	return report, nil
}

// runner is a replay in progress.
type runner struct {
	o        *Options
	engines  []*engine
	n        int // records seen
	skipped  int
	bodiless map[string]int
	markets  int
	nextBare time.Time
	diff     Differences
	facts    func() (*events.Fact, error, bool)
	pending  *events.Fact
	seq      uint64 // of the last fact folded
}

func (r *runner) line(ctx context.Context, rec *events.BidRecord, err error) error {
	r.n++
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		r.skipped++
		return nil
	}
	if len(rec.Request) == 0 || string(rec.Request) == "null" {
		r.bodiless[reasonOf(rec)]++
		return nil
	}
	exchange := rec.Exchange
	if exchange == "" {
		exchange = r.o.Exchange
	}
	if rec.TS.IsZero() {
		rec.TS = r.nextBare
		r.nextBare = r.nextBare.Add(r.o.Spacing)
	}
	if r.o.Only != "" && exchange != r.o.Only || rec.TS.Before(r.o.From) || (!r.o.To.IsZero() && !rec.TS.Before(r.o.To)) {
		return nil
	}
	if r.o.Config.Profiles[exchange] == nil {
		r.skipped++
		return nil
	}
	if err := r.start(rec.TS); err != nil {
		return err
	}
	if err := r.foldUntil(rec.TS); err != nil {
		return err
	}
	return r.decide(ctx, rec, exchange)
}

// start makes the engines, at the time of the first record.
func (r *runner) start(at time.Time) error {
	if len(r.engines) > 0 {
		return nil
	}
	for _, s := range []*config.Snapshot{r.o.Config, r.o.Against} {
		if s == nil {
			continue
		}
		e, err := newEngine(r.o, s, at)
		if err != nil {
			return fmt.Errorf("cannot start replay: %w", err)
		}
		r.engines = append(r.engines, e)
	}
	return r.foldRules(at)
}

// reasonOf returns the reason in a record without a request.
func reasonOf(rec *events.BidRecord) string {
	if rec.Decision == nil {
		return "unknown"
	}
	return rec.Decision.NoBid.String()
}

func (r *runner) decide(ctx context.Context, rec *events.BidRecord, exchange string) error {
	if len(rec.Market) > 0 {
		r.markets++
	}
	first, err := r.engines[0].decide(ctx, rec, exchange)
	if err != nil || len(r.engines) == 1 {
		return err
	}
	second, err := r.engines[1].decide(ctx, rec, exchange)
	if err != nil {
		return err
	}
	kind := r.diff.compare(&first, &second)
	if kind == "" || r.o.Differ == nil {
		return nil
	}
	return r.o.Differ(Difference{N: r.n, TS: rec.TS, Kind: kind, First: first.decided(), Second: second.decided()})
}

// report ends every engine and returns the report.
func (r *runner) report(ctx context.Context) (*Report, error) {
	var reports []*Report
	for _, e := range r.engines {
		if err := e.finish(ctx); err != nil {
			return nil, err
		}
		rep := e.book.report(e.config, e.lab.Money.Stats().Lines, r.o.Seed)
		rep.Run.Skipped, rep.Run.Bodiless, rep.Run.Markets = r.skipped, r.bodiless, r.markets
		if err := e.lab.Close(); err != nil {
			return nil, fmt.Errorf("cannot end replay: %w", err)
		}
		reports = append(reports, rep)
	}
	switch len(reports) {
	case 0:
		return nil, fmt.Errorf("cannot replay: got %d lines, none of them a request for a known exchange; want at least one: check --bids and --exchange", r.n)
	case 2:
		reports[0].Against, reports[0].Differences = reports[1], &r.diff
	}
	return reports[0], nil
}
