package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

func (w *world) pixel(t testing.TB, call *Call, query string) string {
	t.Helper()
	in := ParsePixel([]byte(query), w.reject)
	return w.record(t, call, &in)
}

// record records an event as the tag's.
func (w *world) record(t testing.TB, call *Call, in *Input) string {
	t.Helper()
	return w.recordHits(t.Context(), w.newHits(call, ChannelTag), []*Input{in})
}

// value returns the value of the cookie in a Set-Cookie line.
func value(line string) string {
	v, _, _ := strings.Cut(strings.TrimPrefix(line, CookieName+"="), ";")
	return v
}

func TestPixelNamesTheVisitor(t *testing.T) {
	w := newWorld(t)
	line := w.pixel(t, &Call{Host: "127.0.0.1"}, "a=shop&e=ViewContent&id=SKU1&u=https://shop.example/p/1")
	uid := value(line)
	if !w.cookies.Valid([]byte(uid)) {
		t.Fatalf("got %q; want a cookie of ours", line)
	}
	f := w.events()[0]
	if f.Visitor != w.keyring.Key(rtb.IDVisitor, "", []byte(uid)) {
		t.Error("the visitor key does not match the cookie")
	}
	if f.Name != "view_item" || f.Trust != events.TrustBrowser || !f.At.Equal(testNow) || f.URL.Host != "shop.example" || f.URL.Path != "/p/1" {
		t.Errorf("got %+v %+v", f, f.Event)
	}
	again := w.pixel(t, &Call{Host: "127.0.0.1", Cookie: []byte(uid)}, "a=shop&e=view_item")
	if value(again) != uid || w.events()[1].Visitor != f.Visitor {
		t.Error("the visitor was not recognized by the cookie")
	}
	forged := "A" + uid[1:]
	if got := value(w.pixel(t, &Call{Host: "127.0.0.1", Cookie: []byte(forged)}, "a=shop&e=view_item")); got == forged || got == uid {
		t.Errorf("forged cookie: got id %q; want a new one", got)
	}
	s := w.Stats()
	if s.Cookies != 2 || s.Events["view_item"] != 3 || s.Rejected["forged_cookie"] != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestPixelTakesNothing(t *testing.T) {
	tests := []struct {
		name, query string
		call        Call
		reason      string
	}{
		{"no advertiser", "e=view_item", Call{}, "advertiser"},
		{"unknown advertiser", "a=nobody&e=view_item", Call{}, "advertiser"},
		{"gdpr without a string", "a=shop&e=view_item&gdpr=1", Call{}, "consent"},
		{"gdpr with rubbish", "a=shop&e=view_item&gdpr=1&gdpr_consent=hello", Call{}, "consent"},
		{"us opt-out", "a=shop&e=view_item&us_privacy=1YYN", Call{}, "consent"},
		{"global privacy control", "a=shop&e=view_item", Call{SecGPC: []byte("1")}, "consent"},
		{"not personalised", "a=shop&e=view_item&npa=1", Call{}, "consent"},
		{"opt-out cookie", "a=shop&e=view_item", Call{OptOut: true}, "opted_out"},
	}
	for _, tt := range tests {
		w := newWorld(t)
		known, err := w.cookies.Mint()
		if err != nil {
			t.Fatal(err)
		}
		tt.call.Cookie = []byte(known)
		if line := w.pixel(t, &tt.call, tt.query); line != "" || len(w.facts) != 0 {
			t.Errorf("%s: got cookie %q and %d facts; want nothing", tt.name, line, len(w.facts))
		}
		if w.Stats().Rejected[tt.reason] != 1 {
			t.Errorf("%s: got %v; want %s counted", tt.name, w.Stats().Rejected, tt.reason)
		}
	}
	w := newWorld(t) // a visitor without an event still gets a cookie
	if line := w.pixel(t, &Call{}, "a=shop"); line == "" || len(w.facts) != 0 || w.Stats().Rejected["no_event"] != 1 {
		t.Errorf("no event: got %q, %d facts", line, len(w.facts))
	}
}

// No personal data reaches the log, whatever field it was sent in.
func TestFactsHoldNobodysName(t *testing.T) {
	w := newWorld(t)
	const page = "https://shop.example/u/jane@doe.example/orders?mail=jane%40doe.example&ref=jane%2540doe.example&utm_source=mail" +
		"&utm_term=jane@doe.example&phone=5551234&access_token=s3cr3t&color=red"
	call := &Call{Host: "127.0.0.1", Referer: "https://shop.example/"}
	w.pixel(t, call, "a=shop&e=view_item&u="+queryEscape(page)+"&r="+queryEscape("https://mail.example/jane@doe.example?q=s3cr3t")+
		"&em=jane@doe.example&q=jane@doe.example&o=jane@doe.example&eid=jane@doe.example&xid=jane@doe.example&p.who=jane@doe.example")
	w.batch(t, `{"event":"purchase","event_id":"jane@doe.example","order_id":"jane@doe.example","q":"jane@doe.example",
		"url":"`+page+`","ref":"https://mail.example/s3cr3t","user":{"uid":"jane@doe.example","xid":"jane@doe.example","ip":"203.0.113.77",
		"ua":"Mozilla/5.0 s3cr3t","em":["`+hash("jane@doe.example")+`"]},"consent":{"gdpr":0,"tc":"C-s3cr3t-string"}}`)
	text := w.text(t)
	for _, s := range []string{"jane", "doe.example", "s3cr3t", "5551234", "203.0.113", "Mozilla", hash("jane@doe.example")} {
		if strings.Contains(text, s) {
			t.Errorf("the log holds %q:\n%s", s, text)
		}
	}
	for _, s := range []string{`"path":"/u/-/orders"`, `"query":"color=red"`, `"source":"mail"`, `"ref_host":"mail.example"`} {
		if !strings.Contains(text, s) {
			t.Errorf("the log does not hold %s:\n%s", s, text)
		}
	}
	if n := w.Stats().Rejected["clear_text"]; n < 8 {
		t.Errorf("clear text: got %d counted; want each", n)
	}
}

func queryEscape(s string) string {
	return strings.NewReplacer("%", "%25", "&", "%26", "=", "%3D", "?", "%3F", "@", "%40", "+", "%2B").Replace(s)
}

func TestMessageIDs(t *testing.T) {
	w := newWorld(t)
	uid := value(w.pixel(t, &Call{}, "a=shop&e=Purchase&eid=u-1&o=A1"))
	first := w.events()[0]
	if got := first.ID; got != messageID(w.keyring, "e:shop", first.Visitor.String(), "purchase", "u-1") || strings.Contains(got, "u-1") || strings.Contains(got, first.Visitor.String()) {
		t.Errorf("got %s; want an id that is the event's and names nobody", got)
	}
	r := w.batch(t,
		`{"event":"Order Completed","event_id":"u-1","user":{"uid":"`+uid+`"}}`, // what the pixel reported, confirmed
		`{"event":"purchase","event_id":"u-1","user":{"uid":"another"}}`,        // of another visitor
		`{"event":"purchase","order_id":"A2","user":{"uid":"u"}}`,
		`{"event":"purchase","order_id":"A2","user":{"uid":"u"}}`,        // the same order
		`{"event":"purchase","event_id":"u-1","user":{"uid":"`+uid+`"}}`, // the confirmation again
		`{"event":"view_item","user":{"uid":"u"}}`,
		`{"event":"view_item","user":{"uid":"u"}}`, // no id: another view
		`{"event":"my event","event_id":"with space","user":{"uid":"u"}}`)
	if r.Accepted != 6 || r.Duplicates != 2 {
		t.Errorf("got %+v; want 6 accepted, 2 duplicates", r)
	}
	ids := map[string]bool{}
	for _, f := range w.events() {
		if ids[f.ID] {
			t.Errorf("message id %s twice", f.ID)
		}
		ids[f.ID] = true
	}
	if !ids[messageID(w.keyring, "es:shop", w.keyring.Key(rtb.IDVisitor, "", []byte("u")).String(), "purchase", "order", "A2")] {
		t.Errorf("got %v; want the order's id among them", ids)
	}
	if s := w.Stats(); s.Duplicates != 2 {
		t.Errorf("got %d duplicates counted; want 2", s.Duplicates)
	}
}

func TestDuplicatesAreForgottenInTheEnd(t *testing.T) {
	w := newWorld(t)
	one := `{"event":"x","event_id":"1","user":{"uid":"u"}}`
	w.batch(t, one)
	for _, step := range []struct {
		after time.Duration
		dup   int
	}{{time.Hour, 1}, {23*time.Hour + time.Minute, 1}, {49 * time.Hour, 0}} {
		w.now = w.now.Add(step.after)
		if r := w.batch(t, one); r.Duplicates != step.dup {
			t.Errorf("%s later: got %+v; want %d duplicates", step.after, r, step.dup)
		}
		w.batch(t, fmt.Sprintf(`{"event":"x","event_id":"%d","user":{"uid":"u"}}`, w.now.Unix())) // something else happens
	}
}

func TestWhoseEvent(t *testing.T) {
	const ifa = "6d92078a-8246-4ba4-ae5b-76104861e7dc"
	w := newWorld(t)
	key := func(kind rtb.IDKind, scope, s string) rtb.Key { return w.keyring.Key(kind, scope, []byte(s)) }
	last := func(raw string) (events.Fact, []events.Fact) {
		t.Helper()
		w.facts = nil
		if r := w.batch(t, raw); r.Accepted != 1 {
			t.Fatalf("%s: got %+v", raw, r)
		}
		return w.events()[0], w.links()
	}

	f, links := last(`{"event":"x","user":{"uid":"u","ifa":"6D92078A-8246-4BA4-AE5B-76104861E7DC","xid":"c7","em":["` + hash("a") + `"]}}`)
	uid := key(rtb.IDVisitor, "", "u")
	want := map[string]rtb.Key{"ifa": key(rtb.IDIFA, "", ifa), "xid": key(rtb.IDXID, "shop", "c7"), "em": key(rtb.IDEmail, "shop", hash("a"))}
	if f.Visitor != uid || len(links) != len(want) {
		t.Errorf("got visitor %s and %d links; want the uid's and 3", f.Visitor, len(links))
	}
	for _, l := range links {
		if want[l.KeyKind] != l.Link.Key || l.Visitor != uid || l.Provenance != "s2s" {
			t.Errorf("got link %+v", l.Link)
		}
	}

	f, links = last(`{"event":"x","user":{"ifa":"` + ifa + `"}}`)
	if f.Visitor != key(rtb.IDVisitor, "", "ifa::"+ifa) || len(links) != 1 || links[0].Visitor != f.Visitor {
		t.Errorf("an ifa that nobody has: got %s, %+v; want a visitor of its own, linked", f.Visitor, links)
	}

	w.linked[key(rtb.IDXID, "shop", "c7")] = uid
	f, links = last(`{"event":"purchase","user":{"xid":"c7","ifa":"` + ifa + `"}}`)
	if f.Visitor != uid || len(links) != 2 {
		t.Errorf("a known customer: got %s, %d links; want the visitor of the link", f.Visitor, len(links))
	}

	f, links = last(`{"event":"x","user":{"uid":"u","eids":[{"source":"ID5-sync.com","uids":[{"id":"five"}]},{"source":"other.example","id":"o"}]}}`)
	if len(links) != 1 || links[0].KeyKind != "eid:id5-sync.com" || links[0].Link.Key != key(rtb.IDEID, "id5-sync.com", "five") {
		t.Errorf("eids: got %+v; want the listed source's", links)
	}
	if f.Visitor != uid || w.Stats().Rejected["eid_source"] != 1 {
		t.Error("an unlisted source is not counted, or spoiled the event")
	}
}

// Repeating a link within an hour gives the same fact id.
func TestLinksAreFewFacts(t *testing.T) {
	w := newWorld(t)
	w.batch(t, `{"event":"x","user":{"uid":"u","xid":"c"}}`, `{"event":"x","user":{"uid":"u","xid":"c"}}`)
	if n := len(w.links()); n != 1 {
		t.Errorf("one call: got %d link facts; want 1", n)
	}
	w.batch(t, `{"event":"x","user":{"uid":"u","xid":"c"}}`)
	links := w.links()
	if links[0].ID != links[1].ID {
		t.Errorf("got ids %s and %s; want the same in one hour", links[0].ID, links[1].ID)
	}
	w.now = w.now.Add(time.Hour)
	w.batch(t, `{"event":"x","user":{"uid":"u","xid":"c"}}`)
	if links = w.links(); links[2].ID == links[0].ID {
		t.Error("got the same id an hour later; want another: links live from when they were last seen")
	}
}

func TestAFailingLog(t *testing.T) {
	w := newWorld(t)
	w.fail = errLog
	raw := []json.RawMessage{json.RawMessage(`{"event":"x","event_id":"1","user":{"uid":"u"}}`)}
	if _, err := w.RecordBatch(context.Background(), Sender{Advertiser: w.setup.Load().advertisers["shop"]}, raw); !errors.Is(err, errLog) {
		t.Errorf("got %v; want the log's error", err)
	}
	w.pixel(t, &Call{}, "a=shop&e=x&eid=2")
	if s := w.Stats(); s.Rejected["not_stored"] != 2 || s.Events["x"] != 0 {
		t.Errorf("got %+v; want both counted as not stored", s)
	}
	w.fail = nil
	if r := w.batch(t, string(raw[0])); r.Accepted != 1 {
		t.Errorf("sent again: got %+v; want it accepted, not a duplicate", r)
	}
}

func TestMatch(t *testing.T) {
	w := newWorld(t)
	line, ok := w.RecordMatch(t.Context(), &Call{Host: "edge.example"}, &Match{Exchange: "demo-first", UID: "theirs"})
	uid := value(line)
	if !ok || !w.cookies.Valid([]byte(uid)) || len(w.facts) != 1 {
		t.Fatalf("got %q, %v, %d facts; want a cookie and a link", line, ok, len(w.facts))
	}
	f := w.facts[0]
	if f.Kind != events.KindLink || f.KeyKind != "b:demo" || f.Link.Key != w.keyring.Key(rtb.IDExchange, "demo", []byte("theirs")) ||
		f.Visitor != w.keyring.Key(rtb.IDVisitor, "", []byte(uid)) || f.Provenance != "sync" {
		t.Errorf("got %+v %+v", f, f.Link)
	}
	for _, bad := range []string{"", "0", "-1", "null", "$UID", "${USER_ID}", "{UID}", "[UID]", "%%UID%%", "OPTOUT", "00000000-0000-0000-0000-000000000000", strings.Repeat("x", 257)} {
		if line, ok := w.RecordMatch(t.Context(), &Call{}, &Match{Exchange: "demo", UID: bad}); line != "" || !ok {
			t.Errorf("uid %q: got %q, %v; want the GIF and nothing kept", bad, line, ok)
		}
	}
	w.RecordMatch(t.Context(), &Call{}, &Match{Exchange: "nobody", UID: "u"})
	refused := []Match{{Exchange: "demo", UID: "u", Consent: &ConsentText{GDPR: "1"}}, {Exchange: "demo", UID: "u", Consent: &ConsentText{GPC: "1"}}}
	for i := range refused {
		if line, ok := w.RecordMatch(t.Context(), &Call{}, &refused[i]); line != "" || ok {
			t.Errorf("%+v: got %q, %v; want nothing", refused[i].Consent, line, ok)
		}
	}
	if len(w.facts) != 1 {
		t.Errorf("got %d facts; want the one good match", len(w.facts))
	}
	if s := w.Stats().Rejected; s["bad_exchange_user"] != 12 || s["exchange"] != 1 || s["consent"] != 2 {
		t.Errorf("got %v", s)
	}
}

// A browser that does not keep cookies is a new visitor on every hit; it links an
// identifier only once.
func TestWithoutCookies(t *testing.T) {
	w := newWorld(t)
	key := w.keyring.Key(rtb.IDXID, "shop", []byte("c7"))
	theirs := w.keyring.Key(rtb.IDExchange, "demo", []byte("theirs"))
	hit := func(cookie string) string {
		call := &Call{Host: "127.0.0.1", Cookie: []byte(cookie)}
		line := w.pixel(t, call, "a=shop&e=view_item&xid=c7")
		w.RecordMatch(t.Context(), call, &Match{Exchange: "demo", UID: "theirs"})
		for _, f := range w.links() { // as the folds do, a moment later
			w.linked[f.Link.Key] = f.Visitor
		}
		return value(line)
	}
	first := hit("")
	if len(w.links()) != 2 || w.linked[key] != w.keyring.Key(rtb.IDVisitor, "", []byte(first)) {
		t.Fatalf("got %d links; want both identifiers linked, which nobody had", len(w.links()))
	}
	last := ""
	for range 5 {
		last = hit("")
	}
	if s := w.Stats(); len(w.links()) != 2 || s.Unlinked != 10 || s.Cookies != 12 || len(w.events()) != 6 {
		t.Errorf("got %d links, %d events, %+v; want no more links, and all events", len(w.links()), len(w.events()), s)
	}
	hit(last) // the cookie came back
	mine := w.keyring.Key(rtb.IDVisitor, "", []byte(last))
	if len(w.links()) != 4 || w.linked[key] != mine || w.linked[theirs] != mine {
		t.Errorf("got %d links; want the browser that keeps cookies linked", len(w.links()))
	}
}

func TestNamesInMetricsAreBounded(t *testing.T) {
	w := newWorld(t)
	setup := *w.setup.Load()
	for i := range 300 {
		setup.EventNames = append(setup.EventNames, fmt.Sprintf("gone_wild_%d", i))
	}
	w.Swap(&setup)
	for i := range 300 {
		w.batch(t, fmt.Sprintf(`{"event":"gone_wild_%d","user":{"uid":"u"}}`, i))
	}
	s := w.Stats()
	if len(s.Events) != maxNames+1 || s.Events[customName] != 300-maxNames {
		t.Errorf("got %d names, %d custom; want %d and %d", len(s.Events), s.Events[customName], maxNames+1, 300-maxNames)
	}
}

// Event names that no rule uses are not counted by name, so they cannot displace others.
func TestNamesOfNobody(t *testing.T) {
	w := newWorld(t)
	setup := *w.setup.Load()
	setup.EventNames = []string{"wish_granted"}
	w.Swap(&setup)
	for i := range 300 {
		w.pixel(t, &Call{}, fmt.Sprintf("a=shop&e=gone_wild_%d", i))
	}
	w.pixel(t, &Call{}, "a=shop&e=wish_granted")
	w.pixel(t, &Call{}, "a=shop&e=ViewContent")
	if s := w.Stats().Events; len(s) != 3 || s[customName] != 300 || s["wish_granted"] != 1 || s["view_item"] != 1 {
		t.Errorf("got %v; want 300 custom, and one of each name that is known", s)
	}
}
