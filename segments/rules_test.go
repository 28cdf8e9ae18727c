package segments

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/internal/spec"
	"rebound/rtb"
)

// The test in this file compares compiled rules over folded profiles with the plain meaning
// of the rules over the raw facts.

var eur = rtb.Currency{'E', 'U', 'R'}

// ruleMaker makes random rules with short windows, so that their borders are met.
type ruleMaker struct{ *rand.Rand }

func (m ruleMaker) rule(depth int, exclude bool) audiences.Rule {
	if depth > 0 && m.IntN(2) > 0 {
		kids := make([]audiences.Rule, 1+m.IntN(3))
		for i := range kids {
			kids[i] = m.rule(depth-1, exclude)
		}
		if m.IntN(2) == 0 {
			return audiences.Rule{All: kids}
		}
		return audiences.Rule{Any: kids}
	}
	switch m.IntN(12) {
	case 0, 1:
		return m.list()
	case 2:
		return audiences.Rule{RequestGeo: audiences.Values{pick(m, "DE", "FR")}}
	case 3:
		return audiences.Rule{RequestKeyword: audiences.Values{pick(m, "shoes", "hats")}}
	}
	return m.leaf(exclude)
}

func (m ruleMaker) list() audiences.Rule {
	r := audiences.Rule{List: pick(m, "l1", "l2", "*")}
	if m.IntN(2) == 0 {
		r.Where = []audiences.Condition{{Field: "trait.tier", Op: pick(m, "eq", "neq"), Value: audiences.Values{"gold"}}}
	}
	if m.IntN(3) == 0 {
		r.Within = spec.Duration(time.Duration(1+m.IntN(20)) * 24 * time.Hour)
	}
	return r
}

func (m ruleMaker) leaf(exclude bool) audiences.Rule {
	r := audiences.Rule{Event: pick(m, "a", "b", "purchase", "*"), MinCount: m.IntN(4)}
	if m.IntN(2) == 0 {
		r.Within = spec.Duration(time.Duration(1+m.IntN(20*24)) * time.Hour)
	}
	if m.IntN(3) == 0 {
		r.NotWithin = spec.Duration(time.Duration(m.IntN(60)) * time.Minute)
	}
	if m.IntN(4) == 0 {
		r.MinValue = rtb.Micros(1+m.IntN(100)) * 1e6
	}
	if exclude && m.IntN(2) == 0 {
		r.After = "include"
	}
	for range m.IntN(3) {
		r.Where = append(r.Where, []audiences.Condition{
			{Field: "q", Value: audiences.Values{pick(m, "x", "y")}},
			{Field: "q", Op: "neq", Value: audiences.Values{"x"}},
			{Field: "value", Op: "gt", Value: audiences.Values{"20"}},
			{Field: "utm.campaign", Op: "exists"},
			{Field: "item.category", Op: "under", Value: audiences.Values{"shoes"}},
			{Field: "item.price", Op: "lte", Value: audiences.Values{"10"}},
			{Field: "url.path", Op: "prefix", Value: audiences.Values{"/p/"}},
		}[m.IntN(7)])
	}
	return r
}

func pick[T any](m ruleMaker, list ...T) T { return list[m.IntN(len(list))] }

// plain is the meaning of rules over raw facts.
type plain struct {
	facts   []events.Fact
	specs   map[string]audiences.Spec
	visitor rtb.Key
	key     rtb.Key // an identifier of the visitor
	now     int64
	request *audiences.Request
}

func (p *plain) audience(id string) (in bool, last int64) {
	s := p.specs[id]
	ok, last := p.rule(s.Include, s.TTL, 0)
	if !ok {
		return false, 0
	}
	if s.Exclude.All != nil || s.Exclude.Any != nil || s.Exclude.Event != "" || s.Exclude.List != "" || s.Exclude.RequestGeo != nil || s.Exclude.RequestKeyword != nil {
		if out, _ := p.rule(s.Exclude, s.TTL, last); out {
			return false, 0
		}
	}
	return true, last
}

