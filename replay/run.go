package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"rebound/config"
	"rebound/events"
	"rebound/rtb"
	"rebound/segments"
)

// Options of a replay.
type Options struct {
	Config  *config.Snapshot
	Against *config.Snapshot // the old configuration, run over the same traffic; nil: none
	// Store finds the visitors of records without one; nil: they are unknown.
	Store *segments.Store
	// Facts are folded into Store in their order, as the virtual clock reaches them;
	// nil: none.
	Facts iter.Seq2[*events.Fact, error]
	// Notices reads the log of facts from its beginning, for what it tells about the
	// bids of the records; nil: no market is known beyond that of the records. Survey is
	// what Scan found in the same log.
	Notices func() iter.Seq2[*events.Fact, error]
	Survey  *Survey
	// SilentLosses is set if bids without a notice lost.
	SilentLosses bool
	// Window is how long after a bid its notices are looked for; 0: DefaultWindow.
	Window time.Duration
	// MaxBrokenPct is the share of lines that may be unreadable, in percent.
	MaxBrokenPct float64

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
	// Progress is called with the number of records done, every 1,000 records; nil: not
	// called.
	Progress func(done int)
	// Clock measures the duration of the replay and nothing else.
	Clock func() time.Time
}

// Limits of the options.
const (
	maxDelay   = 7 * 24 * time.Hour
	maxSpacing = time.Hour
)

// Validate returns an error if an option makes no sense, or names an exchange that the
// configuration does not have.
func (o *Options) Validate() error {
	known := func(option, id string) error {
		if id == "" || o.Config.Profiles[id] != nil {
			return nil
		}
		return fmt.Errorf("cannot use %s: got the exchange %q; want one that the configuration has: %s", option, id, strings.Join(exchangesOf(o.Config), ", "))
	}
	switch {
	case o.Spacing < 0 || o.Spacing > maxSpacing:
		return fmt.Errorf("cannot use a spacing of %s; want 0s to %s", o.Spacing, maxSpacing)
	case o.NoticeDelay < 0 || o.NoticeDelay > maxDelay:
		return fmt.Errorf("cannot use a notice delay of %s; want 0s to %s", o.NoticeDelay, maxDelay)
	case !(o.LostPct >= 0 && o.LostPct <= 100): // NaN too
		return fmt.Errorf("cannot lose %g %% of the notices; want 0 to 100", o.LostPct)
	case !o.To.IsZero() && !o.From.Before(o.To):
		return fmt.Errorf("cannot replay from %s to %s; want an end after the beginning", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	case !(o.MaxBrokenPct >= 0 && o.MaxBrokenPct <= 100):
		return fmt.Errorf("cannot allow %g %% broken lines; want 0 to 100", o.MaxBrokenPct)
	case o.Window < 0 || o.Window > maxDelay:
		return fmt.Errorf("cannot look for notices for %s; want up to %s", o.Window, maxDelay)
	case o.Differ != nil && o.Against == nil:
		return errors.New("cannot write differences: got one configuration; want --against too")
	}
	return known("--only", o.Only)
}

func exchangesOf(s *config.Snapshot) []string { return slices.Sorted(maps.Keys(s.Profiles)) }

// Difference is one decision that two configurations make differently.
type Difference struct {
	N    int       `json:"n"` // of the record, from 1
	TS   time.Time `json:"ts"`
	Old  Decided   `json:"old"`  // by the configuration of --against
	New  Decided   `json:"new"`  // by the configuration of --config
	Kind string    `json:"kind"` // bid_gained, bid_lost, other_line, price_up, price_down or reason: from old to new
}

// Decided is one side of a difference.
type Decided struct {
	NoBid string               `json:"nobid,omitempty"`
	Bids  []events.DecisionBid `json:"bids,omitempty"`
}

// Run replays the records and returns the report. Lines that cannot be read are
// counted and skipped; any other error ends the run. When ctx ends, the report covers
// the records up to then and says that it was interrupted.
func Run(ctx context.Context, o Options, lines iter.Seq2[*events.BidRecord, error]) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &runner{o: &o, nextBare: o.At, bodiless: map[string]int{}, exchanges: map[string]*ExchangeRecords{}, recorded: map[rtb.LineID]*Recorded{}}
	work := context.WithoutCancel(ctx)
	began := o.Clock()
	stop := r.openFacts()
	defer stop()
	if o.Notices != nil && o.Survey != nil {
		r.market.survey, r.market.seen, r.market.told = o.Survey, map[string]sighting{}, map[string]*told{}
		r.joiner = newJoiner(o.Notices(), o.window(), func(error) {})
		defer r.joiner.end()
	}
	for rec, err := range lines {
		if ctx.Err() != nil {
			r.interrupted = true
			break
		}
		if err := r.line(work, rec, err); err != nil {
			return nil, err
		}
		if n := r.n; o.Progress != nil && n%1_000 == 0 {
			o.Progress(n)
		}
	}
	report, err := r.report(work)
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
	n        int // lines seen
	decided  int // records
	skipped  int
	bodiless map[string]int
	markets  int
	nextBare time.Time

	exchanges   map[string]*ExchangeRecords
	interrupted bool
	broken      int       // lines that cannot be read, without torn ends of files
	late        int       // records older than the one before, after merging
	last        time.Time // of the records
	market      competition
	joiner      *joiner
	recorded    map[rtb.LineID]*Recorded
	compared    comparison
	diff        Differences
	facts       func() (*events.Fact, error, bool)
	pending     *events.Fact
	seq         uint64 // of the last fact folded
}

