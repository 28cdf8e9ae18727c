package bidder_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"rebound/rtb"
)

// A trace reads more of a request, but the decision is the same: identifiers of sources that
// are not listed take no room from those that are.
func TestATraceFindsTheSameVisitor(t *testing.T) {
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format+",", i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	const listed = `{"source":"id5-sync.com","uids":[{"id":"ID5-abc"}]}`
	for name, others := range map[string]string{
		"none":          `{"source":"other.example","uids":[]}`,
		"one source":    `{"source":"other.example","uids":[` + many(100, `{"id":"%d"}`) + `]}`,
		"many sources":  many(150, `{"source":"other%d.example","uids":[{"id":"z"}]}`),
		"no identifier": many(150, `{"source":"id5-sync.com","n":%d}`),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, &scenario{
				Config:   map[string]any{"identity": map[string]any{"eids": []any{map[string]any{"source": "id5-sync.com"}}}},
				Visitors: []seed{{Event: "view_item", Ago: time.Hour}, {Link: "eid:id5-sync.com", Value: "ID5-abc"}},
			})
			c := call{Request: `{"user":{"id":null,"buyeruid":null,"eids":[` + others + `,` + listed + `]}}`}
			x := w.explain(&c)
			w.send(&c)
			if w.reason != rtb.NoBidNone || x.NoBid != w.reason {
				t.Errorf("got %q, explained as %q; want a bid", w.reason, x.NoBid)
			}
			if x.Matched == nil || x.Matched.Identifier != "eid id5-sync.com" {
				t.Errorf("explanation: got %+v; want the visitor found by id5-sync.com", x.Matched)
			}
			kinds := strings.Join(x.Read.Kinds, ", ")
			if !strings.HasPrefix(kinds, "eid id5-sync.com") || strings.Contains(others, `"id":`) && !strings.Contains(kinds, "eid other") {
				t.Errorf("explanation: got the identifiers %s; want the listed source, then the others", kinds)
			}
		})
	}
}

// A trace reads all parts of a request, a decision only those that a line asks for. Every
// rule that compares one of them must decide the same.
func TestEveryRuleAsksForItsParts(t *testing.T) {
	for rule, x := range map[string]struct {
		parts   rtb.Parts
		refuses bool // requests that match
	}{
		`line: {keywords: {any: [trail]}}`:                                                            {rtb.PartKeywords, false},
		`line: {keywords: {none: [trail]}}`:                                                           {rtb.PartKeywords, true},
		`line: {request_segments: [{ids: [vip]}]}`:                                                    {rtb.PartSegments, false},
		`line: {safety: {block_cat: [IAB19]}}`:                                                        {rtb.PartCategories, true},
		`campaign: {safety: {block_cat: [IAB19]}}`:                                                    {rtb.PartCategories, true},
		`advertiser: {safety: {block_cat: [IAB19]}}`:                                                  {rtb.PartCategories, true},
		`line: {device: {browsers: [samsung]}}`:                                                       {rtb.PartBrowser, false},
		`audience: {include: {event: null, all: [{event: view_item}, {request.keyword: trail}]}}`:     {rtb.PartKeywords, false},
		`audience: {include: {event: null, all: [{event: view_item}, {request.segment: {id: vip}}]}}`: {rtb.PartSegments, false},
		`audience: {include: {event: null, all: [{event: view_item}, {request.cat: IAB19}]}}`:         {rtb.PartCategories, false},
		`audience: {exclude: {request.keyword: trail}}`:                                               {rtb.PartKeywords, true},
		`audience: {exclude: {request.segment: {id: vip}}}`:                                           {rtb.PartSegments, true},
		`audience: {exclude: {request.cat: IAB19}}`:                                                   {rtb.PartCategories, true},
	} {
		t.Run(rule, func(t *testing.T) {
			var sc scenario
			if err := yaml.Unmarshal([]byte(rule), &sc); err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, &sc)
			if got := w.snapshot.Index.Parts(); got != x.parts {
				t.Errorf("got parts %04b; want %04b", got, x.parts)
			}
			for matches, values := range map[bool][4]string{true: {"trail", "vip", "IAB19-1", "Samsung Internet"}, false: {"boots", "other", "IAB1", "Google Chrome"}} {
				c := call{Request: fmt.Sprintf(`{"id":"%v","site":{"keywords":"%s","cat":["%s"]},"user":{"data":[{"name":"p","segment":[{"id":"%s"}]}]},
				 "device":{"sua":{"browsers":[{"brand":"%s","version":["1"]}]}}}`, matches, values[0], values[2], values[1], values[3])}
				all := w.explain(&c)
				w.send(&c)
				if all.NoBid != w.reason || (w.reason == rtb.NoBidNone) == (matches == x.refuses) {
					t.Errorf("a request that matches, %v: got %q, with all parts %q; want a bid: %v", matches, w.reason, all.NoBid, matches != x.refuses)
				}
			}
		})
	}
}
