package audiences

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Limits of a configuration.
const (
	MaxAudiences = 1000 // of one advertiser
	MaxLeaves    = 64   // of one audience
	maxCost      = 1024 // leaves of one audience, including those of the audiences that it refers to
	maxDepth     = 4    // of nested all and any
	defaultTTL   = 30 * day
	minTTL       = spec.Duration(time.Hour)
	maxTTL       = 540 * day
)

// Compile compiles specs into a Set, or returns every problem. advertisers are
// the known ids. If there is exactly one, it owns every audience that names no
// advertiser.
func Compile(specs []Spec, advertisers []string) (*Set, spec.Problems) {
	c := &compiler{
		advertisers: advertisers,
		byID:        map[string]int{},
		state:       make([]state, len(specs)),
		set:         &Set{programs: map[string]*Program{}, rules: map[rtb.SegmentID]string{}},
	}
	for _, s := range specs {
		c.specs = append(c.specs, c.owned(s))
	}
	c.index()
	for i := range c.specs {
		c.audience(i)
	}
	if len(c.Problems) > 0 {
		return nil, c.Problems
	}
	return c.set, nil
}

type state uint8

const (
	waiting state = iota
	compiling
	done
)

type compiler struct {
	specs       []Spec
	advertisers []string
	byID        map[string]int
	state       []state
	set         *Set
	spec.Report

	// Of the audience that is being compiled:
	spec   *Spec
	leaves int
	cost   int
}

func (c *compiler) owned(s Spec) Spec {
	if s.Advertiser == "" && len(c.advertisers) == 1 {
		s.Advertiser = c.advertisers[0]
	}
	return s
}

// index checks ids and owners, and records ids so that references can be
// resolved.
func (c *compiler) index() {
	owned := map[string]int{}
	for i := range c.specs {
		s, at := &c.specs[i], spec.At("", i)
		c.ID(at+".id", s.ID)
		if first, ok := c.byID[s.ID]; ok {
			c.Add(at+".id", spec.Quote(s.ID)+" again", fmt.Sprintf("an id that no other audience has; audiences[%d] has it", first))
		} else {
			c.byID[s.ID] = i
		}
		c.Known(at+".advertiser", s.Advertiser, "an advertiser", c.advertisers)
		if owned[s.Advertiser]++; owned[s.Advertiser] == MaxAudiences+1 {
			c.Add(at, "more than "+strconv.Itoa(MaxAudiences)+" audiences of "+s.Advertiser, "at most "+strconv.Itoa(MaxAudiences))
		}
	}
}

// audience compiles one audience, after those that it refers to. It returns nil
// if the audience is part of a cycle.
func (c *compiler) audience(i int) *Program {
	if c.state[i] == compiling {
		return nil
	}
	if c.state[i] == done {
		return c.set.programs[c.specs[i].ID]
	}
	c.state[i] = compiling
	outer, leaves, cost := c.spec, c.leaves, c.cost
	s := c.withRecipe(i)
	c.spec, c.leaves, c.cost = &s, 0, 0
	p := c.program(&s, spec.At("", i))
	c.spec, c.leaves, c.cost = outer, leaves, cost
	c.state[i] = done
	if c.byID[s.ID] == i {
		c.set.programs[s.ID] = p
	}
	return p
}

func (c *compiler) withRecipe(i int) Spec {
	s, at := c.specs[i], spec.At("", i)
	if s.Recipe != "" {
		r, ok := recipes[s.Recipe]
		if !ok {
			c.OneOf(at+".recipe", s.Recipe, Recipes())
		}
		if !s.Include.empty() {
			c.Add(at+".include", "both include and recipe", "one of them")
		}
		if ok {
			c.checkWith(at, s.Recipe, &r, &s.With)
		}
		s = r.apply(s)
		if !ok || s.Include.empty() { // reported above
			s.Include = Rule{Event: anyEvent}
		}
	} else if given := s.With.given(); len(given) > 0 {
		c.Add(at+".with", "parameters without a recipe", "a recipe")
	}
	if s.TTL == 0 {
		s.TTL = defaultTTL
	}
	if s.TTL < minTTL || s.TTL > maxTTL {
		c.Add(at+".ttl", s.TTL.String(), minTTL.String()+" to "+maxTTL.String())
	}
	return s
}