func (r *runner) line(ctx context.Context, rec *events.BidRecord, err error) error {
	r.n++
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		r.skipped++
		if !errors.Is(err, events.ErrTorn) {
			r.broken++
		}
		return r.tooBroken(brokenAfter)
	}
	if len(rec.Request) == 0 || string(rec.Request) == "null" {
		r.bodiless[reasonOf(rec)]++
		return nil
	}
	exchange := rec.Exchange
	if exchange == "" {
		exchange = r.o.Exchange
	}
	known := r.exchange(exchange)
	if rec.TS.IsZero() {
		rec.TS = r.nextBare
		r.nextBare = r.nextBare.Add(r.o.Spacing)
	}
	rec.Exchange = exchange
	if !r.o.wants(rec) {
		return nil
	}
	if !known.Configured {
		known.Skipped++
		r.skipped++
		return nil
	}
	if err := r.start(rec.TS); err != nil {
		return err
	}
	if rec.TS.Before(r.last) {
		r.late++
	} else {
		r.last = rec.TS
	}
	if err := r.foldUntil(rec.TS); err != nil {
		return err
	}
	return r.decide(ctx, rec, exchange)
}

// brokenAfter is the number of lines after which a run with too many broken ones ends.
const brokenAfter = 10_000

// tooBroken returns an error if more lines than allowed cannot be read, once there are
// at least a number of lines.
func (r *runner) tooBroken(least int) error {
	if r.n < least || r.interrupted || float64(r.broken) <= r.o.MaxBrokenPct/100*float64(r.n) || r.broken == r.n {
		return nil
	}
	return fmt.Errorf("cannot replay: %d of %d lines cannot be read, which is more than %g %%; mend the files, or set --max-broken", r.broken, r.n, r.o.MaxBrokenPct)
}

// keyOf returns the number from which the draws of a record are made. Two equal records
// have different ones.
func (r *runner) keyOf(rec *events.BidRecord) uint64 {
	return mix(mix(r.o.Seed^hashOf(string(rec.BidID[:]), string(rec.Request))) + uint64(r.decided))
}

// book adds what the notices say about the recorded bids of a record.
func (r *runner) book(rec *events.BidRecord) {
	if r.joiner == nil || rec.Decision == nil {
		return
	}
	for i := range rec.Decision.Bids {
		b := &rec.Decision.Bids[i]
		id := rtb.LineID{Advertiser: b.Advertiser, Campaign: b.Campaign, Line: b.Line}
		row := r.recorded[id]
		if row == nil {
			row = &Recorded{Line: id.Line, Campaign: id.Campaign, Advertiser: id.Advertiser}
			r.recorded[id] = row
		}
		row.Bids++
		t := r.market.told[b.ImpID]
		if t == nil || !t.won {
			continue
		}
		row.Wins++
		row.Spend += t.charge
		row.Value += t.value
		row.Clicks += count(t.clicked)
		row.Conversions += count(t.converted)
	}
}

