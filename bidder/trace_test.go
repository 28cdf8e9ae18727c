package bidder_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
