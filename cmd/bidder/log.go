package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/internal/cli"
	"rebound/journal"
)

// verify checks the whole log.
func (p *program) verify(_ context.Context, args []string) int {
	fs := p.flags("verify")
	data := fs.String("data", "./data", "data `folder`, or a backup, or a folder of facts; it may be in use")
	anchor := fs.String("anchor", "", "`SEQ:H` of a head that was recorded earlier (from the log or /admin/head), which the log must still contain")
	if status, done := p.parse(fs, args); done {
		return status
	}
	at, err := parseAnchor(*anchor)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	began := p.now()
	report, err := journal.Verify(journal.FactsDir(*data), at, p.progress("verified"))
	if report == nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	p.printReport(report, p.now().Sub(began))
	if err != nil {
		fmt.Fprintln(p.stdout, err)
	}
	if err != nil || !report.OK() {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// progress prints the progress, on a terminal only.
func (p *program) progress(what string) func(done, all int64) {
	if !isTerminal(p.stderr) {
		return nil
	}
	return func(done, all int64) {
		fmt.Fprintf(p.stderr, "\r%s %d of %d MiB (%d %%)", what, done>>20, all>>20, 100*done/max(all, 1))
		if done == all {
			fmt.Fprintln(p.stderr)
		}
	}
}

func (p *program) printReport(r *journal.Report, took time.Duration) {
	fmt.Fprintf(p.stdout, "log %s: %d facts in %d files, from %d to %d:%s, verified in %.1f s\n", r.Log, r.Facts, r.Files, r.First, r.Last.Seq, r.Last.Hash, took.Seconds())
	for i := range r.Damage {
		d := &r.Damage[i]
		fmt.Fprintf(p.stdout, "damaged: %s:%d (fact %d): %s\n", d.File, d.Line, d.Seq, d.Why)
	}
	for _, l := range r.Lost {
		fmt.Fprintf(p.stdout, "lost: facts %d to %d\n", l.From, l.To)
	}
	for _, l := range r.Accepted {
		fmt.Fprintf(p.stdout, "lost and accepted: facts %d to %d\n", l.From, l.To)
	}
	if r.Torn > 0 {
		fmt.Fprintf(p.stdout, "the last %d bytes are an incomplete fact: the bidder is writing, or was killed; they are cut off at the next start\n", r.Torn)
	}
	if r.Erased > 0 {
		fmt.Fprintf(p.stdout, "erased: the personal part of %d facts\n", r.Erased)
	}
}

func parseAnchor(text string) (p events.Position, err error) {
	if text == "" {
		return p, nil
	}
	seq, hash, ok := strings.Cut(text, ":")
	if ok {
		p.Seq, err = strconv.ParseUint(seq, 10, 64)
	}
	if ok && err == nil {
		err = p.Hash.UnmarshalText([]byte(hash))
	}
	if !ok || err != nil || p.Seq == 0 || p.Hash.IsZero() {
		return p, fmt.Errorf("cannot read --anchor: got %q; want SEQ:H, a sequence and 32 hex digits", text)
	}
	return p, nil
}

// logVerb runs the verbs of "bidder log".
func (p *program) logVerb(ctx context.Context, args []string) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "cat":
		return p.logCat(ctx, args)
	case "tail":
		return p.logTail(ctx, args)
	case "stats":
		return p.logStatsVerb(ctx, args)
	case "repair":
		return p.repair(args)
	case "accept-loss":
		return p.acceptLoss(ctx, args)
	}
	fmt.Fprint(p.stderr, "usage: bidder log cat|tail|stats --data DIR [filters]\n       bidder log repair --data DIR --from DIR\n       bidder log accept-loss --config F --data DIR --node ID\n")
	if name == "" || name == "-h" || name == "--help" {
		return cli.ExitDone
	}
	return cli.ExitUsage
}

// folder locks the data folder given by a flag.
func (p *program) folder(dir string) (unlock func(), status int) {
	unlock, err := lockFolder(dir)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return nil, cli.ExitFailed
	}
	return unlock, cli.ExitDone
}