// exchange counts a record of an exchange.
func (r *runner) exchange(id string) *ExchangeRecords {
	e := r.exchanges[id]
	if e == nil {
		e = &ExchangeRecords{Configured: r.o.Config.Profiles[id] != nil}
		r.exchanges[id] = e
	}
	e.Records++
	return e
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
		e.market = &r.market
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
	if r.joiner != nil {
		r.joiner.until(rec.TS)
	}
	r.decided++
	r.market.about(rec, r.keyOf(rec), r.joiner, r.o)
	r.book(rec)
	now, err := r.engines[0].decide(ctx, rec, exchange)
	if err != nil || len(r.engines) == 1 {
		return err
	}
	old, err := r.engines[1].decide(ctx, rec, exchange)
	if err != nil {
		return err
	}
	r.compared.add(old.sold, now.sold)
	kind := r.diff.compare(&old, &now)
	if kind == "" || r.o.Differ == nil {
		return nil
	}
	return r.o.Differ(Difference{N: r.n, TS: rec.TS, Kind: kind, Old: old.decided(), New: now.decided()})
}

// report ends every engine and returns the report.
func (r *runner) report(ctx context.Context) (*Report, error) {
	if err := r.tooBroken(0); err != nil {
		return nil, err
	}
	var reports []*Report
	for _, e := range r.engines {
		if err := e.finish(ctx); err != nil {
			return nil, err
		}
		rep := e.book.report(e.config, e.lab.Money.Stats().Lines, r.o.Seed)
		rep.Run.Skipped, rep.Run.Bodiless, rep.Run.Markets = r.skipped, r.bodiless, r.markets
		rep.Run.Exchanges, rep.Run.Interrupted = exchangesUnder(r.exchanges, e.config), r.interrupted
		rep.Run.Broken, rep.Run.OutOfOrder = r.broken, r.late
		if r.o.Survey != nil && r.joiner != nil {
			rep.Run.Market = &r.o.Survey.Market
		}
		if err := e.lab.Close(); err != nil {
			return nil, fmt.Errorf("cannot end replay: %w", err)
		}
		reports = append(reports, rep)
	}
	switch len(reports) {
	case 0:
		return nil, r.nothing()
	case 2:
		reports[0].Against, reports[0].Differences = reports[1], &r.diff
		r.diff.Lines, r.diff.Total = r.compared.report(reports[0], reports[1])
	}
	reports[0].Recorded = recordedRows(r.recorded)
	return reports[0], nil
}

// exchangesUnder returns the exchanges of the records as one configuration knows them.
func exchangesUnder(records map[string]*ExchangeRecords, s *config.Snapshot) map[string]*ExchangeRecords {
	out := map[string]*ExchangeRecords{}
	for id, e := range records {
		out[id] = &ExchangeRecords{Records: e.Records, Skipped: e.Skipped, Configured: s.Profiles[id] != nil}
	}
	return out
}

// nothing returns the error of a run that replayed no record.
func (r *runner) nothing() error {
	bodiless, unconfigured := 0, 0
	for _, n := range r.bodiless {
		bodiless += n
	}
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(r.exchanges)) {
		ids = append(ids, fmt.Sprintf("%s (%d records)", id, r.exchanges[id].Records))
		unconfigured += r.exchanges[id].Skipped
	}
	has, unread := strings.Join(ids, ", "), r.skipped-unconfigured
	switch {
	case r.interrupted:
		return errors.New("interrupted before the first record was replayed")
	case r.n == 0:
		return errors.New("cannot replay: the files are empty; want bid records or OpenRTB requests, one a line")
	case unread == r.n:
		return fmt.Errorf("cannot replay: none of the %d lines is a bid record or an OpenRTB request on one line", r.n)
	case bodiless+unread == r.n:
		return fmt.Errorf("cannot replay: none of the %d lines has a request; %d were refused before they were read, and %d cannot be read", r.n, bodiless, unread)
	case unconfigured > 0:
		return fmt.Errorf("cannot replay: the files have the exchanges %s, and the configuration has %s; want a configuration with one of the former, or --exchange for bare requests",
			has, strings.Join(exchangesOf(r.o.Config), ", "))
	}
	return fmt.Errorf("cannot replay: the options leave out all %d lines; the files have the exchanges %s; check --only, --from and --to", r.n, has)
}
