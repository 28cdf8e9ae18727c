package bidder_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/valyala/fasthttp"
	"go.yaml.in/yaml/v4"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/exchange"
	"rebound/internal/lab"
	"rebound/pacing"
	"rebound/rtb"
	"rebound/segments"
	"rebound/tracking"
)

// world is a lab with a clock that only scenarios move, and the handler of its
// notices.
type world struct {
	t        testing.TB
	now      time.Time
	slow     time.Duration // added at every reading of the bidder's clock
	drift    time.Duration
	snapshot *config.Snapshot
	lab      *lab.Lab
	segments *segments.Store
	pacer    *pacing.Pacer
	notices  *tracking.Handler
	bidder   *bidder.Bidder
	keyring  *rtb.Keyring
	signer   *tracking.Signer
	records  lastRecord
	r0       []byte

	// before and after, if set, are called around every request.
	before, after func(*call)

	lookups int
	answer  fasthttp.Response
	body    []byte
	won     []byte // the last response with a bid
	reason  rtb.NoBidReason
}

// lastRecord keeps the last bid record.
type lastRecord struct{ last *events.BidRecord }

// Write implements the bidder's Records. It keeps what a reader of the log would read.
func (r *lastRecord) Write(rec *events.BidRecord, request events.Redacted) {
	kept := *rec
	if request != nil {
		var err error
		if kept.Request, err = request.AppendRedacted(nil); err != nil {
			panic(err)
		}
	}
	line, err := events.AppendRecord(nil, &kept)
	if err != nil {
		panic(err)
	}
	for read, err := range events.ReadRecords("record", bytes.NewReader(append(line, '\n'))) {
		if err != nil {
			panic(err)
		}
		if r.last = read; string(read.Request) == "null" {
			read.Request = nil
		}
	}
}

// spy counts the lookups of the real store.
type spy struct {
	bidder.Visitors
	n *int
}

func (s spy) Find(exchange string, ids []rtb.ExternalID, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	*s.n++
	return s.Visitors.Find(exchange, ids, v, beforeRead)
}

func newWorld(t testing.TB, sc *scenario) *world {
	t.Helper()
	w := &world{t: t, now: sc.Now}
	if w.now.IsZero() {
		w.now = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	}
	var err error
	if w.r0, err = os.ReadFile("testdata/r0.json"); err != nil {
		t.Fatal(err)
	}
	w.snapshot = w.load(sc)
	w.open()
	visitors := sc.Visitors
	if visitors == nil {
		visitors = []seed{{Event: "view_item", Ago: time.Hour}}
	}
	w.seed(visitors)
	w.tick()
	return w
}