// repair restores damaged or missing facts from another copy of the log.
func (p *program) repair(args []string) int {
	fs := flag.NewFlagSet("bidder log repair", flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	data := fs.String("data", "./data", "data `folder` to repair; no bidder may be running on it")
	from := fs.String("from", "", "backup, data folder of another node, or `folder` of facts that holds the missing facts; required")
	if status, done := p.parse(fs, args); done {
		return status
	}
	if *from == "" {
		fmt.Fprintln(p.stderr, "cannot repair log: got no --from; want a folder that holds the missing facts")
		return cli.ExitUsage
	}
	unlock, status := p.folder(*data)
	if unlock == nil {
		return status
	}
	defer unlock()
	mended, err := journal.Repair(journal.FactsDir(*data), journal.FactsDir(*from))
	for i := range mended {
		fmt.Fprintf(p.stdout, "restored: %s:%d (fact %d): %s\n", mended[i].File, mended[i].Line, mended[i].Seq, mended[i].Why)
	}
	if err == nil {
		err = p.clearProven(*data)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	if len(mended) == 0 {
		fmt.Fprintln(p.stdout, "nothing to repair")
	}
	return cli.ExitDone
}

// clearProven removes blind.json if the log now contains everything that had been seen.
func (p *program) clearProven(data string) error {
	blind, err := journal.ReadBlind(data)
	if err != nil || blind == nil {
		return err
	}
	proven, err := journal.Proven(journal.FactsDir(data), blind)
	if err != nil {
		return err
	}
	if !proven {
		fmt.Fprintln(p.stdout, "some facts that had been seen are still missing: the bidder stays blind for money until they are restored, or accepted as lost with \"bidder log accept-loss\"")
		return nil
	}
	fmt.Fprintln(p.stdout, "the log holds everything that had been seen again: the bidder is no longer blind")
	return journal.ClearBlind(data, journal.FactsDir(data))
}

// acceptLoss gives up damaged or missing facts: views continue after them, and
// money that had been seen and can no longer be proven is booked as spent.
func (p *program) acceptLoss(ctx context.Context, args []string) int {
	var f serveFlags
	fs := flag.NewFlagSet("bidder log accept-loss", flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&f.config, "config", cli.Sample, "configuration `file`")
	fs.StringVar(&f.data, "data", "", "data `folder` (default: the configuration's, ./data); no bidder may be running on it")
	fs.StringVar(&f.node, "node", "", "`name` of this node (default: the configuration's, n1)")
	if status, done := p.parse(fs, args); done {
		return status
	}
	log := newLogger(p.stderr, isTerminal(p.stderr), p.now)
	defer log.Sync() //nolint:errcheck // there is nowhere to report it
	snapshot, edge, err := p.load(&f, nil)
	if err == nil {
		a := &app{flags: f, prog: p, now: p.now, console: newConsole(p.stdout), log: log, bound: snapshot.StartSettings(), configuredEdge: edge}
		a.snapshot.Store(snapshot)
		err = a.acceptLoss(ctx)
		err = errors.Join(err, a.stop())
	}
	if err == nil {
		err = journal.ClearBlind(snapshot.Data.Dir, snapshot.Logs.Facts.Dir)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	return cli.ExitDone
}

func (a *app) acceptLoss(ctx context.Context) error {
	if err := a.openData(ctx); err != nil {
		return err
	}
	given, err := journal.AcceptDamage(a.bound.Logs.Facts.Dir)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{a.openViews, a.openLog, a.follow} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	now := a.now().UTC()
	var facts []events.Fact
	for i, l := range given {
		fmt.Fprintf(a.prog.stdout, "facts %d to %d are given up\n", l.From, l.To)
		facts = append(facts, events.Fact{ID: fmt.Sprintf("accept_loss:%s:%d", a.run, i), Kind: events.KindAcceptLoss, At: now, Node: a.node(), AcceptLoss: &given[i]})
	}
	blind, err := journal.ReadBlind(a.bound.Data.Dir)
	if err != nil {
		return err
	}
	booked, err := a.unproven(blind)
	if err != nil {
		return err
	}
	if facts = append(facts, booked...); len(facts) > 0 {
		if err := a.append(ctx, facts...); err != nil {
			return err
		}
	}
	if blind == nil && len(given) == 0 {
		fmt.Fprintln(a.prog.stdout, "nothing was lost")
		return nil
	}
	a.log.Warn("loss accepted", zap.Int("ranges", len(given)), zap.Int("adjustments", len(booked)))
	return nil
}

// unproven returns the facts that book the amounts that the money view had settled and
// held before the loss but does not show now.
func (a *app) unproven(blind *journal.Blind) ([]events.Fact, error) {
	if blind == nil {
		return nil, nil
	}
	var facts []events.Fact
	for i := range blind.Views {
		v := &blind.Views[i]
		if v.Name != a.money.Name() || len(v.Witness) == 0 {
			continue
		}
		booked, err := a.money.Unproven(v.Witness)
		if err != nil {
			return nil, err
		}
		facts = append(facts, booked...)
	}
	for i := range facts {
		facts[i].At, facts[i].Node = a.now().UTC(), a.node()
		fmt.Fprintf(a.prog.stdout, "%s %s: %s booked as spent, which cannot be proven\n", facts[i].Adjustment.Budget, facts[i].Currency, facts[i].Adjustment.Amount)
	}
	return facts, nil
}
