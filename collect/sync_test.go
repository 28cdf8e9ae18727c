package collect

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/internal/conformance"
	"rebound/rtb"
)

const (
	userAgent   = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/148.0 Safari/537.36"
	edgeAddress = "https://edge.example"
)

// sync calls GET /v1/sync like a browser with the given cookies.
func (w *world) sync(query string, cookies ...string) *fasthttp.Response {
	return &serve(w.Sync, "GET", edgeAddress+"/v1/sync?"+query, nil,
		"Cookie", strings.Join(cookies, "; "), "User-Agent", userAgent, "X-Forwarded-Proto", "https").Response
}

func location(r *fasthttp.Response) string { return string(r.Header.Peek("Location")) }

// setCookies returns the names and values of the cookies that a response sets.
func setCookies(r *fasthttp.Response) map[string]string {
	out := map[string]string{}
	for name, line := range r.Header.Cookies() {
		pair, _, _ := strings.Cut(string(line), ";")
		_, value, _ := strings.Cut(pair, "=")
		out[string(name)] = value
	}
	return out
}

func TestSyncRedirectsWithOurID(t *testing.T) {
	conformance.Covers(t, "C1", "C6", "C10")
	w := newWorld(t)
	r := w.sync("ex=ads&gdpr=0")
	uid := setCookies(r)[CookieName]
	if r.StatusCode() != 302 || !w.cookies.Valid([]byte(uid)) {
		t.Fatalf("got %d, cookie %q; want 302 and a cookie of ours", r.StatusCode(), uid)
	}
	if got, want := location(r), "https://ads.example/match?dsp=7&id="+uid+"&c=&gdpr=0"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	line := string(r.Header.Peek("Set-Cookie"))
	for _, attribute := range []string{"Secure", "HttpOnly", "SameSite=None", "Path=/", "Max-Age=33696000"} {
		if !strings.Contains(line, "; "+attribute) {
			t.Errorf("got %s; want %s", line, attribute)
		}
	}
	if n := len(r.Header.Header()) + len(r.Body()); n > 1024 || string(r.Header.Peek("Cache-Control")) != "no-store" {
		t.Errorf("got %d bytes and Cache-Control %q; want at most 1 KiB, not cached", n, r.Header.Peek("Cache-Control"))
	}
	again := newWorld(t)
	again.cookies = w.cookies
	if r := again.sync("ex=ads", CookieName+"="+uid); setCookies(r)[CookieName] != uid || !strings.Contains(location(r), uid) {
		t.Errorf("a known browser: got %s and %v; want its own id", location(r), setCookies(r))
	}
	if s := w.SyncStats()["ads"]; s != (SyncStats{SyncDone: 1}) {
		t.Errorf("got %v; want one sync counted", s)
	}
}

func TestSyncSpellingsOfTheMacro(t *testing.T) {
	conformance.Covers(t, "C1")
	for _, macro := range []string{"$UID", "${UID}", "{UID}", "%24UID", "%24%7BUID%7D", "%7BUID%7D", "$%7bUID%7d"} {
		w := newWorld(t)
		r := w.sync("ex=demo&r=" + url.QueryEscape("https://pbs.example/setuid?bidder=rebound&f=i&uid="+macro))
		if got, want := location(r), "https://pbs.example/setuid?bidder=rebound&f=i&uid="+setCookies(r)[CookieName]; got != want {
			t.Errorf("%s: got %d %s; want %s", macro, r.StatusCode(), got, want)
		}
	}
}

