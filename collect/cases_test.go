package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/privacy"
	"rebound/rtb"
)

// edgeCase returns the lines of a file of reported bugs next to the checkout,
// if there is one.
func edgeCase(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "cases", "edge", name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// A placeholder value links no one, wherever it is received.
func TestPlaceholdersLinkNobody(t *testing.T) {
	lines := append(edgeCase(t, "f04-placeholder-ids.ndjson"),
		`{"event":"view_item","anonymousId":"undefined","items":["SKU1"]}`,
		`{"event":"view_item","userId":"null","items":["SKU1"]}`,
		`{"event":"view_item","user":{"ifa":"ffffffff-ffff-ffff-ffff-ffffffffffff"},"items":["SKU1"]}`,
		`{"event":"view_item","user":{"uid":"a","ifa":"00000000-0000-0000-0000-000000000000"},"items":["SKU1"]}`,
		`{"event":"view_item","user":{"uid":"b","eids":[{"source":"id5-sync.com","id":"0"}]},"items":["SKU1"]}`,
		`{"event":"view_item","user":{"uid":"c","eids":[{"source":"id5-sync.com","uids":[{"id":"${ID5}"}]}]},"items":["SKU1"]}`,
		`{"event":"purchase","user":{"ph":["`+hash("")+`"]},"items":["SKU1"]}`,
		`{"event":"purchase","user":{"uid":"d","em":["`+hash("null")+`"]},"items":["SKU1"]}`,
		`{"event":"purchase","user_data":{"external_id":["{{customer.id}}"]},"items":["SKU1"]}`,
	)
	for _, line := range lines {
		w := newWorld(t)
		r := w.batch(t, line)
		var e struct{ User struct{ UID string } }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if want := !rtb.Nobody([]byte(e.User.UID)); (r.Accepted == 1) != want {
			t.Errorf("%s: got %+v; want it accepted: %v", line, r, want)
		}
		if len(w.links()) != 0 || w.Stats().Rejected["placeholder_id"] == 0 {
			t.Errorf("%s: got %d links, %d counted; want it counted and nobody linked", line, len(w.links()), w.Stats().Rejected["placeholder_id"])
		}
	}
	for _, query := range []string{"xid=undefined", "xid=0", "em=" + hash(""), "ph=" + hash("undefined"), "xid=%7B%7Bid%7D%7D"} {
		w := newWorld(t)
		w.pixel(t, &Call{}, "a=shop&e=view_item&"+query)
		if len(w.events()) != 1 || len(w.links()) != 0 || w.Stats().Rejected["placeholder_id"] != 1 {
			t.Errorf("%s: got %d events, %d links", query, len(w.events()), len(w.links()))
		}
	}
	for _, uid := range append(edgeCase(t, "f04-match-uids.txt"), "OPT_OUT", "NO_UID", "__UID__", "0", "%%USER%%", "<UID>") {
		if strings.HasPrefix(uid, "(GET") {
			continue
		}
		w := newWorld(t)
		w.RecordMatch(t.Context(), &Call{}, &Match{Exchange: "demo", UID: uid})
		if len(w.facts) != 0 || w.Stats().Rejected["bad_exchange_user"] != 1 {
			t.Errorf("%s: got %d facts; want none", uid, len(w.facts))
		}
	}
}

// An identifier that too many visitors claimed identifies no one: an event of it alone is
// refused, and it is not linked again.
func TestSharedIdentifiersAreNotUsed(t *testing.T) {
	w := newWorld(t)
	shared := w.keyring.Key(rtb.IDEmail, "shop", []byte(hash("info")))
	w.linked[shared] = rtb.Key{}
	r := w.batch(t, `{"event":"x","user":{"em":["`+hash("info")+`"]}}`, `{"event":"x","user":{"uid":"u","em":["`+hash("info")+`"]}}`)
	if r.Accepted != 1 || len(r.Rejected) != 1 || r.Rejected[0].Code != "no_user" || len(w.links()) != 0 {
		t.Errorf("got %+v, links %v", r, w.links())
	}
	uid, _ := w.cookies.Mint()
	w.pixel(t, &Call{Cookie: []byte(uid)}, "a=shop&e=x&em="+hash("info"))
	if len(w.links()) != 0 || w.Stats().Unlinked != 3 {
		t.Errorf("got links %v, %d refused", w.links(), w.Stats().Unlinked)
	}
}

// The event of a beacon is kept without its unreadable fields.
func TestBeaconsKeepTheEvent(t *testing.T) {
	purchase := func(s string) string {
		return `{"a":"shop","event":"purchase","order_id":"o1","items":[{"id":"SKU1"}],` + s + `}`
	}
	lines := append(edgeCase(t, "f05-beacons.ndjson"),
		purchase(`"currency":"euro"`), purchase(`"value":{"amount":5}`), purchase(`"value":[]`), purchase(`"ts":{}`), purchase(`"user":"jane"`),
		purchase(`"user":{"em":{"hash":1},"xid":["c1"]}`), purchase(`"user":{"xid":"jane@doe.example"}`), purchase(`"user":{"eids":[5]}`), purchase(`"props":"red"`),
		purchase(`"props":{"m":"jane@doe.example"}`), purchase(`"props":{"a":{"b":[1]}}`), purchase(`"properties":[1]`), purchase(`"custom_data":{"value":["x"]}`),
		purchase(`"params":{"items":[[1],{"id":"SKU2"}]}`), purchase(`"url":["https://shop.example/"]`), purchase(`"event_id":"`+strings.Repeat("e", 200)+`"`),
		`{"a":"shop","event":"purchase","order_id":["o1"],"items":[{"id":"SKU1","brand":{"name":"B"},"price":"12,x"}]}`,
		`{"a":"shop","event":"purchase","items":[{"id":"SKU1"},{"id":["SKU2"]},7.5,[]]}`,
	)
	for _, line := range lines {
		w := newWorld(t)
		serve(w.Beacon, "POST", "/v1/t", []byte(line))
		list := w.events()
		if len(list) != 1 || list[0].Name != "purchase" || len(list[0].Items) == 0 || list[0].Items[0].ID != "sku1" {
			t.Errorf("%.100s: got %+v; want the purchase of SKU1", line, list)
			continue
		}
		n := uint64(0)
		for _, c := range w.Stats().Rejected {
			n += c
		}
		if n == 0 && !strings.Contains(line, "eids") {
			t.Errorf("%.100s: what was left out is not counted", line)
		}
	}
	for _, line := range []string{
		purchase(`"consent":"yes"`), purchase(`"consent":{"gdpr":[1]}`), purchase(`"consent":{"tc":{}}`), purchase(`"Consent":5`),
		`{"a":"shop","event":["purchase"]}`, `{"a":["shop"],"event":"purchase"}`,
		purchase(`"items":[` + strings.Repeat("[],", 2000) + `[]]`),
	} {
		w := newWorld(t)
		serve(w.Beacon, "POST", "/v1/t", []byte(line))
		if len(w.facts) != 0 {
			t.Errorf("%.100s: got a fact; want it refused", line)
		}
	}
}

// Pages are read as browsers read their addresses.
func TestPageAddresses(t *testing.T) {
	for _, line := range edgeCase(t, "f06-page-urls.txt") {
		if strings.HasPrefix(line, "(") {
			continue
		}
		if p := readPage(line); p.url == nil || p.url.Host != "shop.example" || !strings.HasPrefix(p.url.Path, "/category/") {
			t.Errorf("%.60s: got %+v", line, p.url)
		}
	}
	tests := []struct{ raw, host, path, query string }{
		{"https://shop.example/a%20b/%zz?x=%&y=1", "shop.example", "/a b/%zz", "x=%&y=1"},
		{"HTTPS://Shop.Example./a#b?c", "shop.example", "/a", ""},
		{"https://user:pw@shop.example:8443/a", "shop.example", "/a", ""},
		{`https:\\shop.example\a\b`, "shop.example", "/a/b", ""},
		{"//shop.example/a?b#c", "shop.example", "/a", "b"},
		{"https:/shop.example/a", "shop.example", "/a", ""},
		{"https://shop.example?a=1", "shop.example", "", "a=1"},
		{"https://shop.example/a\tb\n", "shop.example", "/ab", ""},
		{"https://größe.example/größe", "xn--gre-6ka8i.example", "/größe", ""},
		{"https://shop.example/a?q=" + strings.Repeat("%", 3000), "shop.example", "/a", "q=" + strings.Repeat("%", maxURLPart-2)},
		{"https://shop.example/" + strings.Repeat("p", 3000) + "?a=1", "shop.example", "/" + strings.Repeat("p", maxURLPart-1), "a=1"},
		{"https://[2001:db8::1]:8080/a", "2001:db8::1", "/a", ""},
		{"https://shop.example/a:b/c@d", "shop.example", "/a:b/c@d", ""},
		{"https://shop.example/?u=https://x.example/", "shop.example", "/", "u=https://x.example/"},
		{"android-app://com.example.shop/home", "com.example.shop", "/home", ""},
		{"shop.example/a", "", "", ""}, {"/a", "", "", ""}, {"javascript:alert(1)", "", "", ""}, {"about:blank", "", "", ""}, {"", "", "", ""}, {"mailto:a@b.example", "", "", ""},
	}
	for _, tt := range tests {
		got := events.URL{}
		if p := readPage(tt.raw); p.url != nil {
			got = *p.url
		}
		if want := (events.URL{Host: tt.host, Path: tt.path, Query: tt.query}); got != want {
			t.Errorf("%.60s: got %+v; want %+v", tt.raw, got, want)
		}
	}
	w := newWorld(t)
	in := ParsePixel([]byte("a=shop&e=page_view&u=https://shop.example/category/20%-off/&r=https://news.example/50%&q=100%+wool"), w.reject)
	w.record(t, &Call{}, &in)
	if f := w.events(); len(f) != 1 || f[0].URL == nil || f[0].URL.Path != "/category/20%-off/" || f[0].RefHost != "news.example" || f[0].Query != "100% wool" {
		t.Errorf("got %+v", f)
	}
}

// Browsers may send several cookies of one name. The valid visitor id counts, and any
// opt-out.
func TestCookiesOfOneName(t *testing.T) {
	w := newWorld(t)
	valid, _ := w.cookies.Mint()
	foreign, _ := NewCookies([32]byte{1}, w.random).Mint()
	for _, line := range []string{
		"rt_uid=; rt_uid=" + valid, "rt_uid=x; rt_uid=" + valid, "rt_uid=" + foreign + "; rt_uid=" + valid, "rt_uid=" + valid + "; rt_uid=x",
		"a=b; rt_uid=" + valid + "; rt_uid=", `rt_uid="` + valid + `"`, "rt_uid=" + valid + "; rt_oo=0", "rt_uid=" + valid + "; rt_oo=", "rt_oo=0; rt_oo=false; rt_uid=" + valid,
	} {
		w.facts = nil
		serve(w.Pixel, "GET", "/v1/px?a=shop&e=page_view", nil, "Cookie", line)
		if f := w.events(); len(f) != 1 || f[0].Visitor != w.keyring.Key(rtb.IDVisitor, "", []byte(valid)) {
			t.Errorf("%s: got %+v; want the visitor of the valid cookie", line, f)
		}
	}
	for _, line := range []string{
		"rt_oo=0; rt_oo=1; rt_uid=" + valid, "rt_oo=; rt_oo=1; rt_uid=" + valid, "rt_oo=1; rt_oo=0", "rt_uid=" + valid + "; rt_oo=1", `rt_oo="1"`, "rt_oo=true", "rt_oo=yes; rt_oo=0", "rt_oo=2",
	} {
		w.facts = nil
		ctx := serve(w.Pixel, "GET", "/v1/px?a=shop&e=page_view", nil, "Cookie", line)
		match := serve(w.Match, "GET", "/v1/match?ex=demo&uid=u1", nil, "Cookie", line)
		if len(w.facts) != 0 || len(ctx.Response.Header.Peek("Set-Cookie")) != 0 || match.Response.StatusCode() != http.StatusNoContent {
			t.Errorf("%s: got %d facts, match %d; want the opt-out to count", line, len(w.facts), match.Response.StatusCode())
		}
	}
	w.facts = nil
	for _, query := range []string{"gdpr=0&gdpr=1", "gdpr=1&gdpr=0", "us_privacy=1YNN&us_privacy=1YYN", "npa=0&npa=1", "gdpr=%zz", "us_privacy=%"} {
		serve(w.Pixel, "GET", "/v1/px?a=shop&e=page_view&"+query, nil)
		if len(w.facts) != 0 {
			t.Errorf("%s: got a fact; want the signal that restricts to count", query)
		}
	}
}

// A host that belongs to no advertiser is ours, whatever a proxy calls it.
func TestSameSiteBehindProxies(t *testing.T) {
	for _, public := range []string{"edge.example", "edge.example:443", "EDGE.example.", "edge.example.:8443"} {
		w := newWorld(t)
		set := *w.setup.Load()
		set.PublicHost, set.HTTPS = public, true
		set.Advertisers[0].Domains = []string{"shop.example"}
		w.Swap(&set)
		for host, want := range map[string]string{
			"edge.example": "None", "edge.example:443": "None", "edge.example.": "None", "Edge.Example": "None", "127.0.0.1:8081": "None",
			"localhost": "None", "[::1]:8081": "None", "10.0.0.7": "None", "edge-7.internal.example:8081": "None", "": "None", "notshop.example": "None",
			"t.shop.example": "Lax", "t.shop.example:443": "Lax", "T.Shop.Example.": "Lax", "shop.example": "Lax",
		} {
			line := w.pixel(t, &Call{Host: host}, "a=shop&e=view_item")
			if !strings.Contains(line, "SameSite="+want+"; Secure") {
				t.Errorf("public %s, host %q: got %q; want SameSite=%s; Secure", public, host, line, want)
			}
			if want == "None" && strings.Contains(line, "Domain=") != (hostName(host) == "edge.example") {
				t.Errorf("public %s, host %q: got %q; want the domain only of a host by which browsers know us", public, host, line)
			}
		}
	}
}

// The server of an advertiser needs the same consent as its pixel, unless its key says
// that it checks.
func TestConsentOfServerEvents(t *testing.T) {
	w := newWorld(t)
	set := *w.setup.Load()
	set.Policy = &privacy.Policy{VendorID: 42}
	set.Vouches = func(key []byte) bool { return strings.HasSuffix(string(key), "+") }
	set.Authenticate = func([]byte) (string, bool, bool) { return "shop", true, true }
	w.Swap(&set)
	for _, tt := range []struct {
		key, consent string
		accepted     int
	}{
		{"k", "", 0}, {"k", `,"consent":{}`, 0}, {"k", `,"consent":{"gdpr":0}`, 1}, {"k", `,"consent":{"gdpr":1}`, 0}, {"k", `,"consent":{"gdpr":0,"gpc":1}`, 0},
		{"k+", "", 1}, {"k+", `,"consent":{}`, 1}, {"k+", `,"consent":{"gdpr":0}`, 1}, {"k+", `,"consent":{"gdpr":1}`, 0}, {"k+", `,"consent":{"npa":1}`, 0}, {"k+", `,"consent":{"gdpr":"?"}`, 0},
	} {
		ctx := serve(w.Events, "POST", "/v1/events", []byte(`{"event":"x","user":{"uid":"u"}`+tt.consent+`}`), "Authorization", "Bearer "+tt.key)
		var r Reply
		if err := json.Unmarshal(ctx.Response.Body(), &r); err != nil || r.Accepted != tt.accepted {
			t.Errorf("key %s%s: got %s; want %d accepted", tt.key, tt.consent, ctx.Response.Body(), tt.accepted)
		}
	}
}

// A dry run checks and stores nothing.
func TestDryRun(t *testing.T) {
	body := []byte(`{"event":"purchase","event_id":"1","user":{"uid":"u","em":["` + hash("a@b") + `"]}}` + "\n" + `{"event":"x"}`)
	for query, dry := range map[string]bool{"dry_run=1": true, "dry_run=true": true, "dry_run": true, "dry_run=yes": true, "dry_run=0&dry_run=1": true, "x=1&dry_run=on": true,
		"": false, "dry_run=0": false, "dry_run=false": false} {
		w := newWorld(t)
		ctx := serve(w.Events, "POST", "/v1/events?"+query, body, "Authorization", "Bearer "+shopKey)
		var r Reply
		if err := json.Unmarshal(ctx.Response.Body(), &r); err != nil || r.Accepted != 1 || len(r.Rejected) != 1 || r.DryRun != dry {
			t.Errorf("%s: got %s", query, ctx.Response.Body())
		}
		if st := w.Stats(); (len(w.facts) == 0) != dry || (st.Rejected["no_user"] == 0) != dry || (len(st.Events) == 0) != dry {
			t.Errorf("%s: got %d facts, %+v", query, len(w.facts), st)
		}
	}
}

func TestEnvelopes(t *testing.T) {
	e := `{"event":"x","user":{"uid":"u"}}`
	for body, want := range map[string]int{
		`{"batch":[` + e + `,` + e + `],"sentAt":"2026-10-01T12:00:00Z"}`: 2, `{"data":[` + e + `]}`: 1, `{"events":[` + e + `,5]}`: 2, `{"batch":[]}`: 0,
		`{"event":"x","data":[1],"user":{"uid":"u"}}`: 1, `{"type":"page","batch":[1]}`: 1, ` {"data" : [` + e + `] }`: 1, "\xef\xbb\xbf" + `{"data":[` + e + `]}`: 1,
	} {
		list, err := SplitBatch([]byte(body))
		if err != nil || len(list) != want {
			t.Errorf("%s: got %d, %v; want %d", body, len(list), err, want)
		}
	}
	for _, body := range []string{`{"batch":{}}`, `{"data":"x"}`, `{"data":null}`, `{"batch":[` + e + `],"data":[` + e + `]}`, `{"consent":{"gdpr":1},"batch":[` + e + `]}`} {
		list, err := SplitBatch([]byte(body))
		if !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: got %d, %v; want it refused", body, len(list), err)
		}
	}
	if _, err := SplitBatch([]byte(`{"batch":[` + strings.TrimSuffix(strings.Repeat(`{},`, 1001), ",") + `]}`)); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v; want too many", err)
	}
}