func (p *plain) rule(r audiences.Rule, ttl spec.Duration, after int64) (bool, int64) {
	switch {
	case r.Event != "":
		return p.leaf(r, ttl, after)
	case r.List != "":
		return p.onList(r)
	case r.Audience != "":
		return p.audience(r.Audience)
	case r.RequestGeo != nil:
		return string(p.request.Opportunity.Device.Country) == r.RequestGeo[0], p.now
	case r.RequestKeyword != nil:
		return string(p.request.Opportunity.Keywords[0]) == r.RequestKeyword[0], p.now
	}
	trues, last := 0, int64(0)
	kids := append(slices.Clone(r.All), r.Any...)
	for _, k := range kids {
		if ok, l := p.rule(k, ttl, after); ok {
			trues++
			last = max(last, l)
		}
	}
	if trues == len(kids) || r.Any != nil && trues > 0 {
		return true, last
	}
	return false, 0
}

func (p *plain) leaf(r audiences.Rule, ttl spec.Duration, after int64) (bool, int64) {
	within := ttl
	if r.Within != 0 {
		within = r.Within
	}
	from := p.now - int64(time.Duration(within).Seconds())
	if r.After == "include" {
		from = max(from, after)
	}
	count, last, value, fresh := 0, int64(0), rtb.Micros(0), false
	seen := map[string]bool{}
	for i := range p.facts {
		f := &p.facts[i]
		if f.Kind != events.KindEvent || f.Advertiser != "shop" || f.Visitor != p.visitor {
			continue
		}
		if f.EventID != "" {
			if seen[f.Event.Name+f.EventID] {
				continue
			}
			seen[f.Event.Name+f.EventID] = true
		}
		if r.Event != "*" && f.Event.Name != r.Event || !meets(f.Event, r.Where) {
			continue
		}
		at := f.At.Unix()
		last = max(last, at)
		if r.NotWithin > 0 && at > p.now-int64(time.Duration(r.NotWithin).Seconds()) {
			fresh = true
		}
		if at >= from {
			count++
		}
		if at >= from-from%86400 && f.Currency == eur {
			value += f.Event.Value
		}
	}
	if count < max(r.MinCount, 1) || fresh || r.MinValue > 0 && value < r.MinValue {
		return false, 0
	}
	return true, last
}

// meets evaluates the conditions that ruleMaker makes.
func meets(e *events.Event, where []audiences.Condition) bool {
	onItem := []audiences.Condition{}
	for _, c := range where {
		ok := true
		switch c.Field {
		case "q":
			ok = (e.Query == c.Value[0]) != (c.Op == "neq")
		case "value":
			ok = e.Value > 20e6
		case "utm.campaign":
			_, ok = e.UTM["campaign"]
		case "url.path":
			ok = e.URL != nil && strings.HasPrefix(e.URL.Path, "/p/")
		default:
			onItem = append(onItem, c)
		}
		if !ok {
			return false
		}
	}
	if len(onItem) == 0 {
		return true
	}
	return slices.ContainsFunc(e.Items, func(it events.Item) bool {
		return !slices.ContainsFunc(onItem, func(c audiences.Condition) bool {
			if c.Field == "item.price" {
				return it.Price == 0 || it.Price > 10e6
			}
			return it.Category != "Shoes" && !strings.HasPrefix(it.Category, "Shoes > ")
		})
	})
}

type plainRow struct {
	at   int64
	tier string
}

// onList replays the facts about lists.
func (p *plain) onList(r audiences.Rule) (bool, int64) {
	in, staged := map[string]map[rtb.Key]plainRow{}, map[rtb.Key]plainRow{}
	action := ""
	for i := range p.facts {
		f := &p.facts[i]
		if f.Kind != events.KindList {
			continue
		}
		v := f.List
		if in[v.List] == nil {
			in[v.List] = map[rtb.Key]plainRow{}
		}
		switch v.Mode {
		case events.ListBegin:
			action = v.Action
			clear(staged)
		case events.ListRow:
			row := plainRow{f.At.Unix(), v.Traits["tier"]}
			switch k := f.Keys[0].Key; action {
			case events.ListAppend:
				in[v.List][k] = row
			case events.ListRemove:
				delete(in[v.List], k)
			case events.ListReplace:
				staged[k] = row
			}
		case events.ListCommit:
			if action == events.ListReplace {
				in[v.List] = map[rtb.Key]plainRow{}
				for k, row := range staged {
					in[v.List][k] = row
				}
			}
		}
	}
	ok, last := false, int64(0)
	for list, rows := range in {
		row, on := rows[p.key]
		within := int64(540 * 86400)
		if r.Within != 0 {
			within = int64(time.Duration(r.Within).Seconds())
		}
		if !on || r.List != "*" && r.List != list || row.at < p.now-within || row.at+listTTL <= p.now {
			continue
		}
		if len(r.Where) > 0 && (row.tier == "gold") == (r.Where[0].Op == "neq") {
			continue
		}
		ok, last = true, max(last, row.at)
	}
	return ok, last
}

