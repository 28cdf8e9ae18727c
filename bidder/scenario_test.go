package bidder_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.yaml.in/yaml/v4"

	"rebound/bidder"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// scenario is one document of a file under testdata/scenarios: state, requests and
// the expected responses. Requests are JSON merge patches of testdata/r0.json, and
// the configuration is a patch of testdata/c0.yaml. Its rules are the ids of the
// conformance rules that it covers.
type scenario struct {
	Description string    `yaml:"description"`
	Rules       []string  `yaml:"rules"`
	Now         time.Time `yaml:"now"` // default 2026-10-01T12:00:00Z

	// Patches: of the whole configuration, and of its first exchange, advertiser,
	// audience, creative, campaign and line.
	Config     map[string]any    `yaml:"config"`
	Files      map[string]string `yaml:"files"` // in addition to the configuration
	Exchange   map[string]any    `yaml:"exchange"`
	Advertiser map[string]any    `yaml:"advertiser"`
	Audience   map[string]any    `yaml:"audience"`
	Creative   map[string]any    `yaml:"creative"`
	Campaign   map[string]any    `yaml:"campaign"`
	Line       map[string]any    `yaml:"line"`

	// Visitors is the history before the first request; default: u-retarget viewed an
	// item an hour ago.
	Visitors []seed `yaml:"visitors"`

	step  `yaml:",inline"`
	Steps []step `yaml:"steps"` // instead of the one step of the file itself
}

// seed is an event of a visitor, or an identifier that is linked to the visitor.
type seed struct {
	Visitor    string        `yaml:"visitor"`    // default u-retarget
	Advertiser string        `yaml:"advertiser"` // of the event; default shop
	Event      string        `yaml:"event"`
	Ago        time.Duration `yaml:"ago"`
	Times      int           `yaml:"times"`
	Items      []string      `yaml:"items"`
	Link       string        `yaml:"link"`  // b:<exchange>, ifa, eid:<source>
	Value      string        `yaml:"value"` // of the link
	OptOut     bool          `yaml:"opt_out"`
}

// step is one request with the notices before and after it.
type step struct {
	Name   string        `yaml:"name"`
	After  time.Duration `yaml:"after"` // passes first
	Events []seed        `yaml:"events"`
	Pause  string        `yaml:"pause"`
	Resume string        `yaml:"resume"`
	Cases  []call        `yaml:"cases"` // instead of one call
	call   `yaml:",inline"`
}

// call is one HTTP request to the bid endpoint.
type call struct {
	Request string            `yaml:"request"` // JSON merge patch
	Imp     string            `yaml:"imp"`     // JSON merge patch on the first impression
	Body    *string           `yaml:"body"`    // instead of JSON
	Prefix  string            `yaml:"prefix"`  // before the JSON
	Suffix  string            `yaml:"suffix"`  // behind it
	Gzip    bool              `yaml:"gzip"`
	Method  string            `yaml:"method"`
	Path    string            `yaml:"path"`
	From    string            `yaml:"from"` // address; default 127.0.0.1
	Headers map[string]string `yaml:"headers"`
	Slow    time.Duration     `yaml:"slow"` // how much every reading of the clock takes
	None    bool              `yaml:"none"` // no request at all: only notices
	Fire    []fire            `yaml:"fire"` // notices of the answer's first bid
	Expect  expect            `yaml:"expect"`
}

// fire is a notice of the last bid. Its macros are replaced as an exchange would.
type fire struct {
	Notice string `yaml:"notice"` // nurl, burl, lurl, or one in the markup: see markupURL
	Price  string `yaml:"price"`
	Loss   string `yaml:"loss"`
	// Multiplier replaces ${AUCTION_MULTIPLIER}.
	Multiplier string `yaml:"multiplier"`
	Times      int    `yaml:"times"`
	Method     string `yaml:"method"`
	Flip       bool   `yaml:"flip"` // with a changed token
}

