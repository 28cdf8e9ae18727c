package events

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// rulesOf returns rules of a number of bytes in total, with characters that JSON escapes.
func rulesOf(total int) (rules []string) {
	for n := 0; n < total; {
		r := fmt.Sprintf("rule %d %s", len(rules), strings.Repeat(`"x`, 500+len(rules)%700))
		rules, n = append(rules, r), n+len(r)
	}
	return rules
}

func TestSplitFits(t *testing.T) {
	for _, total := range []int{0, 10, 300 << 10, 5 << 20} {
		c := Config{Hash: "h", ActivatedAt: time.Unix(1, 2), Rules: rulesOf(total)}
		parts := c.Split()
		var got []string
		for i := range parts {
			got = append(got, parts[i].Rules...)
			body, err := AppendBody(nil, &Fact{ID: "x", Kind: KindConfig, Config: &parts[i]})
			if err != nil || len(body) > 1000<<10 {
				t.Errorf("part %d of %d of %d bytes of rules has %d bytes (%v)", i+1, len(parts), total, len(body), err)
			}
		}
		if !slices.Equal(got, c.Rules) || (len(parts) > 1) != (total > 500<<10) || len(parts) == 1 && parts[0].Parts != 0 {
			t.Errorf("%d bytes of rules: %d parts with %d rules; want all %d rules, and several parts only if one is not enough", total, len(parts), len(got), len(c.Rules))
		}
	}
}

// TestConfigParts adds the parts of two nodes in random orders, with repetitions: each
// configuration is complete once, with the rules in order.
func TestConfigParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		type add struct {
			node string
			c    Config
		}
		var all []add
		rules := map[string][]string{"a": rulesOf(2 << 20), "b": rulesOf(1 << 20)}
		for node, list := range rules {
			c := Config{Hash: "h", ActivatedAt: time.Unix(5, 0), Rules: list}
			for _, part := range c.Split() {
				all = append(all, add{node, part})
			}
		}
		all = append(all, all[r.IntN(len(all))])
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var p ConfigParts
		done := map[string]int{}
		for _, x := range all {
			if got, ok := p.Add(x.node, &x.c); ok {
				done[x.node]++
				if !slices.Equal(got, rules[x.node]) {
					t.Fatalf("node %s: got %d rules; want %d in order", x.node, len(got), len(rules[x.node]))
				}
			}
		}
		if done["a"] != 1 || done["b"] != 1 {
			t.Fatalf("completed %v; want each once", done)
		}
	}
}

// TestConfigPartsGivenUp starts a configuration that never becomes complete: the node's
// next one replaces it, and late parts of it do not complete that one.
func TestConfigPartsGivenUp(t *testing.T) {
	c := Config{Hash: "h", ActivatedAt: time.Unix(5, 0), Rules: rulesOf(1 << 20)}
	parts := c.Split()
	var p ConfigParts
	if _, ok := p.Add("n1", &parts[0]); ok || len(p.Open) != 1 {
		t.Fatal("the first part of several is complete")
	}
	next := Config{Hash: "i", ActivatedAt: time.Unix(6, 0), Rules: []string{"x"}}
	if got, ok := p.Add("n1", &next); !ok || !slices.Equal(got, next.Rules) || len(p.Open) != 0 {
		t.Fatalf("a configuration of one fact: got %v, %v with %d open; want its rules and none open", got, ok, len(p.Open))
	}
	for _, bad := range []Config{{Part: 3, Parts: 2, Rules: []string{"x"}}, {Part: 0, Parts: 2, Rules: []string{"x"}}, {Part: 1, Parts: 1 << 30, Rules: []string{"x"}}, {Part: 1, Parts: 2}} {
		if _, ok := p.Add("n1", &bad); ok || len(p.Open) != 0 {
			t.Errorf("part %d of %d was accepted", bad.Part, bad.Parts)
		}
	}
}
