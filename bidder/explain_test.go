package bidder_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"rebound/bidder"
	"rebound/internal/explain"
	"rebound/internal/lab"
	"rebound/loadtest/scale"
	"rebound/rtb"
)

// unexplained are the reasons that a dry run cannot have: the handler gives them before a
// request is decided, or nothing gives them at present, or no scenario can bring them
// about.
var unexplained = map[rtb.NoBidReason]string{
	rtb.NoBidUnauthorised: "before the decision",
	rtb.NoBidThrottled:    "before the decision",
	rtb.NoBidOverloaded:   "before the decision",
	rtb.NoBidTestIgnored:  "tests are answered",
}

// TestExplain explains every request of every scenario before it is sent. The explanation
// has the reason that the live request is counted under, and one for each reason is
// compared with a golden file: go test ./bidder -run TestExplain -update writes them.
func TestExplain(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	g := explained{t: t, texts: map[rtb.NoBidReason]string{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, sc := range parseScenarios(t, text) {
			w := newWorld(t, &sc)
			g.watch(w, file+": "+sc.Description)
			sc.play(w)
		}
	}
	g.reach()
	if g.requests < 500 {
		t.Errorf("got %d explained requests; want those of all scenarios", g.requests)
	}
	for r := rtb.NoBidNone; r < rtb.NoBidReasons; r++ {
		if unexplained[r] == "" {
			golden(t, r, g.texts[r])
		}
	}
}

// explained are the explanations of a test.
type explained struct {
	t        *testing.T
	texts    map[rtb.NoBidReason]string // the first one for each reason
	requests int
}

// watch explains every request of a world before it is sent.
func (g *explained) watch(w *world, where string) {
	var x *explain.Explanation
	w.before = func(c *call) { x = w.explain(c) }
	w.after = func(c *call) {
		copied := w.records.last == nil && w.reason == rtb.NoBidNone // of an earlier response
		if x == nil || copied || unexplained[w.reason] != "" {
			return
		}
		if g.requests++; x.NoBid != w.reason {
			g.t.Errorf("%s: explained as %q, counted under %q\n%s%s", where, x.NoBid, w.reason, c.Request, c.Imp)
		}
		if _, ok := g.texts[x.NoBid]; !ok {
			var b bytes.Buffer
			x.Write(&b)
			g.texts[x.NoBid] = b.String()
		}
	}
}

// reach brings about the reasons that no scenario has.
func (g *explained) reach() {
	for _, x := range []struct {
		reason rtb.NoBidReason
		sc     scenario
		imp    string
		step   func(w *world) // before each request
	}{
		{rtb.NoBidBlind, scenario{}, "", func(w *world) { w.pacer.SetBlind(true) }},
		{rtb.NoBidInFlight, scenario{Line: map[string]any{"min_gap": "1m"}}, "", nil},
		{rtb.NoBidGrant, scenario{}, "", nil},
		{rtb.NoBidSameImpression, scenario{}, `{"tagid":"/1234/top"}`, nil},
		{rtb.NoBidError, scenario{}, "", (*world).breakBudgets},
		{rtb.NoBidPaced, scenario{Campaign: map[string]any{"budget": map[string]any{"daily": 0.05, "pacing": "even"}}}, `{"bidfloor":1.9}`, func(w *world) {
			w.now = w.now.Add(time.Minute)
			w.tick()
		}},
	} {
		w := newWorld(g.t, &x.sc)
		g.watch(w, x.reason.String())
		for n := 0; w.reason != x.reason; n++ {
			if n == 20_000 {
				g.t.Errorf("%s: not reached", x.reason)
				break
			}
			if x.step != nil {
				x.step(w)
			}
			c := call{Request: fmt.Sprintf(`{"id":"%s-%d"}`, x.reason, n), Imp: x.imp}
			w.before(&c)
			w.send(&c)
			w.after(&c)
		}
	}
	for _, r := range []rtb.NoBidReason{rtb.NoBidPaced, rtb.NoBidGrant} { // when they come depends on pacing
		g.texts[r] = numbers.ReplaceAllString(g.texts[r], "#")
	}
}

var numbers = regexp.MustCompile(`[0-9][0-9.]*`)

// breakBudgets makes pacing panic.
func (w *world) breakBudgets() {
	l, err := lab.Open(lab.Options{Config: w.snapshot, Now: func() time.Time { return w.now }, Name: "broken", Node: "n1", Visitors: w.segments, Links: w.signer,
		Adjust: func(o *bidder.Options) { o.Budgets = explosive{o.Budgets} }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	w.bidder = l.Bidder
}

// golden compares an explanation with the file of its reason.
func golden(t *testing.T, r rtb.NoBidReason, got string) {
	t.Helper()
	name := r.String()
	if r == rtb.NoBidNone {
		name = "bid"
	}
	file := filepath.Join("testdata", "explain", name+".txt")
	if got == "" {
		t.Errorf("%s: no scenario has it", name)
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// explain explains the request of a call; nil for one that the handler may refuse before
// it is decided.
func (w *world) explain(c *call) *explain.Explanation {
	exchange, ok := strings.CutPrefix(orText(c.Path, "/openrtb2/demo"), "/openrtb2/")
	if c.Method != "" || len(c.Headers) > 0 || c.From != "" || !ok || w.snapshot.Profiles[exchange] == nil {
		return nil
	}
	e := explain.Explainer{Bidder: w.bidder, Audiences: w.snapshot.AudienceSet, Money: w.pacer}
	drift := w.drift
	w.slow = c.Slow
	x := e.Dry(exchange, w.requestBody(c), w.now, "")
	w.slow, w.drift = 0, drift
	return x
}

// BenchmarkExplain explains requests of known visitors with 10,000 lines and encodes the
// explanations.
func BenchmarkExplain(b *testing.B) {
	p := newPath(b, scale.Options{Lines: 10_000, Candidates: 100}, 100, nil)
	e := explain.Explainer{Bidder: p.lab.Bidder, Money: p.lab.Money}
	size := 0
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu := -threadCPU()
	for b.Loop() {
		x := e.Dry("demo", p.bodies[p.n%len(p.bodies)], p.now, "")
		if p.n++; len(x.Lines) < 10_000 {
			b.Fatalf("got %d lines; want every line", len(x.Lines))
		}
		text, err := json.Marshal(x)
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	cpu += threadCPU()
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(size), "json-bytes")
}
