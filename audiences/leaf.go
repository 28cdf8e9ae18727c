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
	if len(event) > maxEventName || event == "" || event == memberEvent {
		c.Add(at.path+".event", spec.Quote(r.Event), "a name of at most "+strconv.Itoa(maxEventName)+" bytes")
	}
	n.event = event
	conditions := c.conditions(r.Where, at, false)
	return c.segment(n, newRule(c.spec.Advertiser, event, c.sum(r, &n, at), conditions), at)
}

// sum checks min_value and returns the currency of the sum.
func (c *compiler) sum(r *Rule, n *node, at place) rtb.Currency {
	if n.minValue = r.MinValue; r.MinValue == 0 {
		return rtb.Currency{}
	}
	if r.MinValue < 0 {
		c.Add(at.path+".min_value", r.MinValue.String(), "an amount above 0")
	}
	if c.spec.Currency.IsZero() {
		return rtb.USD // the default of an advertiser
	}
	return c.spec.Currency
}

// list compiles a rule about the members of a list.
func (c *compiler) list(r *Rule, at place) node {
	c.leaves++
	c.cost++
	n := node{kind: nodeLeaf, minCount: 1}
	if r.MinCount != 0 || r.MinValue != 0 || r.After != "" {
		c.Add(at.path, "min_count, min_value or after with list", "these fields only with event")
	}
	c.bounds(r, &n, at, maxTTL, maxTTL, "at most "+maxTTL.String())
	conditions := c.conditions(r.Where, at, true)
	switch {
	case r.List == SuppressLists:
		conditions = append(conditions, memberCondition("purpose", "eq", "suppress"))
	case r.List == anyEvent:
		conditions = append(conditions, memberCondition("list", "exists", "true"))
	case spec.ValidID(r.List):
		conditions = append(conditions, memberCondition("list", "eq", r.List))
	default:
		c.Add(at.path+".list", spec.Quote(r.List), "the id of a list, or * for any")
	}
	return c.segment(n, newRule(c.spec.Advertiser, memberEvent, rtb.Currency{}, conditions), at)
}

// SuppressLists, as the list of a rule, stands for the lists whose purpose is to suppress.
// No list can have this name.
const SuppressLists = "*suppress"

// memberCondition returns a condition about a row that is not in the configuration.
func memberCondition(field, op, value string) *condition {
	n, _ := conditionOf(Condition{Field: field, Op: op, Value: Values{value}}, memberFields)
	return n
}

// ListSegment returns the segment of the members of an advertiser's list, of any age.
func ListSegment(advertiser, list string) rtb.SegmentID {
	return newRule(advertiser, memberEvent, rtb.Currency{}, []*condition{memberCondition("list", "eq", list)}).id
}

// segment completes a leaf with the segment of its rule.
func (c *compiler) segment(n node, rule *rule, at place) node {
	if len(c.Problems) > 0 {
		return n // the canonical texts of invalid rules are meaningless
	}
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
	if at.exclude {
		longest, want = maxTTL, "at most "+maxTTL.String()
	}
	c.bounds(r, n, at, c.spec.TTL, longest, want)
}

// bounds checks the two ends of a window.
func (c *compiler) bounds(r *Rule, n *node, at place, standard, longest spec.Duration, want string) {
	within := r.Within
	if within == 0 {
		within = standard
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

// conditions compiles the conditions about an event, or about a member of a list.
func (c *compiler) conditions(where []Condition, at place, member bool) []*condition {
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
		if is := n.def.kind == memberText; is != member {
			want := map[bool]string{true: "trait.<name> in the rule of a list", false: "a field of the event; traits are those of a list: {list: \"*\", where: [...]}"}[member]
			c.Add(spec.At(at.path+".where", i)+".field", spec.Quote(w.Field), want)
			continue
		}
		out = append(out, n)
	}
	return out
}
