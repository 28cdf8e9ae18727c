package main

import (
	"iter"

	"rebound/events"
	"rebound/pacing"
)

// foldBase folds the facts of log files that are about to be deleted, preceded
// by those of the previous base file, into the facts that must outlive them:
// every opt-out and erasure, the newest configuration with its rules, budget
// balances, open grants and pauses.
func foldBase(facts iter.Seq2[*events.Fact, error]) ([]events.Fact, error) {
	var kept []events.Fact
	var config *events.Fact
	money, err := pacing.FoldBase(func(yield func(*events.Fact, error) bool) {
		for f, err := range facts {
			if err == nil {
				switch f.Kind {
				case events.KindOptOut, events.KindOptIn, events.KindErase, events.KindAcceptLoss, events.KindApproval:
					kept = append(kept, *f)
				case events.KindConfig:
					config = f
				}
			}
			if !yield(f, err) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if config != nil { // rules come before the events that they select
		kept = append([]events.Fact{*config}, kept...)
	}
	return append(kept, money...), nil
}
