package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/bidder"
	"rebound/collect"
	"rebound/config"
	"rebound/events"
	"rebound/exchange"
	"rebound/internal/cli"
	"rebound/journal"
	"rebound/pacing"
	"rebound/reports"
	"rebound/rtb"
	"rebound/segments"
	"rebound/server"
	"rebound/tracking"
)

// app is a running bidder: its parts in the order in which they start.
type app struct {
	flags   serveFlags
	prog    *program
	now     func() time.Time
	log     *zap.Logger
	console *console
	stderr  *lineQueue // buffers standard error

	// bound are the settings at startup, which determine the listeners and the data folder.
	// snapshot is the active configuration.
	bound    *config.Snapshot
	snapshot atomic.Pointer[config.Snapshot]
	run      string // unique id of this start of the node
	// configuredEdge is the edge's address in the configuration, before flags.
	configuredEdge string

	unlock    func()
	keys      *keyFile
	approvals *approvals
	erasures  *erasures
	keyring   *rtb.Keyring
	journal   *journal.Log
	visitors  *segments.Store
	money     *pacing.Pacer
	bids      *events.BidLog
	signer    *tracking.Signer
	notices   *tracking.Handler
	edge      *collect.Edge
	customers *collect.ListAPI
	rebuilder *rebuilder
	archive   config.Archive // of activated configurations
	surveys   surveys
	estimates estimating
	bidder    *bidder.Bidder
	health    server.Health
	metrics   *server.Metrics
	biddable  *server.Latency // from the append of an event until bids can see it
	live      atomic.Bool     // the folds have caught up
	faults    viewFaults
	blind     atomic.Pointer[string]
	behind    atomic.Int64     // age in nanoseconds of the oldest fact that a view has not folded
	greeted   atomic.Bool      // the start is complete
	startedAt time.Time        // begin of the counts
	announced atomic.Bool      // "ready" was logged
	reloads   [2]atomic.Uint64 // done, refused

	conns                       *server.Conns // of all listeners
	edgeSocket                  net.Listener  // bound before it is served, because links need its port
	public                      string        // base of notice links
	edgeListener, adminListener *server.Listener
	// bidding is the bid listener. Metrics may be read before it exists.
	bidding atomic.Pointer[server.Listener]

	watchingLists     *task
	changed           chan struct{} // signals that a list file changed and the configuration must be reloaded
	following         []*task
	granting, logging *task
	watching, hearing *task
	erasing           *task
	archiving, moving *task
	reports           *reports.Store // nil: they could not be opened
	reportSlice       time.Time      // beginning of the present slice of counting
	reporting         *task
	reportsAsked      atomic.Int32              // reports that wait for counting
	reportsCounted    atomic.Pointer[time.Time] // when all was counted for a report; nil: never
}