// load loads the configuration of a scenario: c0.yaml with the scenario's patches.
func (w *world) load(sc *scenario) *config.Snapshot {
	w.t.Helper()
	text, err := os.ReadFile("testdata/c0.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	var c map[string]any
	if err := yaml.Unmarshal(text, &c); err != nil {
		w.t.Fatal(err)
	}
	first := func(m map[string]any, name string) map[string]any { return m[name].([]any)[0].(map[string]any) }
	mergeYAML(first(c, "exchanges"), sc.Exchange)
	mergeYAML(first(c, "advertisers"), sc.Advertiser)
	mergeYAML(first(c, "audiences"), sc.Audience)
	mergeYAML(first(c, "creatives"), sc.Creative)
	mergeYAML(first(c, "campaigns"), sc.Campaign)
	mergeYAML(first(first(c, "campaigns"), "lines"), sc.Line)
	mergeYAML(c, sc.Config)
	if text, err = yaml.Marshal(c); err != nil {
		w.t.Fatal(err)
	}
	files := fstest.MapFS{"c.yaml": {Data: text}}
	for name, content := range sc.Files {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	s, err := config.LoadFS(files, "c.yaml", config.Options{Now: w.now})
	if err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	return s
}

func (w *world) open() {
	w.t.Helper()
	now := func() time.Time { return w.now }
	l, err := lab.Open(lab.Options{Config: w.snapshot, Now: now, Name: "test", Node: "n1", Adjust: func(o *bidder.Options) {
		o.Visitors, o.Records, o.Sources = spy{o.Visitors, &w.lookups}, &w.records, nil
		o.Clock = func() time.Time {
			w.drift += w.slow
			return w.now.Add(w.drift)
		}
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	w.lab, w.bidder, w.segments, w.pacer, w.signer, w.keyring = l, l.Bidder, l.Store, l.Money, l.Signer, l.Keyring
	w.notices = tracking.NewHandler(tracking.Options{
		Signer: w.signer, Append: l.Append, Now: now,
		Profiles: func(id string) *exchange.Profile { return w.snapshot.Profiles[id] },
	})
}

// tick lets pacing cut grants.
func (w *world) tick() {
	w.drift = 0
	w.lab.CutGrants()
}

func (w *world) seed(list []seed) {
	w.t.Helper()
	for _, s := range list {
		visitor := w.keyring.Key(rtb.IDVisitor, "", []byte(orText(s.Visitor, "u-retarget")))
		at := w.now.Add(-s.Ago)
		if s.Link != "" {
			w.link(visitor, s)
		}
		if s.OptOut {
			w.put(events.Fact{Kind: events.KindOptOut, Visitor: visitor, At: at})
		}
		for range max(s.Times, 1) {
			if s.Event == "" {
				break
			}
			e := &events.Event{Name: s.Event, Trust: events.TrustServer}
			for _, item := range s.Items {
				e.Items = append(e.Items, events.Item{ID: item, Quantity: 1})
			}
			w.put(events.Fact{Kind: events.KindEvent, Advertiser: orText(s.Advertiser, "shop"), Visitor: visitor, At: at, Event: e})
			at = at.Add(time.Second)
		}
	}
}

func (w *world) link(visitor rtb.Key, s seed) {
	w.t.Helper()
	kind, scope := rtb.IDIFA, ""
	if space, ok := strings.CutPrefix(s.Link, "b:"); ok {
		kind, scope = rtb.IDExchange, space
	} else if source, ok := strings.CutPrefix(s.Link, "eid:"); ok {
		kind, scope = rtb.IDEID, source
	}
	if err := w.lab.Link(visitor, s.Link, w.keyring.Key(kind, scope, []byte(s.Value))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(f events.Fact) {
	w.t.Helper()
	if err := w.lab.Put(f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pause(scope string, on bool) {
	w.t.Helper()
	if err := w.pacer.Pause(context.Background(), scope, on, "test"); err != nil {
		w.t.Fatal(err)
	}
}

// fire sends notices of the first bid of the last response to the handler.
func (w *world) fire(list []fire) {
	w.t.Helper()
	if len(list) == 0 {
		return
	}
	var answer map[string]any
	if err := json.Unmarshal(w.won, &answer); err != nil {
		w.t.Fatalf("no answer to fire notices of: %v", err)
	}
	bids := bidsOf(answer)
	if len(bids) == 0 {
		w.t.Fatal("no bid to fire notices of")
	}
	for _, f := range list {
		text, _ := bids[0][f.Notice].(string)
		if text == "" {
			text = linkIn(fmt.Sprint(bids[0]["adm"]), f.Notice)
		}
		pixel := text == ""
		if pixel {
			text = markupURL(bids[0], f.Notice)
		}
		text = strings.NewReplacer("${AUCTION_PRICE}", f.Price, "${AUCTION_PRICE:B64}", f.Price, "${AUCTION_CURRENCY}", fmt.Sprint(answer["cur"]), "${AUCTION_LOSS}", f.Loss, "${AUCTION_MULTIPLIER}", f.Multiplier).Replace(text)
		u, err := url.Parse(text)
		if err != nil || u.Path == "" {
			w.t.Fatalf("notice %s: got URL %q: %v", f.Notice, text, err)
		}
		if f.Flip {
			at := strings.Index(text, "k=") + 40
			flipped := byte('A')
			if text[at] == 'A' {
				flipped = 'B'
			}
			text = text[:at] + string(flipped) + text[at+1:]
		}
		for range max(f.Times, 1) {
			var ctx fasthttp.RequestCtx
			var rq fasthttp.Request
			rq.Header.SetMethod(orText(f.Method, "GET"))
			rq.SetRequestURI(text)
			ctx.Init(&rq, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil)
			want := map[string]int{"click": fasthttp.StatusFound, "imp": fasthttp.StatusOK}[f.Notice]
			switch {
			case want != 0:
			case pixel:
				want = fasthttp.StatusOK
			default:
				want = fasthttp.StatusNoContent
			}
			if !w.notices.Serve(&ctx) || ctx.Response.StatusCode() != want {
				w.t.Errorf("notice %s: got %d; want %d", f.Notice, ctx.Response.StatusCode(), want)
			}
		}
	}
}

// linkIn returns our click or pixel URL in markup, as a browser would find it.
func linkIn(markup, notice string) string {
	path := map[string]string{"click": "/v1/c?k=", "imp": "/v1/imp?k="}[notice]
	_, rest, ok := strings.Cut(html.UnescapeString(markup), "https://edge.example"+path)
	if path == "" || !ok {
		return ""
	}
	if i := strings.IndexAny(rest, "\"'<> "); i >= 0 {
		rest = rest[:i]
	}
	return "https://edge.example" + path + rest
}

// landing returns the landing page in the click token of the last bid.
func (w *world) landing() string {
	var answer map[string]any
	if json.Unmarshal(w.won, &answer) != nil || len(bidsOf(answer)) == 0 {
		return ""
	}
	_, token, _ := strings.Cut(linkIn(fmt.Sprint(bidsOf(answer)[0]["adm"]), "click"), "k=")
	c, err := w.signer.Verify(rtb.NoticeClick, []byte(token))
	if err != nil {
		return err.Error()
	}
	return c.Landing
}

// money returns what the first line's campaign has spent and reserved today.
func (w *world) money() (spent, reserved string) {
	for _, b := range w.pacer.Budgets(w.now) {
		if b.Campaign == "c0" && b.Line == "" && b.Window == "day" {
			return rtb.Micros(b.Spent).String(), rtb.Micros(b.Reserved).String()
		}
	}
	return "", ""
}

func (w *world) codes() map[string]uint64 {
	m := map[string]uint64{}
	for _, c := range w.notices.Stats() {
		m[c.Kind.String()+" "+c.Code.String()] = c.N
	}
	return m
}
