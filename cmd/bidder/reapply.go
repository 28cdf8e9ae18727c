package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/journal"
)

// reapply has a restored data folder repeat what visitors asked for after its backup
// was made: the opt-outs, opt-ins and erasures in the log of another folder that its own
// log does not contain. The bidder carries them out when it starts. A log that is
// damaged is used as far as it can be read, and that is reported.
func (p *program) reapply(data, from string) error {
	have := map[string]bool{}
	for f, err := range factsOf(data) {
		if err == nil && ofVisitors(f) {
			have[f.ID] = true
		}
	}
	e, err := openErasures(data, p.now, zap.NewNop())
	if err != nil {
		return err
	}
	choices := &erasure{RequestID: "reapply", State: erasurePending, AskedAt: p.now().UTC()}
	erased, unread := 0, error(nil)
	for f, err := range factsOf(from) {
		if err != nil {
			unread = errors.Join(unread, err)
			continue
		}
		switch {
		case !ofVisitors(f) || have[f.ID]:
		case f.Kind == events.KindErase:
			keys := f.Keys
			if !f.Visitor.IsZero() {
				keys = append(keys, events.LinkKey{KeyKind: events.VisitorKind, Key: f.Visitor})
			}
			if _, err := e.ask(keys); err != nil {
				return err
			}
			erased++
		default:
			choices.Choices = append(choices.Choices, events.Fact{V: 1, ID: f.ID, At: f.At, Kind: f.Kind, Visitor: f.Visitor, Keys: f.Keys})
		}
	}
	if len(choices.Choices) > 0 {
		if err := e.keep(choices); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.stdout, "%d opt-outs and opt-ins and %d erasures of %s are repeated when the bidder starts\n", len(choices.Choices), erased, from)
	if unread != nil {
		fmt.Fprintf(p.stdout, "not read, so opt-outs and erasures in it are missing: %v\n", unread)
	}
	return nil
}

// factsOf reads the facts of a data folder or a backup: first those that outlived deleted
// files.
func factsOf(dir string) iter.Seq2[*events.Fact, error] {
	var patterns []string
	for _, name := range []string{"base-*.ndjson", "[0-9]*.ndjson*"} {
		pattern := filepath.Join(journal.FactsDir(dir), name)
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			patterns = append(patterns, pattern)
		}
	}
	return func(yield func(*events.Fact, error) bool) {
		for _, pattern := range patterns {
			for f, err := range events.ReadFactFiles(pattern) {
				if !yield(f, err) {
					return
				}
			}
		}
	}
}

// ofVisitors reports whether a fact records what a visitor asked for.
func ofVisitors(f *events.Fact) bool {
	return f.Kind == events.KindOptOut || f.Kind == events.KindOptIn || f.Kind == events.KindErase
}

// honour makes the opt-outs that are still to be repeated effective before the first
// bid.
func (a *app) honour(context.Context) error {
	for _, r := range a.erasures.pending() {
		for i := range r.Choices {
			if f := &r.Choices[i]; f.Kind == events.KindOptOut {
				a.visitors.OptOutNow(f.Visitor)
				for _, k := range f.Keys {
					a.visitors.OptOutNow(k.Key)
				}
			}
		}
	}
	return nil
}