const listTTL = 25 * 86400

// historyMaker makes random facts about a few visitors and lists.
type historyMaker struct {
	ruleMaker
	l        *log
	visitors []rtb.Key
	keys     []rtb.Key
	linked   []bool
}

func (h *historyMaker) step() {
	h.l.now = h.l.now.Add(time.Duration(1+h.IntN(6*3600)) * time.Second)
	n := h.IntN(len(h.visitors))
	switch h.IntN(14) {
	case 0:
		h.upload(pick(h.ruleMaker, "l1", "l2"))
	case 1:
		h.link(n)
	default:
		h.event(n)
	}
}

func (h *historyMaker) link(n int) {
	h.linked[n] = true
	h.l.add(events.Fact{Kind: events.KindLink, Advertiser: "shop", Visitor: h.visitors[n],
		Link: &events.Link{LinkKey: events.LinkKey{KeyKind: "em", Key: h.keys[n]}}})
}

func (h *historyMaker) event(n int) {
	e := &events.Event{Name: pick(h.ruleMaker, "a", "b", "purchase"), Query: pick(h.ruleMaker, "", "x", "y")}
	f := events.Fact{Kind: events.KindEvent, Advertiser: "shop", Visitor: h.visitors[n], Event: e, At: h.l.now}
	if h.IntN(3) == 0 {
		e.EventID = fmt.Sprint(h.l.seq - uint64(h.IntN(2))) // sometimes that of another event
	}
	if h.IntN(2) == 0 {
		e.Value, f.Currency = rtb.Micros(h.IntN(60))*1e6, pick(h.ruleMaker, eur, eur, rtb.USD)
	}
	if h.IntN(2) == 0 {
		e.UTM = map[string]string{"campaign": "q4"}
	}
	if h.IntN(2) == 0 {
		e.URL = &events.URL{Host: "shop.example", Path: pick(h.ruleMaker, "/p/1", "/cart")}
	}
	for range h.IntN(3) {
		e.Items = append(e.Items, events.Item{ID: pick(h.ruleMaker, "s1", "s2"), Category: pick(h.ruleMaker, "Shoes", "Shoes > Trail", "Socks"), Price: rtb.Micros(h.IntN(20)) * 1e6})
	}
	if h.IntN(4) == 0 {
		f.At = h.l.now.Add(-time.Duration(h.IntN(15*86400)) * time.Second) // reported late
	}
	if h.IntN(20) == 0 {
		f.Advertiser = "other"
	}
	h.l.add(f)
}

func (h *historyMaker) upload(list string) {
	job := fmt.Sprint("j", h.l.seq)
	add := func(v events.List, keys ...events.LinkKey) {
		v.List, v.Job = list, job
		h.l.add(events.Fact{Kind: events.KindList, Advertiser: "shop", Keys: keys, List: &v})
	}
	add(events.List{Mode: events.ListDefine, Norm: "std", Purpose: "target", TTL: listTTL})
	add(events.List{Mode: events.ListBegin, Action: pick(h.ruleMaker, events.ListAppend, events.ListReplace, events.ListRemove)})
	for _, k := range h.keys {
		if h.IntN(2) == 0 {
			add(events.List{Mode: events.ListRow, Traits: map[string]string{"tier": pick(h.ruleMaker, "gold", "tin")}}, events.LinkKey{KeyKind: "em", Key: k})
		}
	}
	add(events.List{Mode: pick(h.ruleMaker, events.ListCommit, events.ListCommit, events.ListAbort)})
}