// A log without capacity is not a failure: servers are told when to retry,
// browsers get their pixel.
func TestBusyLog(t *testing.T) {
	w := newWorld(t)
	w.fail = fmt.Errorf("behind: %w", errLog)
	w.busy = func(err error) (time.Duration, bool) { return 7 * time.Second, errors.Is(err, errLog) }
	r := &serve(w.Events, "POST", "/v1/events", []byte(`{"event":"x","user":{"uid":"u"}}`), "Authorization", "Bearer "+shopKey).Response
	if r.StatusCode() != 503 || string(r.Header.Peek("Retry-After")) != "7" || !strings.Contains(string(r.Body()), "capacity") {
		t.Errorf("got %d %s, Retry-After %s", r.StatusCode(), r.Body(), r.Header.Peek("Retry-After"))
	}
	if p := &serve(w.Pixel, "GET", "/v1/px?a=shop&e=x", nil).Response; p.StatusCode() != 200 || len(p.Body()) != len(gif) {
		t.Errorf("pixel: got %d", p.StatusCode())
	}
	if n := w.Stats().Rejected["not_stored"]; n != 2 {
		t.Errorf("got %d lost; want 2", n)
	}
}

// Batches wait while the views are behind the log, long before bids stop at 5 s; a few
// events, and those of browsers, do not.
func TestBackPressure(t *testing.T) {
	event := `{"event":"x","user":{"uid":"u"}}`
	for _, tt := range []struct {
		lag    time.Duration
		events int
		status int
	}{{0, 1000, 200}, {time.Second, 1000, 200}, {1100 * time.Millisecond, 1000, 503}, {1100 * time.Millisecond, 20, 200}, {1100 * time.Millisecond, 21, 503}, {4 * time.Second, 1, 503}} {
		w := newWorld(t)
		w.behind = func() time.Duration { return tt.lag }
		body := []byte(strings.Repeat(event+"\n", tt.events))
		r := &serve(w.Events, "POST", "/v1/events", body, "Authorization", "Bearer "+shopKey).Response
		if r.StatusCode() != tt.status || (tt.status == 503) != (string(r.Header.Peek("Retry-After")) == "2") {
			t.Errorf("%d events, %v behind: got %d, Retry-After %s; want %d", tt.events, tt.lag, r.StatusCode(), r.Header.Peek("Retry-After"), tt.status)
		}
		w.pixel(t, &Call{}, "a=shop&e=page_view")
		if f := w.events(); len(f) == 0 || f[len(f)-1].Name != "page_view" {
			t.Errorf("%v behind: the event of a browser was not stored", tt.lag)
		}
		if r := serve(w.Events, "POST", "/v1/events?dry_run=1", body, "Authorization", "Bearer "+shopKey); r.Response.StatusCode() != 200 {
			t.Errorf("%v behind: a dry run got %d", tt.lag, r.Response.StatusCode())
		}
	}
}
