package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"rebound/internal/cli"
	"rebound/loadtest/mock"
)

// demo runs the sample shop's bidder with visitors and an exchange in this process, so
// that a newcomer sees visits, auctions and spend at once. It prints lines only, whether
// or not the output is a terminal.
func (p *program) demo(ctx context.Context, args []string) int {
	fs := p.flags("demo")
	var (
		duration = fs.Duration("duration", 0, "how long it runs; 0: until Ctrl-C")
		rate     = fs.Float64("rate", 40, "page views per second, 1 to 1000")
		seed     = fs.Uint64("seed", 1, "the same seed makes the same visitors and auctions")
	)
	if status, done := p.parse(fs, args); done {
		return status
	}
	if *duration < 0 || !(*rate >= 1 && *rate <= 1000) {
		fmt.Fprintf(p.stderr, "bidder demo: got a duration of %s and a rate of %g; want 0 or more, and 1 to 1000\n", *duration, *rate)
		return cli.ExitUsage
	}
	ignoreBrokenPipes()
	if err := p.runDemo(ctx, *duration, *rate, *seed); err != nil && ctx.Err() == nil {
		fmt.Fprintln(p.stderr, "bidder demo:", err)
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// demoForever bounds a demo that is never stopped.
const demoForever = 7 * 24 * time.Hour

// runDemo starts the bidder in a folder of its own, lets the visitors act until ctx
// ends, and stops the bidder.
func (p *program) runDemo(ctx context.Context, duration time.Duration, rate float64, seed uint64) (err error) {
	dir, err := os.MkdirTemp("", "rebound-demo-")
	if err != nil {
		return fmt.Errorf("cannot create a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(p.stdout, "Rebound demo: a bidder, a shop with its visitors and an ad exchange, all in this process. Nothing leaves this machine. Ctrl-C ends it.")
	data := filepath.Join(dir, "data")
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	go func() { ended <- p.serveDemo(life, data, ready) }()
	var at addresses
	select {
	case at = <-ready:
	case err := <-ended:
		return err
	case <-ctx.Done():
		end()
		return <-ended
	}
	fmt.Fprintf(p.stdout, "  bid requests    http://%s/openrtb2/demo\n  pixel, notices  http://%s/v1/\n  metrics         http://%s/metrics and /admin/budgets\n\n", at.Bid, at.Edge, at.Admin)
	if duration == 0 {
		duration = demoForever
	}
	x, err := mock.New(p.demoOptions(at, data, duration, rate, seed))
	if err == nil {
		var report *mock.Report
		if report, err = x.Run(ctx); err == nil {
			fmt.Fprintln(p.stdout, "\nThe exchange closes its books:")
			err = report.WriteText(p.stdout)
		}
	}
	end()
	err = errors.Join(err, <-ended)
	if err == nil {
		fmt.Fprint(p.stdout, demoNext)
	}
	return err
}

const demoNext = `
Next: "bidder" serves the sample shop for your own curl (see README.md), "bidder init my-shop" writes a configuration for a shop of yours,
and "loadtest exchange" lets this exchange run against any bidder.
`

// serveDemo serves the sample shop on free ports of this machine until ctx ends. Only
// warnings are logged.
func (p *program) serveDemo(ctx context.Context, data string, ready chan<- addresses) error {
	own := *p
	own.stdout, own.hup = io.Discard, nil
	own.started = func(a *app) { ready <- a.addresses() }
	f := serveFlags{config: cli.Sample, data: data, bid: "127.0.0.1:0", edge: "127.0.0.1:0", admin: "127.0.0.1:0"}
	loaded, err := own.loadUntil(ctx, &f)
	if err != nil {
		return err
	}
	stderr := newLineQueue(p.stderr)
	defer stderr.close()
	log := newLogger(stderr, true, p.now).WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	loaded.snapshot.Warnings = nil // those about the sample shop are for who copies it
	a := &app{flags: f, prog: &own, now: p.now, console: &console{}, log: log, stderr: stderr, bound: loaded.snapshot.StartSettings(), configuredEdge: loaded.edge}
	a.snapshot.Store(loaded.snapshot)
	return a.serve(ctx)
}

// demoOptions describe visitors who like to click, so that a newcomer need not wait.
func (p *program) demoOptions(at addresses, data string, duration time.Duration, rate float64, seed uint64) mock.Options {
	zone, err := time.LoadLocation("America/Toronto") // of the sample shop
	if err != nil {
		zone = time.UTC
	}
	var mu sync.Mutex // guards the output, to which workers write too
	printf := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(p.stdout, format, args...)
	}
	lines := 0
	return mock.Options{
		Bidder:   mock.Bidder{Name: "bidder", Second: "http://" + at.Bid + "/openrtb2/demo", First: "http://" + at.Bid + "/openrtb2/demo-first", Admin: "http://" + at.Admin, Data: data},
		Shop:     mock.Shop{Advertiser: "shop", Edge: "http://" + at.Edge, Key: "demo-shop-key", Products: 40},
		Duration: duration, PerSecond: rate, Visitors: 300, ShopperPct: 60, AppPct: 25, RevisitPct: 5,
		Notices:  mock.Notices{LatePct: 2, DuplicatePct: 2, ReorderedPct: 2},
		ClickPct: 6, ConvertPct: 30, Zone: zone, Seed: seed, Now: p.now,
		First: func(text string) { printf("* %s\n", text) },
		Progress: func(t mock.Totals) {
			if lines%20 == 0 {
				printf("  time  in shop  auctions   bids    won  clicks  orders   price to beat        spent\n")
			}
			lines++
			printf("%5.0fs %8d %9d %6d %6d %7d %7d %11.2f CPM %10.4f USD\n",
				t.Elapsed.Seconds(), t.ShopVisits, t.Auctions, t.Bids, t.Wins, t.Clicks, t.Orders, t.ToBeat.Units(), float64(t.Spend)/1e6)
		},
	}
}
