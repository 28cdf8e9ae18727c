package audiences

import (
	"slices"
	"time"

	"rebound/rtb"
)

// Program decides whether a visitor is in an audience. It is immutable and safe
// for concurrent use.
type Program struct {
	id, advertiser string
	name, recipe   string
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
	nodeRequest
	nodeAudience
)

// node is one node of a compiled rule.
type node struct {
	kind nodeKind
	kids []node

	event             string // "" for a list
	segment           rtb.SegmentID
	within, notWithin time.Duration
	minCount          int
	minValue          rtb.Micros // 0: no sum
	after             bool       // not older than the inclusion's last event

	request  *requestTest
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

// Counts reports whether the inclusion has a leaf about an event name.
func (p *Program) Counts(event string) bool { return p.include.counts(event) }

func (n *node) counts(event string) bool {
	switch n.kind {
	case nodeLeaf:
		return n.event == event
	case nodeAudience:
		return n.audience.Counts(event)
	}
	return slices.ContainsFunc(n.kids, func(k node) bool { return k.counts(event) })
}

// ReadsRequest reports whether the program counts what the request says, as an event
// that happens now.
func (p *Program) ReadsRequest() bool { return p.include.readsRequest() }

func (n *node) readsRequest() bool {
	switch n.kind {
	case nodeRequest:
		return true
	case nodeAudience:
		return n.audience.ReadsRequest()
	}
	return slices.ContainsFunc(n.kids, func(k node) bool { return k.readsRequest() })
}

// Parts returns the parts of a request that the program tests.
func (p *Program) Parts() rtb.Parts {
	parts := p.include.parts()
	if p.exclude != nil {
		parts |= p.exclude.parts()
	}
	return parts
}

func (n *node) parts() (parts rtb.Parts) {
	switch n.kind {
	case nodeRequest:
		return n.request.parts()
	case nodeAudience:
		return n.audience.Parts()
	}
	for i := range n.kids {
		parts |= n.kids[i].parts()
	}
	return parts
}

// Segments returns the segments on which the program depends, sorted. The caller may keep
// them.
func (p *Program) Segments() []rtb.SegmentID {
	out := p.include.segments(nil)
	if p.exclude != nil {
		out = p.exclude.segments(out)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (n *node) segments(dst []rtb.SegmentID) []rtb.SegmentID {
	switch n.kind {
	case nodeLeaf:
		return append(dst, n.segment)
	case nodeAudience:
		return append(dst, n.audience.Segments()...)
	}
	for i := range n.kids {
		dst = n.kids[i].segments(dst)
	}
	return dst
}

// Triggers returns segments of which a visitor must have at least one to be in
// the audience. The caller must not modify them.
func (p *Program) Triggers() []rtb.SegmentID { return p.triggers }

// Name returns the label of the audience, and Recipe the recipe that it was made from.
func (p *Program) Name() string { return p.name }

// Recipe returns the name of the recipe of the audience, or an empty string.
func (p *Program) Recipe() string { return p.recipe }

// Eval is [Program.EvalRequest] without a request: leaves about the request are false.
func (p *Program) Eval(v *rtb.Visitor, now time.Time, w Window) Verdict {
	return p.EvalRequest(v, nil, now, w)
}

// EvalRequest reports whether v is in the audience at now, during a request. It does not
// allocate.
//
// A leaf is true if at least min_count events happened at or after now - within
// and, if not_within is set, none after now - not_within. Events later than now
// count as happening now. With min_value, the value of the events from the beginning of the
// UTC day of now - within must reach it. A leaf about the request counts as an event that
// happens now.
func (p *Program) EvalRequest(v *rtb.Visitor, r *Request, now time.Time, w Window) Verdict {
	c := evaluation{v: v, request: r, now: rtb.SecondOf(now)}
	return p.eval(&c, w)
}

// evaluation is what the nodes of a program are evaluated against.
type evaluation struct {
	v       *rtb.Visitor
	request *Request
	now     rtb.Second
}

func (p *Program) eval(c *evaluation, w Window) Verdict {
	in := p.include.eval(c, 0)
	if !in.ok || !w.holds(in.last, c.now) {
		return Verdict{}
	}
	out := p.exclude != nil && p.exclude.eval(c, in.last).ok
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

func (n *node) eval(c *evaluation, after rtb.Second) result {
	switch n.kind {
	case nodeLeaf:
		return n.leaf(c, after)
	case nodeRequest:
		if c.request == nil || !n.request.holds(c.request) {
			return result{}
		}
		return result{true, c.now, 1}
	case nodeAudience:
		r := n.audience.eval(c, Window{})
		if !r.In {
			return result{}
		}
		return result{true, r.Last, r.Count}
	}
	r := result{ok: n.kind == nodeAll}
	for i := range n.kids {
		k := n.kids[i].eval(c, after)
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

func (n *node) leaf(c *evaluation, after rtb.Second) result {
	s := c.v.Segment(n.segment)
	if s == nil || len(s.Recent) < n.minCount {
		return result{}
	}
	from := ago(c.now, n.within)
	if n.after {
		from = max(from, after)
	}
	if s.Recent[n.minCount-1] < from {
		return result{}
	}
	if n.notWithin > 0 && s.Recent[0] > ago(c.now, n.notWithin) {
		return result{}
	}
	if n.minValue > 0 && s.ValueSince(from) < n.minValue {
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
