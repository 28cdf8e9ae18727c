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
	"rebound/internal/longrun"
	"rebound/loadtest/mock"
)

// demo runs the sample shop's bidder with visitors and an exchange in this process, so
// that a newcomer sees visits, auctions and spend at once. It prints lines only, whether
// or not the output is a terminal.
func (p *program) demo(ctx context.Context, args []string) int {
	fs := p.flags("demo")
	f := &demoFlags{}
	fs.DurationVar(&f.duration, "duration", 0, "how long it runs; 0: until Ctrl-C, or until the flight has ended")
	fs.Float64Var(&f.rate, "rate", 40, "page views per second, 1 to 1000")
	fs.Uint64Var(&f.seed, "seed", 1, "the same seed makes the same visitors and auctions")
	fs.DurationVar(&f.flight, "flight", 0, "length of a flight of the campaign, such as 10m, that begins 10 s after the start; 0: a daily budget that is never spent")
	fs.Float64Var(&f.budget, "budget", 3, "budget of the flight, in USD")
	fs.StringVar(&f.html, "html", "", "write a report with the curves of spend, plan and multiplier as an HTML page to this `file`")
	if status, done := p.parse(fs, args); done {
		return status
	}
	if err := f.check(); err != nil {
		fmt.Fprintln(p.stderr, "bidder demo:", err)
		return cli.ExitUsage
	}
	ignoreBrokenPipes()
	if err := p.runDemo(ctx, f); err != nil && ctx.Err() == nil {
		fmt.Fprintln(p.stderr, "bidder demo:", err)
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// demoForever bounds a demo that is never stopped.
const demoForever = 7 * 24 * time.Hour

// runDemo starts the bidder in a folder of its own, lets the visitors act until ctx
// ends, and stops the bidder.
func (p *program) runDemo(ctx context.Context, f *demoFlags) (err error) {
	dir, err := os.MkdirTemp("", "rebound-demo-")
	if err != nil {
		return fmt.Errorf("cannot create a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprintln(p.stdout, "Rebound demo: a bidder, a shop with its visitors and an ad exchange, all in this process. Nothing leaves this machine. Ctrl-C ends it.")
	var outputs longrun.Outputs
	outputs.Add("html", f.html)
	if err := outputs.Check(""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outputs.Discard()) }()
	data, config := filepath.Join(dir, "data"), cli.Sample
	if f.flight > 0 {
		if config, err = flightConfig(filepath.Join(dir, "config"), f, p.now()); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "The flight begins in %.0f s. Nothing is bid until then.\n", demoStart.Seconds())
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	go func() { ended <- p.serveDemo(life, config, data, ready) }()
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
	x, err := mock.New(p.demoOptions(at, data, f))
	if err == nil {
		var report *mock.Report
		if report, err = x.Run(ctx); err == nil {
			fmt.Fprintln(p.stdout, "\nThe exchange closes its books:")
			err = errors.Join(report.WriteText(p.stdout), longrun.WriteFile(f.html, report.WriteHTML))
			if err == nil && f.html != "" {
				fmt.Fprintf(p.stdout, "\nThe report was written to %s.\n", f.html)
			}
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

// serveDemo serves a configuration on free ports of this machine until ctx ends. Only
// warnings are logged.
func (p *program) serveDemo(ctx context.Context, config, data string, ready chan<- addresses) error {
	own := *p
	own.stdout, own.hup = io.Discard, nil
	own.started = func(a *app) { ready <- a.addresses() }
	f := serveFlags{config: config, data: data, bid: "127.0.0.1:0", edge: "127.0.0.1:0", admin: "127.0.0.1:0"}
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
func (p *program) demoOptions(at addresses, data string, f *demoFlags) mock.Options {
	duration := f.duration
	if duration == 0 {
		duration = demoForever
	}
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
		Duration: duration, PerSecond: f.rate, Visitors: 300, ShopperPct: 60, AppPct: 25, RevisitPct: 5,
		Notices:  mock.Notices{LatePct: 2, DuplicatePct: 2, ReorderedPct: 2},
		ClickPct: 6, ConvertPct: 30, Zone: zone, Seed: f.seed, Now: p.now,
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
