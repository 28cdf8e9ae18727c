package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/config"
	"rebound/internal/cli"
	"rebound/internal/spec"
)

// serveFlags override settings of the configuration.
type serveFlags struct {
	config, data, bid, edge, admin, publicURL, node string
	// newKeys lets a data folder that has lost its keys start with new ones.
	newKeys bool
}

// addresses are where a running bidder listens.
type addresses struct{ Bid, Edge, Admin string }

// serve runs the bidder until ctx ends.
func (p *program) serve(ctx context.Context, args []string) int {
	var f serveFlags
	fs := p.flags("serve")
	fs.StringVar(&f.config, "config", cli.Sample, "configuration `file`")
	fs.StringVar(&f.data, "data", "", "data `folder` (default: the configuration's, ./data)")
	fs.StringVar(&f.bid, "bid", "", "`address` for exchanges (default: the configuration's, :8080)")
	fs.StringVar(&f.edge, "edge", "", "`address` for browsers and advertisers' servers (default: the configuration's, :8081)")
	fs.StringVar(&f.admin, "admin", "", "`address` for metrics and operators (default: REBOUND_ADMIN, else the configuration's, 127.0.0.1:8082); off loopback REBOUND_ADMIN_TOKEN must hold a token")
	fs.StringVar(&f.publicURL, "public-url", "", "`URL` at which the edge is reached from outside: base of notice links")
	fs.StringVar(&f.node, "node", "", "`name` of this node (default: the configuration's, n1)")
	fs.BoolVar(&f.newKeys, "new-keys", false, "make new keys for a data folder that has lost its keys.json: existing visitors become unknown, and cookies and notices in flight invalid")
	if status, done := p.parse(fs, args); done {
		return status
	}
	ignoreBrokenPipes()
	con := newConsole(p.stdout)
	human := con.terminal && isTerminal(p.stderr)
	stderr := newLineQueue(p.stderr)
	defer stderr.close()
	defer con.close()
	log := newLogger(stderr, human, p.now)
	log.Info(readingConfig)
	loaded, err := p.loadUntil(ctx, &f)
	if err == nil {
		a := &app{flags: f, prog: p, now: p.now, console: con, log: log, stderr: stderr, bound: loaded.snapshot.StartSettings(), configuredEdge: loaded.edge}
		a.snapshot.Store(loaded.snapshot)
		err = a.serve(ctx)
	}
	switch {
	case err == nil:
		return cli.ExitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		log.Info("stopped while the configuration was loading")
		return cli.ExitDone
	case human:
		fmt.Fprintln(stderr, err)
	default:
		logEnd(log, err)
		con.line(err.Error())
	}
	return cli.ExitFailed
}

// logEnd logs why the bidder ended or failed to start, with one line for each
// problem of the configuration.
func logEnd(log *zap.Logger, err error) {
	var problems spec.Problems
	if !errors.As(err, &problems) {
		log.Error("bidder ended", zap.Error(err))
		return
	}
	for i := range problems {
		x := &problems[i]
		log.Error("configuration: "+x.String(), zap.String("file", x.File), zap.Int("line", x.Line), zap.String("path", x.Path))
	}
	log.Error("bidder ended", zap.String("error", "cannot load configuration: "+count(len(problems), "problem")))
}

// loaded is a configuration that was read in the background.
type loaded struct {
	snapshot *config.Snapshot
	edge     string // the edge's address in the configuration
	err      error
}

// loading reads the configuration in a goroutine of its own, because a large feed takes
// many seconds. If it is no longer needed, nothing waits for it; it runs to its end and
// the result is dropped.
func (p *program) loading(f *serveFlags, previous *config.Snapshot) <-chan loaded {
	done := make(chan loaded, 1)
	go func() {
		s, edge, err := p.load(f, previous)
		done <- loaded{s, edge, err}
	}()
	return done
}

// readingConfig is logged when the bidder begins to read its configuration.
const readingConfig = "reading the configuration"

// readAgain begins to read the configuration of a running bidder.
func (a *app) readAgain() <-chan loaded {
	a.log.Info(readingConfig)
	return a.prog.loading(&a.flags, a.snapshot.Load())
}

// loadUntil reads the configuration unless ctx ends first.
func (p *program) loadUntil(ctx context.Context, f *serveFlags) (loaded, error) {
	select {
	case l := <-p.loading(f, nil):
		return l, l.err
	case <-ctx.Done():
		return loaded{}, ctx.Err()
	}
}