// expect is the expected result of a call. Maps are subsets of the JSON; null means
// that the member must be absent.
type expect struct {
	Status   int               `yaml:"status"`
	NoBid    string            `yaml:"nobid"`
	Bid      map[string]any    `yaml:"bid"`  // the only bid
	Bids     []map[string]any  `yaml:"bids"` // all bids
	Response map[string]any    `yaml:"response"`
	Contains []string          `yaml:"contains"`
	Absent   []string          `yaml:"absent"`
	Headers  map[string]string `yaml:"headers"`
	Lookups  *int              `yaml:"lookups"`
	Drops    map[string]string `yaml:"drops"` // line to reason, in the record
	Spent    string            `yaml:"spent"`
	Reserved string            `yaml:"reserved"`
	Codes    map[string]uint64 `yaml:"codes"`    // "bill forged" to how many
	Landing  string            `yaml:"landing"`  // where a click on the bid leads
	Recorded string            `yaml:"recorded"` // body: the record holds the request; anonymous: without anything about a person
	// Factors of the first bid in the record: a subset of the JSON. A list of two numbers is a
	// range.
	Factors map[string]any `yaml:"factors"`
	// The markup of every bid: VAST's elements and attributes by their path with a text
	// that they contain, and members of native.
	VAST   map[string]*string `yaml:"vast"`
	Native map[string]any     `yaml:"native"`
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for i, sc := range parseScenarios(t, text) {
				t.Run(fmt.Sprintf("%d %s", i+1, sc.Description), func(t *testing.T) { sc.run(t) })
			}
		})
	}
}

// parseScenarios reads the documents of one file.
func parseScenarios(t *testing.T, text []byte) (list []scenario) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	for {
		var sc scenario
		err := d.Decode(&sc)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if sc.Description == "" || len(sc.Rules) == 0 {
			t.Fatalf("document %d: want a description and rules", len(list)+1)
		}
		list = append(list, sc)
	}
}

func (sc *scenario) run(t *testing.T) {
	conformance.Covers(t, sc.Rules...)
	sc.play(newWorld(t, sc))
}

// play sends the requests of the scenario.
func (sc *scenario) play(w *world) {
	steps := sc.Steps
	if len(steps) == 0 {
		steps = []step{sc.step}
	}
	for i := range steps {
		s := &steps[i]
		w.now = w.now.Add(s.After)
		w.seed(s.Events)
		if s.Pause != "" {
			w.pause(s.Pause, true)
		}
		if s.Resume != "" {
			w.pause(s.Resume, false)
		}
		w.tick()
		calls := s.Cases
		if len(calls) == 0 {
			calls = []call{s.call}
		}
		for j := range calls {
			where := fmt.Sprintf("step %d %s case %d", i+1, s.Name, j+1)
			w.call(&calls[j], where)
		}
	}
}

// call sends one request and compares.
func (w *world) call(c *call, where string) {
	w.t.Helper()
	fail := func(format string, args ...any) {
		w.t.Helper()
		w.t.Errorf("%s: %s\n  request %s%s", where, fmt.Sprintf(format, args...), c.Request, c.Imp)
	}
	if !c.None {
		if w.before != nil {
			w.before(c)
		}
		if w.send(c); w.after != nil {
			w.after(c)
		}
	}
	w.fire(c.Fire)
	e := &c.Expect
	if !c.None {
		w.compareAnswer(e, fail)
	}
	if got := w.landing(); e.Landing != "" && got != e.Landing {
		fail("click leads to %q; want %q", got, e.Landing)
	}
	w.compareRecord(e.Recorded, fail)
	if e.Factors != nil {
		subset(fail, "factors", e.Factors, plain(w.factors()))
	}
	for line, reason := range e.Drops {
		if got := w.drops()[line]; got != reason {
			fail("line %s: got %q; want %q", line, got, reason)
		}
	}
	if spent, reserved := w.money(); e.Spent != "" && spent != e.Spent || e.Reserved != "" && reserved != e.Reserved {
		fail("got spent %s, reserved %s; want %s, %s", spent, reserved, e.Spent, e.Reserved)
	}
	for name, want := range e.Codes {
		if got := w.codes()[name]; got != want {
			fail("notices %s: got %d; want %d", name, got, want)
		}
	}
}

