package audiences

import (
	"time"

	"rebound/rtb"
)

// Program decides whether a visitor is in an audience. It never changes and may
// be used by many goroutines.
type Program struct {
	id, advertiser string
	include        node
	exclude        *node
	triggers       []rtb.SegmentID
	cost           int // leaves that one evaluation may visit
}

// Window narrows an audience by the age of its last qualifying event, as a line
// does; zero means no limit.
type Window struct{ Within, NotWithin time.Duration }

// Verdict is what a Program says of a visitor.
type Verdict struct {
	// In: the visitor is in the audience and in the window.
	In bool
	// Excluded: he would be in, but for the exclusion.
	Excluded bool
	// Last is the latest event that the true leaves of the inclusion counted,
	// and Count the largest number of events that one of them counted in its
	// look-back: for recency and intensity pricing. Both are 0 unless In or
	// Excluded. Count is exact up to rtb.MaxRecent, and a lower bound beyond.
	Last  rtb.Second
	Count uint32
}

type nodeKind uint8

const (
	nodeAll nodeKind = iota
	nodeAny
	nodeLeaf
	nodeAudience
)

// node is one node of a rule. Lengths of time are seconds.
type node struct {
	kind nodeKind
	kids []node

	segment           rtb.SegmentID
	within, notWithin uint32
	minCount          int
	after             bool // not older than the inclusion's last event

	audience *Program
}

// result is what a node says; last and count are 0 unless ok.
type result struct {
	ok    bool
	last  rtb.Second
	count uint32
}

func (r *result) merge(o result) {
	r.last = max(r.last, o.last)
	r.count = max(r.count, o.count)
}

// ID is the audience's id.
func (p *Program) ID() string { return p.id }

// Advertiser is the id of the audience's owner.
func (p *Program) Advertiser() string { return p.advertiser }

// Triggers are segments of which a visitor must hold at least one to be in the
// audience. The caller must not change them.
func (p *Program) Triggers() []rtb.SegmentID { return p.triggers }

// Eval says whether v is in the audience at now. It does not allocate.
//
// A leaf is true when at least min_count events lie at or after now - within
// and, where not_within is set, none lies after now - not_within. Events later
// than now count as now.
func (p *Program) Eval(v *rtb.Visitor, now time.Time, w Window) Verdict {
	return p.eval(v, rtb.SecondOf(now), w)
}

func (p *Program) eval(v *rtb.Visitor, now rtb.Second, w Window) Verdict {
	in := p.include.eval(v, now, 0)
	if !in.ok || !w.holds(in.last, now) {
		return Verdict{}
	}
	out := p.exclude != nil && p.exclude.eval(v, now, in.last).ok
	return Verdict{In: !out, Excluded: out, Last: in.last, Count: in.count}
}

// holds tells whether an event's age is in the window.
func (w Window) holds(last, now rtb.Second) bool {
	if w.Within > 0 && last < ago(now, seconds(w.Within)) {
		return false
	}
	return w.NotWithin <= 0 || last <= ago(now, seconds(w.NotWithin))
}

// ago is now - d, not before 1970.
func ago(now rtb.Second, d uint32) rtb.Second {
	if uint32(now) < d {
		return 0
	}
	return now - rtb.Second(d)
}

// seconds is a length of time in whole seconds, at most what a Second holds.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), 1<<32-1))
}

func (n *node) eval(v *rtb.Visitor, now, after rtb.Second) result {
	switch n.kind {
	case nodeLeaf:
		return n.leaf(v, now, after)
	case nodeAudience:
		r := n.audience.eval(v, now, Window{})
		if !r.In {
			return result{}
		}
		return result{true, r.Last, r.Count}
	}
	r := result{ok: n.kind == nodeAll}
	for i := range n.kids {
		k := n.kids[i].eval(v, now, after)
		if k.ok {
			r.merge(k)
		}
		if n.kind == nodeAll && !k.ok {
			return result{}
		}
		r.ok = r.ok || k.ok
	}
	return r
}

func (n *node) leaf(v *rtb.Visitor, now, after rtb.Second) result {
	s := v.Segment(n.segment)
	if s == nil || len(s.Recent) < n.minCount {
		return result{}
	}
	from := ago(now, n.within)
	if n.after {
		from = max(from, after)
	}
	if s.Recent[n.minCount-1] < from {
		return result{}
	}
	if n.notWithin > 0 && s.Recent[0] > ago(now, n.notWithin) {
		return result{}
	}
	return result{true, s.Recent[0], countSince(s, from)}
}

// countSince is how many of a segment's events lie at or after from: exact
// unless more than the kept times do and some older event does not.
func countSince(s *rtb.SegmentState, from rtb.Second) uint32 {
	if s.First >= from {
		return s.Count
	}
	n := uint32(0)
	for _, t := range s.Recent {
		if t < from {
			break
		}
		n++
	}
	return n
}
