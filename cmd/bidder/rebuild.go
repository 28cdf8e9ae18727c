package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"rebound/segments"
)

// rebuilder counts new rules from the log, in the background: their audiences are complete
// once it is done, and hold who met them since their activation until then.
type rebuilder struct {
	a    *app
	task *task
	wake chan struct{}

	mu     sync.Mutex // guards the fields below
	rules  []string   // asked for, besides those that are pending in the view
	active []string   // being counted
	seq    uint64     // fact that is counted
	last   uint64
	failed string
}

// startRebuilder starts counting what is pending.
func (a *app) startRebuilder(context.Context) error {
	r := &rebuilder{a: a, wake: make(chan struct{}, 1)}
	a.rebuilder = r
	r.task = spawn(r.run)
	return nil
}

func (r *rebuilder) stop() error { return r.task.stop() }

// ask asks for rules to be counted from the log again.
func (r *rebuilder) ask(rules []string) {
	r.mu.Lock()
	for _, text := range rules {
		if !slices.Contains(r.rules, text) {
			r.rules = append(r.rules, text)
		}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// rebuildCheck is the interval between checks for new rules; rebuildRetry follows a failure.
const (
	rebuildCheck = time.Second
	rebuildRetry = time.Minute
)

func (r *rebuilder) run(ctx context.Context) error {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-again.C:
		}
		wait := rebuildCheck
		if rules := r.next(); len(rules) > 0 {
			err := r.rebuild(ctx, rules)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				wait = rebuildRetry
			}
		}
		again.Reset(wait)
	}
}

// next returns the rules to be counted.
func (r *rebuilder) next() []string {
	rules := slices.Clone(r.a.visitors.Pending())
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.rules {
		if !slices.Contains(rules, text) {
			rules = append(rules, text)
		}
	}
	r.rules = nil
	return rules
}

func (r *rebuilder) rebuild(ctx context.Context, rules []string) error {
	r.set(rules, "")
	began := r.a.now()
	o := segments.RebuildOptions{
		Dir: filepath.Join(r.a.bound.Data.Dir, "rebuild"), Rules: rules, Read: r.a.journal.Read, Progress: r.progress,
	}
	if st := r.a.journal.Stats(); st.First > 1 {
		o.Begins = st.FirstTime
	}
	n, err := r.a.visitors.Rebuild(ctx, o)
	switch {
	case err == nil:
		r.set(nil, "")
		r.a.log.Info("audiences rebuilt from the log", zap.Int("rules", len(rules)), zap.Int("visitors", n), zap.Duration("took", r.a.now().Sub(began)))
	case ctx.Err() == nil && !errors.Is(err, context.Canceled):
		r.set(nil, err.Error())
		r.a.log.Error("cannot rebuild audiences from the log; trying again in a minute", zap.Strings("rules", rules), zap.Error(err))
	}
	return err
}

func (r *rebuilder) set(active []string, failed string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active, r.failed, r.seq, r.last = active, failed, 0, 0
}

func (r *rebuilder) progress(seq, last uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq, r.last = seq, last
}

// state returns the rules that are not complete, how far their count is, and why the last
// one failed.
func (r *rebuilder) state() (rules []string, donePct float64, failed string) {
	rules = slices.Clone(r.a.visitors.Pending())
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range append(slices.Clone(r.active), r.rules...) {
		if !slices.Contains(rules, text) {
			rules = append(rules, text)
		}
	}
	if r.last > 0 {
		donePct = float64(r.seq*1000/r.last) / 10
	}
	return rules, donePct, r.failed
}
