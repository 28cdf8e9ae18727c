package main

import (
	"iter"
	"slices"

	"rebound/events"
	"rebound/pacing"
)

// foldBase folds the facts of log files that are about to be deleted, preceded
// by those of the previous base file, into the facts that must outlive them:
// every opt-out and erasure, the newest configuration with its rules, budget
// balances, open grants and pauses.
func foldBase(facts iter.Seq2[*events.Fact, error]) ([]events.Fact, error) {
	var kept []events.Fact
	var configs baseConfigs
	money, err := pacing.FoldBase(func(yield func(*events.Fact, error) bool) {
		for f, err := range facts {
			if err == nil {
				switch f.Kind {
				case events.KindOptOut, events.KindOptIn, events.KindErase, events.KindAcceptLoss, events.KindApproval:
					kept = append(kept, *f)
				case events.KindConfig:
					configs.add(f)
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
	kept = append(configs.facts(), kept...) // rules come before the events that they select
	return append(kept, money...), nil
}

// baseConfigs holds the facts of the newest complete configuration, and of those that
// are not complete yet: their other parts may be in the files that stay.
type baseConfigs struct {
	parts  events.ConfigParts
	open   map[string][]events.Fact // by activation
	active []events.Fact
}

func (b *baseConfigs) add(f *events.Fact) {
	if f.Config == nil {
		return
	}
	if b.open == nil {
		b.open = map[string][]events.Fact{}
	}
	id := f.Config.ID(f.Node)
	b.open[id] = append(b.open[id], *f)
	if _, complete := b.parts.Add(f.Node, f.Config); complete {
		b.active = b.open[id]
		delete(b.open, id)
	}
}

func (b *baseConfigs) facts() []events.Fact {
	list := slices.Clone(b.active)
	for _, o := range b.parts.Open {
		list = append(list, b.open[o.ID]...)
	}
	return list
}