// memLog is a log that a rebuild can read.
func memLog(facts []events.Fact) Source {
	return func(_ context.Context, after events.Position, upTo uint64, fn func([]events.Fact) error) error {
		for _, f := range facts {
			if f.Seq > after.Seq && f.Seq <= upTo {
				if err := fn([]events.Fact{f}); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// TestProgramsAreTheMeaningOfTheRules compares, in 10,000 cases, the compiled programs over
// folded profiles with the plain meaning of the rules over the raw facts: for rules that
// were there from the beginning before a rebuild, and for rules that came later after it.
func TestProgramsAreTheMeaningOfTheRules(t *testing.T) {
	const rounds, rules, visitors = 50, 20, 10
	verdicts := map[string]int{}
	for round := range rounds {
		m := ruleMaker{rand.New(rand.NewPCG(7, uint64(round)))}
		specs := map[string]audiences.Spec{}
		var first, all []audiences.Spec
		for i := range rules {
			s := audiences.Spec{ID: fmt.Sprint("r", i), TTL: spec.Duration(30 * 24 * time.Hour), Currency: eur, Include: m.rule(2, false)}
			if m.IntN(2) == 0 {
				s.Exclude = m.rule(1, true)
			}
			if i > 0 && m.IntN(5) == 0 {
				s.Include = audiences.Rule{All: []audiences.Rule{s.Include, {Audience: fmt.Sprint("r", m.IntN(i))}}}
			}
			specs[s.ID] = s
			if all = append(all, s); i < rules/2 {
				first = append(first, s)
			}
		}
		set := compileRules(t, all)
		h := &historyMaker{ruleMaker: m, l: &log{now: start}, linked: make([]bool, visitors)}
		for i := range visitors {
			h.visitors = append(h.visitors, visitorOf(fmt.Sprint("v", i)))
			h.keys = append(h.keys, keyOf(rtb.IDEmail, "shop", fmt.Sprint("v", i)))
		}
		activate := func(s *audiences.Set) {
			h.l.add(events.Fact{Kind: events.KindConfig, Config: &events.Config{Hash: "h", Rules: s.Rules()}})
		}
		activate(compileRules(t, first))
		for range 150 {
			h.step()
		}
		activate(set)
		for range 50 {
			h.step()
		}
		for i := range visitors { // everybody is known in the end
			h.link(i)
		}
		facts := h.l.take()
		for i := range facts {
			facts[i].LineHash = events.Hash{byte(facts[i].Seq), byte(facts[i].Seq >> 8)}
		}
		s := inMemory(t)
		for from := 0; from < len(facts); {
			n := min(len(facts)-from, 1+m.IntN(60))
			apply(t, s, facts[from:from+n])
			from += n
		}
		now := h.l.now.Add(time.Duration(m.IntN(7200)) * time.Second)
		check := func(when string, list []audiences.Spec) {
			for i := range visitors {
				v := profile(t, s, h.visitors[i])
				o := &rtb.Opportunity{Keywords: [][]byte{[]byte(pick(m, "shoes", "hats"))}, UserKeywords: 1}
				o.Device.Country = []byte(pick(m, "DE", "FR"))
				p := &plain{facts: facts, specs: specs, visitor: h.visitors[i], key: h.keys[i], now: now.Unix(), request: &audiences.Request{Opportunity: o, User: true}}
				for _, a := range list {
					want, last := p.audience(a.ID)
					got := set.Audience(a.ID).EvalRequest(v, p.request, now, audiences.Window{})
					if got.In != want || want && int64(got.Last) != last {
						t.Fatalf("round %d, visitor %d, %s: got %+v; want in %v, last %d\n%+v", round, i, when, got, want, last, a)
					}
					verdicts[fmt.Sprint(when, " ", want)]++
				}
			}
		}
		check("before a rebuild", first)
		if len(s.Pending()) == 0 {
			t.Fatal("no rule is pending")
		}
		if _, err := s.Rebuild(t.Context(), RebuildOptions{Rules: s.Pending(), Read: memLog(facts)}); err != nil {
			t.Fatal(err)
		}
		if len(s.Pending()) > 0 {
			t.Fatalf("still pending: %v", s.Pending())
		}
		check("after a rebuild", all)
		s.Close()
	}
	t.Log(verdicts)
	if verdicts["before a rebuild true"] < 1000 || verdicts["after a rebuild true"] < 2000 || verdicts["after a rebuild false"] < 2000 {
		t.Errorf("the cases do not cover the verdicts: %v", verdicts)
	}
}

func compileRules(t *testing.T, list []audiences.Spec) *audiences.Set {
	t.Helper()
	set, problems := audiences.Compile(slices.Clone(list), []string{"shop"})
	if len(problems) > 0 {
		t.Fatalf("%v", problems)
	}
	return set
}
