package pacing

import (
	"fmt"
	"time"
)

// books is a plain model of the ledger: it goes through the log one fact at a time. It uses
// nothing of this module, so that a mistake of the ledger is not repeated here.
type books struct {
	now     time.Time
	budgets map[string]*bookBudget
	bids    map[string]*bookBid
	limits  map[string]int64 // by owner and window: the cap in force
	wrong   []string
}

type bookBudget struct {
	settled, late int64
	runs          map[string]*bookGrant
	above         int64 // what was settled and held when the cap was lowered below it, as far as it still is
}

type bookGrant struct {
	amount, settled int64
	held            time.Time
}

type bookBid struct{ won, charged time.Time }

// bookFact is a fact as the model reads it.
type bookFact struct {
	kind, owner       string // owner: advertiser/campaign/line
	run, budget, bid  string
	at, held          time.Time
	issued            time.Time
	winExpiry, expiry time.Time
	day               string
	flights           [3]string
	caps              uint32
	amount            int64
	bills             bool
}

func newBooks() *books {
	return &books{budgets: map[string]*bookBudget{}, bids: map[string]*bookBid{}, limits: map[string]int64{}}
}

func (b *books) budget(name string) *bookBudget {
	x := b.budgets[name]
	if x == nil {
		x = &bookBudget{runs: map[string]*bookGrant{}}
		b.budgets[name] = x
	}
	return x
}

func (b *books) held(x *bookBudget) (sum int64) {
	for _, g := range x.runs {
		if !g.held.Before(b.now) && g.amount > g.settled {
			sum += g.amount - g.settled
		}
	}
	return sum
}

func (b *books) add(f *bookFact) {
	if f.at.After(b.now) {
		b.now = f.at
	}
	switch f.kind {
	case "grant":
		x := b.budget(f.budget)
		for run, g := range x.runs {
			if run != f.run && g.held.Add(time.Hour).Before(b.now) {
				delete(x.runs, run)
			}
		}
		g := x.runs[f.run]
		if g == nil {
			g = &bookGrant{}
			x.runs[f.run] = g
		}
		g.amount, g.held = f.amount, f.held
		b.judge(f.budget, x)
	case "win", "bill", "loss":
		bid := b.bids[f.bid]
		if bid == nil {
			bid = &bookBid{}
			b.bids[f.bid] = bid
		}
		if f.kind == "win" && bid.won.IsZero() {
			bid.won = b.now
		}
		if f.bills && bid.charged.IsZero() {
			bid.charged = b.now
			b.charge(f, bid)
		}
	}
}

// charge books a bill in the budgets of its line.
func (b *books) charge(f *bookFact, bid *bookBid) {
	until := f.winExpiry
	if !bid.won.IsZero() && !bid.won.After(until) && f.expiry.After(until) {
		until = f.expiry
	}
	late := b.now.After(until)
	for i, window := range bookCaps {
		for unit := range 2 {
			binds := f.caps&(1<<(i+unit*len(bookCaps))) != 0
			name := f.budgetName(window, unit == 1)
			if !binds && (name == "" || window.window == "hour") {
				continue
			}
			x, amount := b.budget(name), f.amount
			if unit == 1 {
				amount = 1_000_000
			}
			x.settled += amount
			if !binds {
				continue
			}
			covered := int64(0)
			if g := x.runs[f.run]; g != nil && !late && !g.held.Before(b.now) {
				covered = max(min(amount, g.amount-g.settled), 0)
				g.settled += covered
			}
			x.late += amount - covered
			b.judge(name, x)
		}
	}
}

// bookCaps are the caps on money in the order of their bits; those on impressions follow
// in the same order.
var bookCaps = []struct{ owner, window string }{
	{"line", "day"}, {"line", "total"}, {"campaign", "day"}, {"campaign", "total"}, {"advertiser", "day"}, {"advertiser", "total"},
	{"line", "hour"}, {"campaign", "hour"}, {"advertiser", "hour"}, {"line", "flight"}, {"campaign", "flight"}, {"advertiser", "flight"},
}

func bookOwner(line, owner string) string {
	var a, c, l string
	part := 0
	for _, r := range line {
		switch {
		case r == '/':
			part++
		case part == 0:
			a += string(r)
		case part == 1:
			c += string(r)
		default:
			l += string(r)
		}
	}
	switch owner {
	case "campaign":
		l = ""
	case "advertiser":
		c, l = "", ""
	}
	return a + "/" + c + "/" + l
}

// budgetName is the name of a budget in the log; empty for a flight without a start.
func (f *bookFact) budgetName(c struct{ owner, window string }, imps bool) string {
	name := bookOwner(f.owner, c.owner) + "/"
	if imps {
		name += "imps_"
	}
	name += c.window
	switch c.window {
	case "day":
		name += "/" + f.day
	case "hour":
		name += "/" + f.issued.UTC().Format("2006-01-02T15")
	case "flight":
		start := f.flights[map[string]int{"line": 0, "campaign": 1, "advertiser": 2}[c.owner]]
		if start == "" {
			return ""
		}
		name += "/" + start
	}
	return name
}

// capOf is the part of a budget's name that a cap has: without its period.
func capOf(budget string) string {
	slashes := 0
	for i, r := range budget {
		if r == '/' {
			if slashes++; slashes == 4 {
				return budget[:i]
			}
		}
	}
	return budget
}

// limit sets a cap.
func (b *books) limit(name string, amount int64) {
	b.limits[name] = amount
	for budget, x := range b.budgets {
		if capOf(budget) == name {
			x.above = x.settled - x.late + b.held(x)
		}
	}
}

// judge checks that no more than the cap is settled and held. What was when the cap was
// lowered may stay, but not grow.
func (b *books) judge(name string, x *bookBudget) {
	limit, ok := b.limits[capOf(name)]
	if !ok {
		return
	}
	sum := x.settled - x.late + b.held(x)
	if sum > limit && sum > x.above {
		b.wrong = append(b.wrong, fmt.Sprintf("%s at %s: settled %d - late %d + held %d is above the cap %d", name, b.now, x.settled, x.late, b.held(x), limit))
	}
	x.above = min(x.above, sum)
}