// start opens the parts in order. The bid listener is last, after the views have caught
// up.
func (a *app) start(ctx context.Context) error {
	a.startedAt = a.now()
	a.console.line("Rebound is starting with " + a.flags.config)
	a.conns = server.NewConns(server.DefaultConnLimit())
	for _, step := range []func(context.Context) error{
		a.openData, a.probePorts, a.openViews, a.openLog, a.openBidLog, a.openEdge, a.openCustomers, a.activateFirst, a.openReports, a.serveEdge,
		a.follow, a.grant, a.firstLook, a.honour, a.useHugePages, a.serveBids, a.startRebuilder,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	a.watching = spawn(a.watch)
	a.changed = make(chan struct{}, 1)
	a.watchingLists = spawn(a.watchLists)
	a.hearing = spawn(a.notices.Run)
	a.erasing = spawn(a.erasures.run)
	a.archiving = spawn(a.keepArchive)
	a.health.Ready()
	a.greeted.Store(true)
	a.greet()
	return nil
}

// openData locks the data folder and loads its secrets.
func (a *app) openData(context.Context) error {
	dir := a.bound.Data.Dir
	a.archive.Dir = config.ArchiveDir(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make data folder: %w", err)
	}
	var err error
	if a.unlock, err = lockFolder(dir); err != nil {
		return err
	}
	if err := a.checkKeys(); err != nil {
		return err
	}
	if a.keys, err = loadKeys(dir, rand.Reader); err != nil {
		return err
	}
	if a.keyring, err = a.keys.keyring(); err != nil {
		return err
	}
	var run [8]byte
	if _, err := rand.Read(run[:]); err != nil {
		return fmt.Errorf("cannot name this run: %w", err)
	}
	a.run = strconv.FormatInt(a.now().Unix(), 36) + "-" + hex.EncodeToString(run[:])
	return nil
}

func (a *app) openLog(ctx context.Context) error {
	d, l := &a.bound.Data, &a.bound.Logs.Facts
	var err error
	a.journal, err = journal.Open(ctx, journal.Options{
		Dir: d.Dir, FactsDir: l.Dir, Views: a.views(), Keys: a.keys.fingerprint(), NewKeys: a.flags.newKeys,
		Fleet:  journal.FleetOptions{URL: d.NATS, Replicas: fleetReplicas},
		MaxAge: l.Keep, MaxBytes: int64(l.MaxBytes), Base: foldBase, Now: a.now, Logger: a.log.Named("journal"),
	})
	return err
}

// views returns the views of the log.
func (a *app) views() []journal.View { return []journal.View{a.visitors, a.money, a.approvals} }

// fleetReplicas is the number of NATS servers that hold each fact.
const fleetReplicas = 3

// node names this node in grants and records.
func (a *app) node() string { return a.bound.Data.Node }

// append stores facts in the log.
func (a *app) append(ctx context.Context, facts ...events.Fact) error {
	return a.journal.Append(ctx, facts...)
}

func (a *app) openViews(context.Context) error {
	views := filepath.Join(a.bound.Data.Dir, "views")
	if err := os.MkdirAll(views, 0o700); err != nil {
		return fmt.Errorf("cannot make folder of views: %w", err)
	}
	a.approvals = openApprovals(a.bound.Data.Dir, a.now, a.log.Named("approvals"))
	a.approvals.changed = func() {
		if a.bidder != nil {
			a.swap(a.snapshot.Load())
		}
	}
	var err error
	if a.erasures, err = openErasures(a.bound.Data.Dir, a.now, a.log.Named("erasures")); err != nil {
		return err
	}
	a.erasures.do = a.erase
	a.visitors, err = segments.Open(segments.Options{
		Dir: filepath.Join(views, "segments"), CacheBytes: int64(a.bound.Data.CacheBytes),
		Keyring: a.keyring, Logger: a.log.Named("segments"),
	})
	if err != nil {
		return err
	}
	a.biddable = server.NewLatency(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
	a.visitors.OnFolded(func(ts time.Time) {
		if a.live.Load() {
			a.biddable.Observe(a.now().Sub(ts))
		}
	})
	a.money, err = pacing.Open(pacing.Options{
		Dir: filepath.Join(views, "money"), Node: a.node(), Run: a.run, Append: a.append,
		IsConflict: func(err error) bool { return errors.Is(err, journal.ErrConflict) },
		Now:        a.now, Logger: a.log.Named("pacing"), BidLife: bidLife(a.snapshot.Load().Profiles),
		MaxBidLife: longestBidLife, MaxReservations: a.bound.Data.BidsInFlight, Reservations: filepath.Join(a.bound.Data.Dir, "reservations"),
	})
	return err
}

// longestBidLife bounds the bid life that profiles may allow after a reload.
const longestBidLife = 7 * 24 * time.Hour

// bidLife returns the longest time that a bid may be open at any of the exchanges.
func bidLife(profiles map[string]*exchange.Profile) (d time.Duration) {
	for _, p := range profiles {
		d = max(d, p.BidLife())
	}
	return d
}

func (a *app) openBidLog(context.Context) error {
	l := &a.bound.Logs.Bids
	var err error
	a.bids, err = events.OpenBidLog(events.BidLogOptions{
		Dir: l.Dir, MaxBytes: int64(l.MaxBytes), Now: a.now, Logger: a.log.Named("bids"),
	})
	if err != nil {
		return err
	}
	a.logging = spawn(a.bids.Run)
	return nil
}

// noBidShares returns the shares, 0 to 1, of the no-bids that are recorded, for known
// visitors and for others.
func noBidShares(l *config.BidLog) (known, unknown float64) {
	share := func(pct *float64, def float64) float64 {
		if pct == nil {
			return def / 100
		}
		return *pct / 100
	}
	return share(l.KnownNoBidPct, 1), share(l.UnknownNoBidPct, 0.1)
}

func (a *app) bidderOptions() bidder.Options {
	known, unknown := noBidShares(&a.bound.Logs.Bids)
	var records bidder.Records
	if !a.bound.Logs.Bids.Off {
		records = a.bids
	}
	return bidder.Options{
		Visitors: a.visitors, Budgets: a.money, Values: a.money, Links: a.signer, Records: records, Keys: a.keyring, Clock: a.now,
		Positions: func() events.RecordPos {
			return events.RecordPos{Segments: a.visitors.Position().Seq, Money: a.money.Position().Seq}
		},
		Node: a.node(), Build: cli.Build(),
		KnownNoBidShare: known, UnknownNoBidShare: unknown,
		Logger: a.log.Named("bidder"), Feedback: a.notices.TakeFeedback,
		Debug: &debugger{a, a.keys.debugKey()},
	}
}

// offers returns the number of bids made since the start.
func (a *app) offers() (n uint64) {
	for _, s := range a.bidder.Stats() {
		n += s.Offers
	}
	return n
}

// resolve returns the visitor that an external identifier is linked to, and when it was
// last seen with it.
func (a *app) resolve(k rtb.Key) (rtb.Key, time.Time, bool) { return a.visitors.LinkedAt(k) }

// profile returns the active profile of an exchange, or nil if there is none.
func (a *app) profile(id string) *exchange.Profile { return a.snapshot.Load().Profiles[id] }

// busyLog reports whether the log refused facts for lack of capacity, and how long the
// sender should wait: views catch up within seconds, but a full disk needs an operator.
func busyLog(err error) (wait time.Duration, busy bool) {
	switch {
	case errors.Is(err, journal.ErrBusy):
		return 2 * time.Second, true
	case errors.Is(err, journal.ErrFull):
		return time.Minute, true
	}
	return 0, false
}

// openEdge binds the edge's address first, because links need its port.
func (a *app) openEdge(context.Context) error {
	ln, err := bind("edge", a.bound.Listen.Edge)
	if err != nil {
		return err
	}
	public := a.bound.Listen.PublicURL
	if a.flags.publicURL == "" {
		public = publicURL(a.bound.Listen, a.configuredEdge, ln.Addr())
	}
	if a.signer, err = tracking.NewSigner(a.keys.tokenKeys(), public); err != nil {
		return errors.Join(err, ln.Close())
	}
	a.notices = tracking.NewHandler(tracking.Options{
		Signer: a.signer, Append: a.append, Profiles: a.profile, Now: a.now,
		NoticeTTL: a.bound.Privacy.NoticeTTL, Logger: a.log.Named("tracking"), Bids: a.offers,
	})
	a.edge = collect.New(collect.Options{
		Append: a.append, Busy: busyLog, Behind: func() time.Duration { return time.Duration(a.behind.Load()) }, Resolve: a.resolve, Keyring: a.keyring,
		Links: a.visitors.Links, OptedOut: a.visitors.OptOutNow, IsOut: a.visitors.OptedOut,
		Cookies: collect.NewCookies([32]byte(a.keys.Cookies), rand.Reader), Random: rand.Reader, Now: a.now,
		Logger: a.log.Named("collect"),
	})
	a.edgeSocket, a.public = ln, public
	a.bidder = bidder.New(a.bidderOptions())
	return nil
}