// load reads the configuration and applies the flags to it. edge is the edge's
// address in the file.
func (p *program) load(f *serveFlags, previous *config.Snapshot) (s *config.Snapshot, edge string, err error) {
	if s, err = cli.LoadConfig(f.config, config.Options{Getenv: p.getenv, Previous: previous, Now: p.now()}); err != nil {
		return nil, "", err
	}
	edge = s.Listen.Edge
	override := func(v *string, flag string) {
		if flag != "" {
			*v = flag
		}
	}
	if f.data != "" { // logs inside the data folder move with it
		was := s.Data.Dir
		for _, dir := range []*string{&s.Logs.Bids.Dir, &s.Logs.Facts.Dir} {
			if below, ok := strings.CutPrefix(*dir, path.Clean(was)+"/"); ok {
				*dir = path.Join(f.data, below)
			}
		}
		s.Data.Dir = f.data
	}
	override(&s.Listen.Bid, f.bid)
	override(&s.Listen.Edge, f.edge)
	if addr, set := p.getenv(adminAddrEnv); set && f.admin == "" {
		override(&s.Listen.Admin, addr)
	}
	override(&s.Listen.Admin, f.admin)
	override(&s.Listen.PublicURL, f.publicURL)
	override(&s.Data.Node, f.node)
	if err := p.checkAdmin(s.Listen.Admin); err != nil {
		return nil, "", err
	}
	if s.Data.Node == "" {
		return nil, "", fmt.Errorf("cannot start: got data.nats but no name for this node; want data.node or --node with a name that no other node of the cluster has")
	}
	return s, edge, nil
}

// serve starts everything, waits, and stops everything in reverse.
func (a *app) serve(ctx context.Context) error {
	err := a.start(ctx)
	if err == nil {
		err = a.wait(ctx)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // stopped while starting
	}
	if err != nil { // nothing was started, so no message about stopping
		return errors.Join(err, a.stop())
	}
	a.log.Info("stopping: no longer ready, finishing what is in flight")
	if err := a.stop(); err != nil {
		return err
	}
	a.log.Info("stopped")
	a.console.line("stopped")
	return nil
}

// wait serves until ctx ends; SIGHUP reloads the configuration, in the
// background, so that a signal to stop is not delayed. A reload that is
// requested during another one waits for it.
func (a *app) wait(ctx context.Context) error {
	notReady := context.AfterFunc(ctx, func() { a.health.NotReady("draining") })
	defer notReady()
	var reading <-chan loaded
	for {
		hup, changed := a.prog.hup, a.changed
		if reading != nil {
			hup, changed = nil, nil
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-a.journal.Broken(): // the supervisor restarts the process
			return err
		case <-hup:
			reading = a.readAgain()
		case <-changed:
			reading = a.readAgain()
		case l := <-reading:
			reading = nil
			a.reload(ctx, l)
		}
	}
}

// stopTime bounds stopping after the drain delay, because container platforms kill a
// process that takes longer. drainTime is the part of it for requests in flight.
const (
	stopTime  = 9 * time.Second
	drainTime = 4 * time.Second
)

// linger continues to serve for the configured time while the readiness check fails, so that a
// load balancer leaves before the listeners close.
func (a *app) linger() {
	if a.bidding.Load() == nil || a.bound.Listen.DrainDelay <= 0 {
		return
	}
	a.log.Info("not ready; still serving until load balancers have left", zap.Duration("drain_delay", a.bound.Listen.DrainDelay))
	time.Sleep(a.bound.Listen.DrainDelay)
}

// returnGrants returns the money that this run holds, unless the log accepts no facts.
func (a *app) returnGrants(ctx context.Context) error {
	if a.granting == nil {
		return nil
	}
	if !a.journal.Stats().FailingSince.IsZero() {
		a.log.Warn("cannot return grants because the log accepts no facts; their money is held until they end")
		return nil
	}
	err := a.money.Stop(ctx)
	if err != nil && a.bound.Data.NATS != "" { // the cluster is unreachable
		a.log.Warn("cannot return grants; their money is held until they end", zap.Error(err))
		return nil
	}
	return err
}

// stop stops the parts in reverse order of start and skips those that never started.
func (a *app) stop() error {
	a.health.NotReady("draining")
	a.linger()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot stop %s: %w", what, err))
		}
	}
	bids := make(chan error, 1)
	go func() { bids <- a.drain(ctx, a.bidding.Load()) }()
	note("edge listener", a.drain(ctx, a.edgeListener))
	note("bid listener", <-bids)
	if a.customers != nil {
		a.customers.Close()
	}
	if a.rebuilder != nil {
		a.rebuilder.stop()
	}
	a.watching.stop()
	a.watchingLists.stop()
	note("feedback", a.hearing.stop())
	note("erasures", a.erasing.stop())
	note("archive", a.archiving.stop())
	note("huge pages", a.moving.stop())
	note("bid log", a.logging.stop())
	note("reports", a.stopReports())
	note("grants", a.granting.stop())
	note("grants", a.returnGrants(ctx))
	for _, t := range a.following {
		note("view", t.stop())
	}
	note("admin listener", a.drain(ctx, a.adminListener))
	if a.visitors != nil {
		note("visitors", a.visitors.Close())
	}
	if a.money != nil {
		note("money", a.money.Close())
	}
	if a.approvals != nil {
		note("approvals", a.approvals.close())
	}
	if a.journal != nil {
		note("log", a.journal.Close(ctx))
	}
	if a.unlock != nil {
		a.unlock()
	}
	return errors.Join(errs...)
}
