package replay

import (
	"fmt"
	"iter"
	"time"

	"rebound/events"
)

// openFacts starts reading the facts; the returned function stops it.
func (r *runner) openFacts() (stop func()) {
	if r.o.Facts == nil || r.o.Store == nil {
		return func() {}
	}
	r.facts, stop = iter.Pull2(r.o.Facts)
	return stop
}

// foldRules folds the configuration's rules: which events the store remembers.
func (r *runner) foldRules(at time.Time) error {
	if r.o.Store == nil {
		return nil
	}
	return r.fold([]events.Fact{{V: 1, ID: "replay:config", TS: at, Kind: events.KindConfig,
		Config: &events.Config{Hash: r.o.Config.Hash, ActivatedAt: at, Rules: r.o.Config.AudienceSet.Rules()}}})
}

// fold applies facts to the store, numbered as a log of their own.
func (r *runner) fold(facts []events.Fact) error {
	for i := range facts {
		r.seq++
		facts[i].Seq = r.seq
	}
	if err := r.o.Store.Apply(facts); err != nil {
		return fmt.Errorf("cannot fold facts: %w", err)
	}
	return nil
}

// foldUntil folds the facts about visitors that were appended by t. Facts about
// money are skipped, because the replay produces its own. The rules are those of
// the configuration being tried, not those of the time.
func (r *runner) foldUntil(t time.Time) error {
	var batch []events.Fact
	for r.facts != nil {
		if r.pending == nil {
			f, err, ok := r.facts()
			if !ok {
				r.facts = nil
				break
			}
			if err != nil {
				r.skipped++
				continue
			}
			r.pending = f
		}
		if r.pending.TS.After(t) {
			break
		}
		if aboutVisitor(r.pending.Kind) {
			batch = append(batch, *r.pending)
		}
		r.pending = nil
	}
	if len(batch) == 0 {
		return nil
	}
	return r.fold(batch)
}

func aboutVisitor(k events.Kind) bool {
	switch k {
	case events.KindEvent, events.KindLink, events.KindOptOut, events.KindOptIn, events.KindErase:
		return true
	}
	return false
}
