package audiences

import (
	"strconv"
	"strings"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// leaf compiles a rule about one event name.
func (c *compiler) leaf(r *Rule, at place) node {
	c.leaves++
	c.cost++
	n := node{kind: nodeLeaf, minCount: max(r.MinCount, 1), after: r.After == "include"}
	if r.MinCount < 0 || r.MinCount > rtb.MaxRecent {
		c.Add(at.path+".min_count", strconv.Itoa(r.MinCount), "1 to "+strconv.Itoa(rtb.MaxRecent))
	}
	if r.After != "" && (r.After != "include" || !at.exclude) {
		c.Add(at.path+".after", spec.Quote(r.After), "include, in exclude only")
	}
	c.window(r, &n, at)
	event := eventName(r.Event)
	if len(event) > maxEventName || event == "" {
		c.Add(at.path+".event", spec.Quote(r.Event), "a name of at most "+strconv.Itoa(maxEventName)+" bytes")
	}
	conditions := c.conditions(r.Where, at)
	if len(c.Problems) > 0 {
		return n // the canonical texts of invalid rules are meaningless
	}
	rule := newRule(c.spec.Advertiser, event, conditions)
	n.segment = rule.id
	if err := CheckText(rule.text); err != nil {
		c.Add(at.path, err.Error(), "values that stay the same when their case is folded twice")
	}
	if other, ok := c.set.rules[rule.id]; ok && other != rule.text {
		c.Add(at.path, "a rule whose hash collides with that of segment "+other, "a slightly different rule")
	}
	c.set.rules[rule.id] = rule.text
	return n
}

func eventName(name string) string {
	if strings.TrimSpace(name) == anyEvent {
		return anyEvent
	}
	canonical, _ := CanonicalEvent(name)
	return canonical
}

// window checks within and not_within. An included visitor must still be within
// the ttl of the audience; an excluded one may have acted long before.
func (c *compiler) window(r *Rule, n *node, at place) {
	longest, want := c.spec.TTL, "at most the ttl of the audience, "+c.spec.TTL.String()
	within := r.Within
	if within == 0 {
		within = c.spec.TTL
	}
	if at.exclude {
		longest, want = maxTTL, "at most "+maxTTL.String()
	}
	if within > longest {
		c.Add(at.path+".within", within.String(), want)
	}
	if r.NotWithin >= within {
		c.Add(at.path+".not_within", r.NotWithin.String(), "less than within, "+within.String())
	}
	if time.Duration(within)%time.Second != 0 || time.Duration(r.NotWithin)%time.Second != 0 {
		c.Add(at.path, within.String()+" and "+r.NotWithin.String(), "whole seconds in within and not_within")
	}
	n.within, n.notWithin = time.Duration(within), time.Duration(r.NotWithin)
}

func (c *compiler) conditions(where []Condition, at place) []*condition {
	var out []*condition
	if len(where) > maxConditions {
		c.Add(at.path+".where", strconv.Itoa(len(where))+" conditions", "at most "+strconv.Itoa(maxConditions))
	}
	for i, w := range where {
		n, flaw := newCondition(w)
		if flaw != nil {
			c.Add(spec.At(at.path+".where", i)+"."+flaw.part, flaw.got, flaw.want)
			continue
		}
		out = append(out, n)
	}
	return out
}
