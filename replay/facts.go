package replay

import (
	"fmt"
	"iter"
	"time"

	"rebound/events"
)

// openFacts begins to read the facts; the function that it gives ends that.
func (r *runner) openFacts() (stop func()) {
	if r.o.Facts == nil || r.o.Store == nil {
		return func() {}
	}
	r.facts, stop = iter.Pull2(r.o.Facts)
	return stop
}

// teach tells the store which events to remember.
func (r *runner) teach(at time.Time) error {
	if r.o.Store == nil {
		return nil
	}
	return r.fold([]events.Fact{{V: 1, ID: "replay:config", TS: at, Kind: events.KindConfig,
		Config: &events.Config{Hash: r.o.Config.Hash, ActivatedAt: at, Rules: r.o.Config.AudienceSet.Rules()}}})
}

// fold numbers the facts as a log of their own and applies them.
func (r *runner) fold(facts []events.Fact) error {
	for i := range facts {
		r.seq++
		facts[i].Seq, facts[i].Stream = r.seq, "replay"
	}
	if err := r.o.Store.Apply(facts); err != nil {
		return fmt.Errorf("cannot fold facts: %w", err)
	}
	return nil
}

// foldUntil folds the visitors' facts that were appended by t. What money did
// is left out: a replay makes its own. The rules are those of the configuration
// being tried, not those of then.
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
		if ofVisitors(r.pending.Kind) {
			batch = append(batch, *r.pending)
		}
		r.pending = nil
	}
	if len(batch) == 0 {
		return nil
	}
	return r.fold(batch)
}

func ofVisitors(k events.Kind) bool {
	switch k {
	case events.KindEvent, events.KindLink, events.KindOptOut, events.KindErase:
		return true
	}
	return false
}
