package audiences

import (
	"time"

	"rebound/rtb"
)

// Program decides whether a visitor is in an audience. It is immutable and safe
// for concurrent use.
type Program struct {
	id, advertiser string
	include        node
	exclude        *node
	triggers       []rtb.SegmentID
	cost           int // leaves that one evaluation visits at most
}

// Window limits an audience to visitors whose last qualifying event has a
// certain age. Zero means no limit.
type Window struct{ Within, NotWithin time.Duration }

// Verdict is the result of evaluating a Program for a visitor.
type Verdict struct {
	// In is set if the visitor is in the audience and in the window.
	In bool
	// Excluded is set if only the exclusion keeps the visitor out.
	Excluded bool
	// Last is the latest event counted by the leaves of the inclusion that are
	// true, and Count the largest number of events that one of them counted
	// within its look-back. They feed recency and intensity pricing, and are 0
	// unless In or Excluded is set. Count is exact up to rtb.MaxRecent, and a
	// lower bound beyond.
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

// node is one node of a compiled rule.
type node struct {
	kind nodeKind
	kids []node

	segment           rtb.SegmentID
	within, notWithin time.Duration
	minCount          int
	after             bool // not older than the inclusion's last event

	audience *Program
}

// result is the value of a node. last and count are 0 unless ok.
type result struct {
	ok    bool
	last  rtb.Second
	count uint32
}

func (r *result) merge(o result) {
	r.last = max(r.last, o.last)
	r.count = max(r.count, o.count)
}

// ID returns the id of the audience.
func (p *Program) ID() string { return p.id }

// Advertiser returns the id of the advertiser that owns the audience.
func (p *Program) Advertiser() string { return p.advertiser }

// Triggers returns segments of which a visitor must have at least one to be in
// the audience. The caller must not modify them.
func (p *Program) Triggers() []rtb.SegmentID { return p.triggers }

// Eval reports whether v is in the audience at now. It does not allocate.
//
// A leaf is true if at least min_count events happened at or after now - within
// and, if not_within is set, none after now - not_within. Events later than now
// count as happening now.
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

// holds reports whether the age of an event is in the window.
func (w Window) holds(last, now rtb.Second) bool {
	if w.Within > 0 && last < ago(now, w.Within) {
		return false
	}
	return w.NotWithin <= 0 || last <= ago(now, w.NotWithin)
}

// ago returns now - d in whole seconds, but not before 1970.
func ago(now rtb.Second, d time.Duration) rtb.Second {
	return now - rtb.Second(min(max(d/time.Second, 0), time.Duration(now)))
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

// countSince returns how many events of a segment happened at or after from. It
// is a lower bound if there were more than the profile keeps and the oldest of
// all was before from.
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
