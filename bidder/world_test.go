package bidder_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/valyala/fasthttp"
	"go.yaml.in/yaml/v4"

	"rebound/bidder"
	"rebound/campaigns"
	"rebound/config"
	"rebound/events"
	"rebound/exchange"
	"rebound/pacing"
	"rebound/rtb"
	"rebound/segments"
	"rebound/tracking"
)

// world is a whole bidder in memory, with a clock that only scenarios move: real
// configuration, profiles, money and notices over a log that stores at once.
type world struct {
	t        testing.TB
	now      time.Time
	slow     time.Duration // added at every reading of the bidder's clock
	drift    time.Duration
	snapshot *config.Snapshot
	segments *segments.Store
	pacer    *pacing.Pacer
	notices  *tracking.Handler
	bidder   *bidder.Bidder
	keyring  *rtb.Keyring
	signer   *tracking.Signer
	seq      uint64
	records  lastRecord
	r0       []byte

	lookups int
	answer  fasthttp.Response
	body    []byte
	won     []byte // the last answer that held a bid
	reason  rtb.NoBidReason
}

// lastRecord keeps the last bid record.
type lastRecord struct{ last *events.BidRecord }

func (r *lastRecord) Borrow() *events.BidRecord   { return &events.BidRecord{} }
func (r *lastRecord) Offer(rec *events.BidRecord) { r.last = rec }

// spy counts the lookups of the real store.
type spy struct {
	*segments.Store
	n *int
}

func (s spy) Find(exchange string, ids []rtb.ExternalID, v *rtb.Visitor) rtb.NoBidReason {
	*s.n++
	return s.Store.Find(exchange, ids, v)
}

func newWorld(t testing.TB, sc *scenario) *world {
	t.Helper()
	w := &world{t: t, now: sc.Now, keyring: rtb.NewKeyring([32]byte{1})}
	if w.now.IsZero() {
		w.now = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	}
	var err error
	if w.r0, err = os.ReadFile("testdata/r0.json"); err != nil {
		t.Fatal(err)
	}
	w.snapshot = w.load(sc)
	w.openViews()
	w.append(context.Background(), events.Fact{V: 1, ID: "config:1", Kind: events.KindConfig, At: w.now,
		Config: &events.Config{Hash: w.snapshot.Hash, ActivatedAt: w.now, Rules: w.snapshot.AudienceSet.Rules()}})
	visitors := sc.Visitors
	if visitors == nil {
		visitors = []seed{{Event: "view_item", Ago: time.Hour}}
	}
	w.seed(visitors)
	w.openBidder()
	w.pacer.SetPlan(linePlans(w.snapshot.Index.Plan()))
	w.tick()
	return w
}

// load is the configuration of a scenario: c0.yaml and its patches.
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

func (w *world) openViews() {
	var err error
	if w.segments, err = segments.Open(segments.Options{InMemory: true, CacheBytes: 1 << 20, Keyring: w.keyring}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.segments.Close() })
	w.pacer, err = pacing.Open(pacing.Options{InMemory: true, Run: "run-1", Node: "n1", Append: w.append, Now: func() time.Time { return w.now }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.pacer.Close() })
}

func (w *world) openBidder() {
	var err error
	if w.signer, err = tracking.NewSigner([]tracking.Key{{ID: 1, Secret: [32]byte{7}}}, "https://edge.example"); err != nil {
		w.t.Fatal(err)
	}
	w.notices = tracking.NewHandler(tracking.Options{
		Signer: w.signer, Append: w.append, Now: func() time.Time { return w.now },
		Profiles: func(id string) *exchange.Profile { return w.snapshot.Profiles[id] },
	})
	w.bidder = bidder.New(bidder.Options{
		Visitors: spy{w.segments, &w.lookups}, Budgets: w.pacer, Links: w.signer, Records: &w.records, Node: "n1",
		Clock: func() time.Time {
			w.drift += w.slow
			return w.now.Add(w.drift)
		},
		KnownNoBidShare: 1, UnknownNoBidShare: 1,
	})
	w.bidder.Swap(&bidder.Catalog{
		Hash: w.snapshot.Hash, Exchanges: w.snapshot.Profiles, Index: w.snapshot.Index, Policy: w.snapshot.Policy, Rates: w.snapshot.Rates, EIDSources: w.snapshot.EIDSources,
		Supply: w.snapshot.Supply, Approvals: w.snapshot.Approve(nil),
	})
}

// append is a log that stores at once and folds at once.
func (w *world) append(_ context.Context, facts ...events.Fact) error {
	for i := range facts {
		w.seq++
		facts[i].V, facts[i].Seq, facts[i].TS = 1, w.seq, w.now
		if facts[i].At.IsZero() {
			facts[i].At = w.now
		}
		if err := w.segments.Apply(facts[i : i+1]); err != nil {
			return err
		}
		if err := w.pacer.Apply(facts[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// tick lets pacing do its round, as often as it takes to have grants.
func (w *world) tick() {
	w.drift = 0
	for range 3 {
		w.pacer.Step(context.Background(), w.now)
	}
}

func (w *world) seed(list []seed) {
	w.t.Helper()
	for _, s := range list {
		visitor := w.keyring.Key(rtb.IDVisitor, "", []byte(orText(s.Visitor, "u-retarget")))
		at := w.now.Add(-s.Ago)
		if s.Link != "" {
			w.link(visitor, s, at)
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

func (w *world) link(visitor rtb.Key, s seed, at time.Time) {
	kind, scope := rtb.IDIFA, ""
	if space, ok := strings.CutPrefix(s.Link, "b:"); ok {
		kind, scope = rtb.IDExchange, space
	} else if source, ok := strings.CutPrefix(s.Link, "eid:"); ok {
		kind, scope = rtb.IDEID, source
	}
	w.put(events.Fact{Kind: events.KindLink, Visitor: visitor, At: at,
		Link: &events.Link{LinkKey: events.LinkKey{KeyKind: s.Link, Key: w.keyring.Key(kind, scope, []byte(s.Value))}, Provenance: "sync"}})
}

func (w *world) put(f events.Fact) {
	w.t.Helper()
	f.V, f.ID = 1, "test:"+strconv.FormatUint(w.seq+1, 10)
	if err := w.append(context.Background(), f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pause(scope string, on bool) {
	w.t.Helper()
	if err := w.pacer.Pause(context.Background(), scope, on, "test"); err != nil {
		w.t.Fatal(err)
	}
}

// fire sends notices of the first bid of the last answer to the real handler.
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

// linkIn finds our click or pixel URL in markup, as a browser would.
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

// landing is where a click on the last bid would lead, read from its token.
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

// money is what the first line's campaign has spent and holds, today.
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

func linePlans(list []campaigns.Plan) []pacing.LinePlan {
	modes := map[campaigns.Pacing]pacing.Mode{campaigns.PacingEven: pacing.Even, campaigns.PacingASAP: pacing.ASAP}
	var plans []pacing.LinePlan
	for _, p := range list {
		plans = append(plans, pacing.LinePlan{
			Line: p.Line, Priority: p.Priority, Currency: p.Currency, Zone: p.Zone, Mode: modes[p.Pacing],
			CampaignMode: modes[p.CampaignPacing], Caps: p.Caps, LineDay: p.LineDay, LineTotal: p.LineTotal,
			CampaignDay: p.CampaignDay, CampaignTotal: p.CampaignTotal, MaxCPM: p.MaxCPM, Start: p.Start, End: p.End, Active: p.Active,
		})
	}
	return plans
}

// sources of a test are repeatable.
var _ bidder.Source = (*rand.ChaCha8)(nil)