func TestSyncLeadsOnlyToListedHosts(t *testing.T) {
	conformance.Covers(t, "C3")
	for _, target := range []string{
		"https://evil.example/", "https://evil", "https://pbs.example.evil.example/", "https://evil.example/pbs.example",
		"https://pbs.example@evil.example/", "https://evil.example#pbs.example", "https://evil.example\\@pbs.example/", "https://evil.example\\.pbs.example",
		"//evil.example/", "http://pbs.example/", "javascript:alert(1)//pbs.example", "https:pbs.example", "https:///pbs.example", "/relative",
		"https://pbs.example:8443/", "https://pbs.example/\r\nSet-Cookie: a=b", "https://pbs.example/ x", "https://pbs.exam\tple/", "http://127.0.0.1:9001/",
		"https://sub.pbs.example/", "https://pbs.example\x00.evil.example/", "https://" + strings.Repeat("a", 2000) + ".example/",
	} {
		w := newWorld(t)
		r := w.sync("ex=demo&r=" + url.QueryEscape(target))
		if r.StatusCode() != 400 || location(r) != "" || len(setCookies(r)) != 0 {
			t.Errorf("%q: got %d to %q; want 400 and nothing set", target, r.StatusCode(), location(r))
		}
		if w.Stats().Rejected["redirect"] != 1 {
			t.Errorf("%q is not counted", target)
		}
	}
	w := newWorld(t)
	for _, query := range []string{"ex=demo", "ex=nobody&r=https%3A%2F%2Fpbs.example%2F", "r=https%3A%2F%2Fevil", "ex=demo&r=https%3A%2F%2Fpbs.example%2F&r=https%3A%2F%2Fevil"} {
		if r := w.sync(query); r.StatusCode() != 400 || location(r) != "" {
			t.Errorf("%s: got %d to %q; want 400", query, r.StatusCode(), location(r))
		}
	}
	for _, target := range []string{"https://pbs.example/s?u=$UID", "https://PBS.example:443/s?u=$UID", "http://127.0.0.1:9000/s?u=$UID"} {
		if r := newWorld(t).sync("ex=demo&r=" + url.QueryEscape(target)); r.StatusCode() != 302 {
			t.Errorf("%s: got %d; want a redirect", target, r.StatusCode())
		}
	}
}

func TestSyncNeedsConsent(t *testing.T) {
	conformance.Covers(t, "C4", "C11")
	for _, tt := range []struct{ query, header, value string }{
		{"gdpr=1", "", ""},
		{"gdpr=1&gdpr_consent=garbage", "", ""},
		{"gdpr=${GDPR}", "", ""},
		{"us_privacy=1YYN", "", ""},
		{"", "Sec-GPC", "1"},
		{"", "Cookie", "rt_oo=1"},
		{"gdpr=0", "Cookie", "rt_uid=AAAA; rt_oo=1"},
	} {
		for _, target := range []string{"ex=ads&", "ex=demo&r=https%3A%2F%2Fpbs.example%2F&", "ex=demo&r=https%3A%2F%2Fevil&"} {
			w := newWorld(t)
			header := []string{"User-Agent", userAgent}
			if tt.header != "" {
				header = append(header, tt.header, tt.value)
			}
			r := &serve(w.Sync, "GET", "/v1/sync?"+target+tt.query, nil, header...).Response
			if r.StatusCode() != 204 || location(r) != "" || len(r.Header.Peek("Set-Cookie")) != 0 || len(r.Body()) != 0 {
				t.Errorf("%s%s %s: got %d to %q; want 204, no cookie and no redirect", target, tt.query, tt.value, r.StatusCode(), location(r))
			}
			m := &serve(w.Match, "GET", "/v1/match?ex=demo&uid=u1&"+tt.query, nil, header...).Response
			if m.StatusCode() != 204 || len(m.Header.Peek("Set-Cookie")) != 0 || len(w.facts) != 0 {
				t.Errorf("match %s %s: got %d and %d facts; want 204 and nothing stored", tt.query, tt.value, m.StatusCode(), len(w.facts))
			}
			d := &serve(w.DueSyncs, "GET", "/v1/syncs?a=shop&"+tt.query, nil, header...).Response
			if d.StatusCode() != 204 || len(d.Body()) != 0 {
				t.Errorf("syncs %s %s: got %d %s; want 204", tt.query, tt.value, d.StatusCode(), d.Body())
			}
		}
	}
}