func (c *compiler) program(s *Spec, at string) *Program {
	p := &Program{id: s.ID, advertiser: s.Advertiser, name: s.Name, recipe: s.Recipe}
	if s.Include.empty() {
		c.Add(at+".include", "nothing", "a rule or a recipe")
		return p
	}
	p.include = c.node(&s.Include, place{path: at + ".include"})
	if !s.Exclude.empty() {
		n := c.node(&s.Exclude, place{path: at + ".exclude", exclude: true})
		p.exclude = &n
	}
	p.triggers, _ = p.include.triggers()
	p.cost = c.cost
	if c.leaves > MaxLeaves {
		c.Add(at, strconv.Itoa(c.leaves)+" leaves", "at most "+strconv.Itoa(MaxLeaves))
	}
	if c.cost > maxCost {
		c.Add(at, strconv.Itoa(c.cost)+" leaves, including those of the audiences that it refers to", "at most "+strconv.Itoa(maxCost))
	}
	return p
}

// place is the position of the compiler in a rule.
type place struct {
	path    string
	exclude bool
	depth   int
}

func (p place) child(list string, i int) place {
	p.path += "." + list + "[" + strconv.Itoa(i) + "]"
	p.depth++
	return p
}

// node compiles one node of a rule.
func (c *compiler) node(r *Rule, at place) node {
	set := 0
	for _, is := range []bool{r.All != nil, r.Any != nil, r.Event != "", r.Audience != "", r.List != "", r.RequestKeyword != nil,
		!r.RequestSegment.empty(), r.RequestGeo != nil, r.RequestCat != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		c.Add(at.path, strconv.Itoa(set)+" of all, any, event, list, audience, request.keyword, request.segment, request.geo and request.cat", "exactly one of them")
		return node{}
	}
	switch {
	case r.Event != "":
		return c.leaf(r, at)
	case r.List != "":
		return c.list(r, at)
	}
	if r.Within != 0 || r.NotWithin != 0 || r.MinCount != 0 || r.MinValue != 0 || r.Where != nil || r.After != "" {
		c.Add(at.path, "within, not_within, min_count, min_value, where or after without event", "these fields only with event, and where and the windows also with list")
	}
	switch {
	case r.Audience != "":
		return c.reference(r.Audience, at)
	case r.All == nil && r.Any == nil:
		return c.request(r, at)
	}
	kind, list, kids := nodeAll, "all", r.All
	if r.Any != nil {
		kind, list, kids = nodeAny, "any", r.Any
	}
	if len(kids) == 0 || at.depth >= maxDepth {
		c.Add(at.path+"."+list, fmt.Sprintf("%d rules at depth %d", len(kids), at.depth+1), fmt.Sprintf("at least one rule, at a depth of at most %d", maxDepth))
		return node{}
	}
	n := node{kind: kind}
	for i := range kids {
		n.kids = append(n.kids, c.node(&kids[i], at.child(list, i)))
	}
	return n
}

// reference compiles a rule that refers to another audience.
func (c *compiler) reference(id string, at place) node {
	i, ok := c.byID[id]
	if !ok {
		spec.KnownIn(&c.Report, at.path+".audience", id, "an audience", c.byID)
		return node{}
	}
	if c.specs[i].Advertiser != c.spec.Advertiser {
		c.Add(at.path+".audience", spec.Quote(id), "an audience of the same advertiser")
		return node{}
	}
	p := c.audience(i)
	if p == nil {
		c.Add(at.path+".audience", spec.Quote(id), "an audience that does not refer back to this one")
		return node{}
	}
	c.cost += p.cost
	return node{kind: nodeAudience, audience: p}
}

// triggers returns segments of which a visitor must have at least one for the
// node to be true: those of every child of any, and those of the child of all
// that has the fewest. bound is false if the node can be true without any segment,
// because of a leaf about the request.
func (n *node) triggers() (out []rtb.SegmentID, bound bool) {
	switch n.kind {
	case nodeLeaf:
		return []rtb.SegmentID{n.segment}, true
	case nodeAudience:
		return n.audience.triggers, len(n.audience.triggers) > 0
	case nodeAny:
		for i := range n.kids {
			t, ok := n.kids[i].triggers()
			if !ok {
				return nil, false
			}
			out = append(out, t...)
		}
		bound = true
	case nodeAll:
		for i := range n.kids {
			if t, ok := n.kids[i].triggers(); ok && (!bound || len(t) < len(out)) {
				out, bound = t, true
			}
		}
	}
	out = slices.Clone(out)
	slices.Sort(out)
	return slices.Compact(out), bound
}