func (w *world) compareAnswer(e *expect, fail func(string, ...any)) {
	status := e.Status
	if status == 0 {
		status = 200
		if e.NoBid != "" {
			status = 204
		}
	}
	if got := w.reason.String(); got != e.NoBid || w.answer.StatusCode() != status {
		fail("got %d %q; want %d %q", w.answer.StatusCode(), got, status, e.NoBid)
		return
	}
	if w.answer.ConnectionClose() {
		fail("the connection is closed")
	}
	if status != 200 && len(w.body) > 0 {
		fail("got a body %q; want none", w.body)
	}
	for name, want := range e.Headers {
		if got := string(w.answer.Header.Peek(name)); got != want {
			fail("header %s: got %q; want %q", name, got, want)
		}
	}
	if e.Lookups != nil && w.lookups != *e.Lookups {
		fail("got %d lookups; want %d", w.lookups, *e.Lookups)
	}
	for _, text := range e.Contains {
		if !bytes.Contains(w.body, []byte(text)) {
			fail("answer lacks %q: %s", text, w.body)
		}
	}
	for _, text := range e.Absent {
		if bytes.Contains(w.body, []byte(text)) {
			fail("answer holds %q: %s", text, w.body)
		}
	}
	if status != 200 || e.NoBid != "" {
		if e.Response != nil {
			var answer any
			if err := json.Unmarshal(w.body, &answer); err != nil {
				fail("cannot read answer: %v", err)
			}
			subset(fail, "response", e.Response, answer)
		}
		return
	}
	var answer map[string]any
	if err := json.Unmarshal(w.body, &answer); err != nil {
		fail("cannot read answer: %v in %s", err, w.body)
		return
	}
	subset(fail, "response", e.Response, answer)
	bids := bidsOf(answer)
	for _, b := range bids {
		checkMarkup(e, b, fail)
	}
	if e.Bid != nil {
		e.Bids = []map[string]any{e.Bid}
	}
	if len(e.Bids) == 0 {
		return
	}
	if len(bids) != len(e.Bids) {
		fail("got %d bids; want %d: %s", len(bids), len(e.Bids), w.body)
		return
	}
	for i := range bids {
		subset(fail, "bid", e.Bids[i], bids[i])
	}
}

func bidsOf(answer map[string]any) (bids []map[string]any) {
	seats, _ := answer["seatbid"].([]any)
	for _, s := range seats {
		list, _ := s.(map[string]any)["bid"].([]any)
		for _, b := range list {
			bids = append(bids, b.(map[string]any))
		}
	}
	return bids
}

// subset checks that got contains want.
func subset(fail func(string, ...any), path string, want map[string]any, got any) {
	if want == nil {
		return
	}
	have, ok := got.(map[string]any)
	if !ok {
		fail("%s: got %v; want an object", path, got)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		x, there := have[k]
		switch w := want[k].(type) {
		case nil:
			if there {
				fail("%s.%s: got %v; want nothing", path, k, x)
			}
		case map[string]any:
			subset(fail, path+"."+k, w, x)
		case []any:
			if !inRange(w, x) && !reflect.DeepEqual(plain(w), plain(x)) {
				fail("%s.%s: got %v; want %v", path, k, x, w)
			}
		default:
			if !reflect.DeepEqual(plain(w), plain(x)) {
				fail("%s.%s: got %v; want %v", path, k, x, w)
			}
		}
	}
}

// inRange reports whether got lies between the two numbers of want.
func inRange(want []any, got any) bool {
	x, ok := got.(float64)
	if !ok || len(want) != 2 {
		return false
	}
	low, lowOK := plain(want[0]).(float64)
	high, highOK := plain(want[1]).(float64)
	return lowOK && highOK && low <= x && x <= high
}

// plain converts values of YAML and JSON to comparable ones.
func plain(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	if json.Unmarshal(b, &out) != nil {
		return v
	}
	return out
}