func TestSyncPassesTheSignalsOn(t *testing.T) {
	conformance.Covers(t, "C5")
	w := newWorld(t)
	w.setup.Load().Exchanges["macros"] = &Exchange{
		MatchURL: "https://ads.example/m?id=$UID&g=${GDPR}&tc=${GDPR_CONSENT_42}&p=${GPP_STRING_42}&sid=${GPP_SID}&us=${US_PRIVACY}&x=${OTHER}", Resync: time.Hour,
	}
	signals := "&gdpr=0&gdpr_consent=a%2Bb&us_privacy=1YNN&gpp=DBAA&gpp_sid=-1"
	u, err := url.Parse(location(w.sync("ex=macros" + signals)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"g": "0", "tc": "a+b", "p": "DBAA", "sid": "-1", "us": "1YNN", "x": "${OTHER}",
		"gdpr": "0", "gdpr_consent": "a+b", "gpp": "DBAA", "gpp_sid": "-1", "us_privacy": "1YNN",
	} {
		if got := u.Query().Get(name); got != want {
			t.Errorf("%s: got %q; want %q in %s", name, got, want, u)
		}
	}
	r := w.sync("ex=demo&r=" + url.QueryEscape("https://pbs.example/setuid?gdpr=0&gdpr_consent=a%2Bb&uid=$UID") + signals)
	if got := location(r); strings.Count(got, "gdpr=") != 1 || !strings.HasSuffix(got, "&us_privacy=1YNN&gpp=DBAA&gpp_sid=-1") {
		t.Errorf("got %s; want every signal once", got)
	}
}

func TestSyncDoesNotLoop(t *testing.T) {
	conformance.Covers(t, "C9")
	w := newWorld(t)
	first := setCookies(w.sync("ex=ads"))
	kept := []string{CookieName + "=" + first[CookieName], "rt_s_ads=" + first["rt_s_ads"]}
	if r := w.sync("ex=ads", kept...); r.StatusCode() != 204 || location(r) != "" {
		t.Errorf("at once: got %d to %q; want 204", r.StatusCode(), location(r))
	}
	if r := w.sync("ex=demo&r=https%3A%2F%2Fpbs.example%2F", kept...); r.StatusCode() != 302 {
		t.Errorf("another exchange: got %d; want 302", r.StatusCode())
	}
	w.now = w.now.Add(time.Minute)
	if r := w.sync("ex=ads", kept...); r.StatusCode() != 302 {
		t.Errorf("a minute later: got %d; want 302", r.StatusCode())
	}
	// A browser that keeps no cookie ends after a few.
	sent := 0
	for range 20 {
		if w.sync("ex=ads").StatusCode() == 302 {
			sent++
		}
	}
	if sent != maxBounces {
		t.Errorf("without cookies: sent on %d times; want %d", sent, maxBounces)
	}
	if s := w.SyncStats()["ads"]; s[SyncLoop] != 1+20-maxBounces {
		t.Errorf("got %v; want the loops counted", s)
	}
}

func TestDueSyncsAreFew(t *testing.T) {
	conformance.Covers(t, "C7")
	w := newWorld(t)
	setup := w.setup.Load()
	for _, id := range []string{"b", "c", "d", "e"} {
		setup.Exchanges[id] = &Exchange{MatchURL: "https://" + id + ".example/m?u=${UID}", Resync: 7 * 24 * time.Hour}
	}
	due := func(cookies ...string) []string {
		t.Helper()
		r := &serve(w.DueSyncs, "GET", edgeAddress+"/v1/syncs?a=shop&gdpr=0&us_privacy=1YNN", nil, "Cookie", strings.Join(cookies, "; "), "User-Agent", userAgent).Response
		var reply struct{ Syncs []string }
		if err := json.Unmarshal(r.Body(), &reply); r.StatusCode() != 200 || err != nil {
			t.Fatalf("got %d %s", r.StatusCode(), r.Body())
		}
		return reply.Syncs
	}
	list := due()
	if len(list) != 3 || list[0] != "http://edge.example/v1/sync?ex=ads&gdpr=0&us_privacy=1YNN" {
		t.Fatalf("got %q; want the first three, with the signals", list)
	}
	jar := map[string]string{}
	visit := func() (made int) {
		var cookies []string
		for k, v := range jar {
			cookies = append(cookies, k+"="+v)
		}
		for _, u := range due(cookies...) {
			_, query, _ := strings.Cut(u, "?")
			for k, v := range setCookies(w.sync(query, cookies...)) {
				jar[k] = v
			}
			made++
		}
		return made
	}
	for i, want := range []int{3, 2, 0} { // page by page; an exchange without match_url has none
		if got := visit(); got != want {
			t.Fatalf("page %d: got %d syncs; want %d", i+1, got, want)
		}
	}
	w.now = w.now.Add(7 * 24 * time.Hour)
	if got := visit(); got != 3 {
		t.Errorf("a week later: got %d syncs; want 3", got)
	}
}

func TestGoogleParameters(t *testing.T) {
	conformance.Covers(t, "C8")
	w := newWorld(t)
	w.setup.Load().Exchanges["google"] = &Exchange{
		IDSpace: "google", MatchURL: "https://cm.g.doubleclick.net/pixel?google_nid=rebound_dsp&google_cm&google_hm=${UID_B64URL}",
		PassParams: []string{"google_push"}, Resync: time.Hour,
	}
	r := w.sync("ex=google")
	uid := setCookies(r)[CookieName]
	hosted := base64.RawURLEncoding.EncodeToString([]byte(uid))
	if got, want := location(r), "https://cm.g.doubleclick.net/pixel?google_nid=rebound_dsp&google_cm&google_hm="+hosted; got != want {
		t.Errorf("cookie match: got %s; want %s", got, want)
	}
	w.now = w.now.Add(time.Minute)
	if got := location(w.sync("ex=google&google_push=AXcoOmT&other=1", CookieName+"="+uid)); got != "https://cm.g.doubleclick.net/pixel?google_nid=rebound_dsp&google_cm&google_hm="+hosted+"&google_push=AXcoOmT" {
		t.Errorf("pixel match: got %s; want google_push passed on and nothing else", got)
	}
	serve(w.Match, "GET", "/v1/match?ex=google&google_gid=CAESEJ&google_cver=1", nil, "Cookie", CookieName+"="+uid)
	if l := w.links(); len(l) != 1 || l[0].Link.Key != w.keyring.Key(rtb.IDExchange, "google", []byte("CAESEJ")) {
		t.Errorf("got %+v; want google_gid linked", l)
	}
	serve(w.Match, "GET", "/v1/match?ex=google&google_error=3", nil, "Cookie", CookieName+"="+uid)
	if s := w.MatchStats()["google"]; len(w.links()) != 1 || s[SyncUser] != 1 {
		t.Errorf("google_error: got %v; want nothing linked", s)
	}
}

func TestMatchDoesNotTakeAFresherLink(t *testing.T) {
	conformance.Covers(t, "C2")
	w := newWorld(t)
	key := w.keyring.Key(rtb.IDExchange, "demo", []byte("theirs"))
	match := func(exchange, uid, nonce string) int {
		t.Helper()
		before := len(w.links())
		serve(w.Match, "GET", "/v1/match?ex="+exchange+"&uid=theirs&n="+nonce, nil, "Cookie", CookieName+"="+uid, "User-Agent", userAgent)
		return len(w.links()) - before
	}
	alice, _ := w.cookies.Mint()
	mallory, _ := w.cookies.Mint()
	if n := match("demo", alice, ""); n != 1 {
		t.Fatalf("the first match: got %d links; want 1", n)
	}
	w.linked[key], w.seen = w.keyring.Key(rtb.IDVisitor, "", []byte(alice)), w.now
	w.now = w.now.Add(2 * time.Hour)
	if n := match("demo", alice, ""); n != 1 {
		t.Errorf("the same visitor again: got %d links; want it renewed", n)
	}
	nonce := w.cookies.Nonce(mallory, "demo", w.now)
	for name, n := range map[string]string{
		"none": "", "garbage": "xxxx", "of another visitor": w.cookies.Nonce(alice, "demo", w.now), "of another exchange": w.cookies.Nonce(mallory, "ads", w.now),
		"expired": w.cookies.Nonce(mallory, "demo", w.now.Add(-nonceLife-time.Second)), "changed": "B" + nonce[1:],
	} {
		if got := match("demo", mallory, n); got != 0 {
			t.Errorf("nonce %s: the link was taken", name)
		}
	}
	if s := w.MatchStats()["demo"]; s[SyncFresh] != 6 || w.Stats().Rejected["fresher_link"] != 6 {
		t.Errorf("got %v; want 6 refused", s)
	}
	if got := match("demo", mallory, nonce); got != 1 {
		t.Errorf("with a nonce: got %d links; want 1", got)
	}
	w.now = w.now.Add(8 * 24 * time.Hour)
	if got := match("demo", mallory, ""); got != 1 {
		t.Errorf("the link is a week old: got %d links; want 1", got)
	}
}

// The exchange brings the browser back to our match URL, with its own id and our nonce.
func TestSyncByWayOfTheExchange(t *testing.T) {
	conformance.Covers(t, "C2")
	w := newWorld(t)
	w.setup.Load().Exchanges["getuid"] = &Exchange{
		IDSpace: "getuid", MatchURL: "https://ib.ads.example/getuid?${MATCH}", UserMacro: "$UID", Resync: time.Hour,
	}
	r := w.sync("ex=getuid&gdpr=0")
	uid := setCookies(r)[CookieName]
	back, err := url.QueryUnescape(strings.TrimPrefix(location(r), "https://ib.ads.example/getuid?"))
	if err != nil || !strings.HasPrefix(back, edgeAddress+"/v1/match?ex=getuid&n=") || !strings.HasSuffix(back, "&gdpr=0&uid=$UID") {
		t.Fatalf("got %s, %v; want our match URL", back, err)
	}
	stranger := w.keyring.Key(rtb.IDVisitor, "", []byte("stranger"))
	key := w.keyring.Key(rtb.IDExchange, "getuid", []byte("4711"))
	w.linked[key], w.seen = stranger, w.now
	serve(w.Match, "GET", strings.Replace(back, "$UID", "4711", 1), nil, "Cookie", CookieName+"="+uid, "User-Agent", userAgent)
	if l := w.links(); len(l) != 1 || l[0].Link.Key != key || l[0].Visitor != w.keyring.Key(rtb.IDVisitor, "", []byte(uid)) {
		t.Errorf("got %+v; want the id linked to the visitor of the sync", l)
	}
}

func TestSyncIgnoresRobots(t *testing.T) {
	w := newWorld(t)
	for _, header := range [][]string{
		{"User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
		{"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"}, {"X-Moz", "prefetch"},
	} {
		if r := &serve(w.Sync, "GET", "/v1/sync?ex=ads", nil, header...).Response; r.StatusCode() != 204 || len(setCookies(r)) != 0 {
			t.Errorf("%v: got %d; want 204 and no cookie", header, r.StatusCode())
		}
	}
	if s := w.SyncStats()["ads"]; s[SyncRobot] != 4 || w.Stats().Rejected["robot"] != 1 || w.Stats().Rejected["prefetch"] != 3 {
		t.Errorf("got %v and %v", s, w.Stats().Rejected)
	}
}
