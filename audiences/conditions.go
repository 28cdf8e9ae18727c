package audiences

import (
	"time"

	"rebound/rtb"
)

// Met is one condition of a rule as it was evaluated for a visitor.
type Met struct {
	OK bool
	// Excludes is set if the condition belongs to the exclusion.
	Excludes bool
	// Audience is the id of the audience that the rule refers to, if the condition is
	// another audience's.
	Audience string
	Segment  rtb.SegmentID // 0: the condition is about the request
	Event    string        // empty for a list and for the request
	// What the rule asks for.
	MinCount          int
	MinValue          rtb.Micros
	Within, NotWithin time.Duration
	// What the profile has: the latest event and the number of events, 0 without any.
	Last  rtb.Second
	Count uint32
}

// Conditions evaluates every condition of the program separately, in the order of the
// rule. It allocates: it is for people who ask why a visitor is in an audience or not. r
// may be nil.
func (p *Program) Conditions(v *rtb.Visitor, r *Request, now time.Time) []Met {
	c := evaluation{v: v, request: r, now: rtb.SecondOf(now)}
	return p.conditions(&c, "", nil)
}

func (p *Program) conditions(c *evaluation, audience string, dst []Met) []Met {
	dst = p.include.conditions(c, 0, audience, dst)
	if p.exclude == nil {
		return dst
	}
	from := len(dst)
	dst = p.exclude.conditions(c, p.include.eval(c, 0).last, audience, dst)
	for i := from; i < len(dst); i++ {
		dst[i].Excludes = !dst[i].Excludes
	}
	return dst
}

func (n *node) conditions(c *evaluation, after rtb.Second, audience string, dst []Met) []Met {
	switch n.kind {
	case nodeLeaf, nodeRequest:
		m := Met{OK: n.eval(c, after).ok, Audience: audience}
		if n.kind == nodeLeaf {
			m.Segment, m.Event, m.MinCount, m.MinValue, m.Within, m.NotWithin = n.segment, n.event, n.minCount, n.minValue, n.within, n.notWithin
			if s := c.v.Segment(n.segment); s != nil {
				m.Last, m.Count = s.Last, s.Count
			}
		}
		return append(dst, m)
	case nodeAudience:
		return n.audience.conditions(c, n.audience.id, dst)
	}
	for i := range n.kids {
		dst = n.kids[i].conditions(c, after, audience, dst)
	}
	return dst
}