// mergeJSON applies a JSON merge patch (RFC 7396) and keeps the text of scalars.
func mergeJSON(t testing.TB, target, patch json.RawMessage) json.RawMessage {
	t.Helper()
	if len(bytes.TrimSpace(patch)) == 0 {
		return target
	}
	var p map[string]json.RawMessage
	if bytes.TrimSpace(patch)[0] != '{' {
		return patch
	}
	if err := json.Unmarshal(patch, &p); err != nil {
		t.Fatalf("patch %s: %v", patch, err)
	}
	var base map[string]json.RawMessage
	if json.Unmarshal(target, &base) != nil || base == nil {
		base = map[string]json.RawMessage{}
	}
	for k, v := range p {
		if string(bytes.TrimSpace(v)) == "null" {
			delete(base, k)
			continue
		}
		base[k] = mergeJSON(t, base[k], v)
	}
	out, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mergeYAML(base, patch map[string]any) {
	for k, v := range patch {
		if v == nil {
			delete(base, k)
			continue
		}
		if m, ok := v.(map[string]any); ok {
			if b, ok := base[k].(map[string]any); ok {
				mergeYAML(b, m)
				continue
			}
		}
		base[k] = v
	}
}

// send sends the request of a call and keeps the response.
func (w *world) send(c *call) {
	w.t.Helper()
	body := w.requestBody(c)
	var rq fasthttp.Request
	rq.Header.SetMethod(orText(c.Method, "POST"))
	rq.SetRequestURI("http://bid.example" + orText(c.Path, "/openrtb2/demo"))
	rq.Header.SetContentType("application/json")
	if c.Gzip {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, _ = z.Write(body)
		_ = z.Close()
		body = buf.Bytes()
		rq.Header.Set("Content-Encoding", "gzip")
	}
	for k, v := range c.Headers {
		if rq.Header.Set(k, v); v == "" {
			rq.Header.Del(k)
		}
	}
	rq.SetBody(body)
	w.lookups, w.reason = 0, rtb.NoBidNone
	w.records.last = nil
	before := w.stats()
	w.slow = c.Slow
	var ctx fasthttp.RequestCtx
	ctx.Init(&rq, &net.TCPAddr{IP: net.ParseIP(orText(c.From, "127.0.0.1")), Port: 4321}, nil)
	w.bidder.Serve(&ctx)
	w.slow = 0
	ctx.Response.CopyTo(&w.answer)
	w.body = bytes.Clone(w.answer.Body())
	if string(w.answer.Header.Peek("Content-Encoding")) == "gzip" {
		var err error
		if w.body, err = w.answer.BodyGunzip(); err != nil {
			w.t.Fatal(err)
		}
	}
	if bytes.Contains(w.body, []byte(`"seatbid"`)) {
		w.won = w.body
	}
	w.count(before)
}

func (w *world) requestBody(c *call) []byte {
	if c.Body != nil {
		return []byte(*c.Body)
	}
	r := json.RawMessage(w.r0)
	if c.Imp != "" {
		var top struct{ Imp []json.RawMessage }
		if err := json.Unmarshal(r, &top); err != nil {
			w.t.Fatal(err)
		}
		top.Imp[0] = mergeJSON(w.t, top.Imp[0], json.RawMessage(c.Imp))
		imps, err := json.Marshal(top.Imp)
		if err != nil {
			w.t.Fatal(err)
		}
		r = mergeJSON(w.t, r, json.RawMessage(`{"imp":`+string(imps)+`}`))
	}
	r = mergeJSON(w.t, r, json.RawMessage(c.Request))
	return []byte(c.Prefix + string(r) + c.Suffix)
}

// stats returns the totals of the counters of all exchanges.
func (w *world) stats() bidder.Stats {
	var sum bidder.Stats
	for _, s := range w.bidder.Stats() {
		sum.Requests += s.Requests
		sum.Bids += s.Bids
		for i := range s.NoBids {
			sum.NoBids[i] += s.NoBids[i]
		}
	}
	return sum
}

// count finds the one reason under which the request was counted.
func (w *world) count(before bidder.Stats) {
	after := w.stats()
	n := after.Bids - before.Bids
	for r := range after.NoBids {
		if d := after.NoBids[r] - before.NoBids[r]; d > 0 {
			n += d
			w.reason = rtb.NoBidReason(r)
		}
	}
	if want := after.Requests - before.Requests; n != want || n > 1 {
		w.t.Errorf("got %d outcomes counted for %d requests", n, want)
	}
}

// drops returns the lines in the last record that did not bid.
func (w *world) drops() map[string]string {
	m := map[string]string{}
	if w.records.last != nil && w.records.last.Decision != nil {
		for _, d := range w.records.last.Decision.Dropped {
			m[d.Line] = d.Reason.String()
		}
	}
	return m
}

// factors returns the factors of the first bid in the last record; nil if there is none.
func (w *world) factors() any {
	if r := w.records.last; r != nil && r.Decision != nil && len(r.Decision.Bids) > 0 {
		return &r.Decision.Bids[0].Factors
	}
	return nil
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
