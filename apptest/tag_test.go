package apptest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TC strings for vendor 42: everything granted, and purpose 1 alone refused.
const (
	tcGiven   = "CP1R2oAP1R2oAAKABBENBkFgAPIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAAA"
	tcRefused = "CP1R2oAP1R2oAAKABBENBkFgAAAAAAAAAAqIAZAAAAAAAAAAMgAAAAAAAAAA"
)

// tagPage describes the page of the shop that a test opens.
type tagPage struct {
	Consent    string // given, refused, late or none
	Host       string // of the tag
	Shims      bool
	Attributes template.HTMLAttr
	Script     template.JS

	Given, Refused string
}

// shop is a shop with the tag, an edge under the shop's name and under our own, and an
// exchange for cookie sync, all on https.
type shop struct {
	*bidder
	hosts map[string]string

	mu       sync.Mutex // guards the following fields
	page     tagPage
	opened   int      // pages
	exchange []string // calls of the exchange
}

func newShop(t *testing.T) *shop {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	chromiumPath(t) // skip before anything is started
	s := &shop{}
	tmpl := template.Must(template.ParseFiles(filepath.Join("testdata", "tag", "page.html")))
	pages := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		p := s.page
		s.mu.Unlock()
		p.Given, p.Refused = tcGiven, tcRefused
		if err := tmpl.Execute(w, &p); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(pages.Close)
	ads := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.exchange = append(s.exchange, r.URL.String())
	}))
	t.Cleanup(ads.Close)
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	s.bidder = startBidder(t, "--public-url", "https://edge.rebound.example", "--config", shopWith(t, `listen: {public_url: "https://edge.rebound.example", tls: {edge: {cert: `+dir+`/cert.pem, key: `+dir+`/key.pem}}}
exchanges:
  - {id: ads, include: builtin:generic, seat: seat-1, sources: [127.0.0.0/8], billing_source: {banner: burl}, match_url: "https://ads.example/match?u=${UID}&tc=${GDPR_CONSENT}"}
`))
	s.hosts = map[string]string{
		"shop.example": pages.Listener.Addr().String(), "t.shop.example": s.Edge, "edge.rebound.example": s.Edge, "ads.example": ads.Listener.Addr().String(),
	}
	return s
}

// open shows a page of the shop to a browser.
func (s *shop) open(c *chromium, p tagPage) {
	s.t.Helper()
	if p.Host == "" {
		p.Host = "t.shop.example"
	}
	s.mu.Lock()
	s.page = p
	s.opened++
	n := s.opened
	s.mu.Unlock()
	c.open(fmt.Sprintf("https://shop.example/p/SKU1?email=jane@doe.example&utm_source=news&n=%d#top", n))
}

// events returns what the validator has seen, the oldest first, as "event status".
func (s *shop) seen() (events []string, rows []map[string]any) {
	s.t.Helper()
	_, body := s.get("http://" + s.Admin + "/admin/debug?a=shop&n=200")
	all := list(parse(s.t, []byte(body))["events"])
	for i := len(all) - 1; i >= 0; i-- {
		r := obj(all[i])
		rows = append(rows, r)
		events = append(events, str(r["event"])+" "+str(r["status"]))
	}
	return events, rows
}

// expects waits until the validator has seen n events.
func (s *shop) expects(n int) (events []string, rows []map[string]any) {
	s.t.Helper()
	within(s.t, patience, "the events of the page", func() bool {
		events, rows = s.seen()
		return len(events) >= n
	})
	return events, rows
}

// checkQuiet checks that the browser has sent nothing and stored nothing.
func checkQuiet(t *testing.T, c *chromium, when string) {
	t.Helper()
	for _, r := range append(c.beacons(), append(c.sent("/v1/sync"), c.sent("ads.example")...)...) {
		t.Errorf("%s: got %v; want no request", when, r)
	}
	if k := c.cookie("https://t.shop.example/", "rt_uid"); k != nil {
		t.Errorf("%s: got the cookie %v; want none", when, k)
	}
	if v := c.eval("localStorage.length"); v != 0.0 {
		t.Errorf("%s: got %v entries in localStorage; want none", when, v)
	}
}

// A page of a shop with GA4, Meta and Criteo calls, and consent: the calls reach their own
// tags, each thing that the visitor did counts once, the address leaves the browser as a
// hash only, the cookie comes by header, the syncs that are due are made, and the bidder
// bids.
func TestTagWithConsent(t *testing.T) {
	s := newShop(t)
	c := startChromium(t, s.hosts)
	t.Logf("ran with %s", c)
	s.open(c, tagPage{Consent: "given", Shims: true, Script: `rt('identify', {em: ' Jane@Doe.example '});`})
	c.eval(`document.getElementById('cart').click()`)

	events, rows := s.expects(7)
	got := strings.Join(events, ", ")
	for _, want := range []string{"page_view accepted", "view_item accepted", "add_to_cart accepted", "identify accepted"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("got %s; want %s once", got, want)
		}
	}
	if n := strings.Count(got, "view_item duplicate"); n != 2 {
		t.Errorf("got %s; want view_item of Meta and Criteo to be duplicates of that of GA4", got)
	}
	if strings.Contains(got, "rejected") {
		t.Errorf("got %s: %v; want none rejected", got, rows)
	}
	visitor := str(rows[0]["visitor"])
	for _, r := range rows {
		if v := str(r["visitor"]); v != visitor || v == "" {
			t.Errorf("got visitors %s and %s; want one", visitor, v)
		}
		if p := str(r["page"]); p != "shop.example/p/SKU1" {
			t.Errorf("got page %s", p)
		}
	}
	checkOriginals(t, c)
	checkCookie(t, c)
	for _, r := range c.sent("t.shop.example") {
		if strings.Contains(strings.ToLower(r.url+r.body), "doe.example") {
			t.Errorf("the address left the browser: %s %s", r.url, r.body)
		}
	}
	if posts := c.beacons(); !strings.Contains(postsText(posts), hashOf("jane@doe.example")) {
		t.Errorf("got %v; want the hash of the address", posts)
	}
	uid := str(c.awaitCookie("https://t.shop.example/", "rt_uid")["value"])
	s.awaitBid(uid)
	within(t, patience, "the sync with the exchange", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.exchange) == 1 && s.exchange[0] == "/match?u="+uid+"&tc="+tcGiven+"&gdpr=1&gdpr_consent="+tcGiven
	})
	if text := c.consoleText(); strings.Contains(text, "exception") || strings.Contains(text, "[rebound]") {
		t.Errorf("the console shows %s; want nothing", text)
	}
	checkNothingOnDisk(t, s.dir, "doe.example")
}

func postsText(posts []browserRequest) string {
	var b strings.Builder
	for _, p := range posts {
		b.WriteString(p.body)
	}
	return b.String()
}

// checkOriginals checks that the other tags got their calls.
func checkOriginals(t *testing.T, c *chromium) {
	t.Helper()
	for _, x := range []struct {
		expression string
		want       any
	}{
		{`dataLayer.length`, 3.0},
		{`dataLayer[2][1]`, "view_item"},
		{`fbq.queue.length`, 4.0},
		{`[].map.call(fbq.queue, a => a[1]).join()`, "123,PageView,ViewContent,AddToCart"},
		{`fbq.version + fbq.loaded`, "2.0true"},
		{`criteo_q.length`, 3.0},
		{`Array.isArray(dataLayer) + ',' + typeof fbq`, "true,function"},
		{`(fbq.callMethod = function () {}, _fbq.callMethod === fbq.callMethod)`, true}, // fbevents.js sets it on one and calls it on the other
		{`criteo_q.push({event: 'setSiteType', type: 'm'})`, 4.0},
	} {
		if got := c.eval(x.expression); got != x.want {
			t.Errorf("%s: got %v; want %v", x.expression, got, x.want)
		}
	}
}

// checkCookie checks the cookie of the visitor: set by header, for scripts invisible.
func checkCookie(t *testing.T, c *chromium) {
	t.Helper()
	k := c.awaitCookie("https://t.shop.example/", "rt_uid")
	if k["httpOnly"] != true || k["secure"] != true || k["sameSite"] != "Lax" || k["domain"] != ".shop.example" {
		t.Errorf("got cookie %v; want a first-party one, Secure and HttpOnly", k)
	}
	if v := c.eval("document.cookie"); v != "" {
		t.Errorf("scripts read %v; want nothing", v)
	}
}

// checkNothingOnDisk checks that no file of the data folder contains a text.
func checkNothingOnDisk(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(bytes.ToLower(b), []byte(text)) {
			t.Errorf("%s contains %s", path, text)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Without consent the tag sends and stores nothing, whatever the page calls.
func TestTagWithoutConsent(t *testing.T) {
	s := newShop(t)
	c := startChromium(t, s.hosts)
	s.open(c, tagPage{Consent: "refused", Shims: true, Script: `rt('event', 'add_to_cart', {items: [{id: 'SKU1'}]}); rt('identify', {em: 'jane@doe.example'});`})
	c.rest()
	checkQuiet(t, c, "refused")

	c.do("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})`})
	s.open(c, tagPage{Consent: "none"})
	c.rest()
	checkQuiet(t, c, "Global Privacy Control")
	if events, _ := s.seen(); len(events) != 0 {
		t.Errorf("got %v; want nothing", events)
	}
}

// A visitor who takes their time: nothing is sent before they decide, and what they did
// meanwhile is sent when they agree, and dropped when they refuse.
func TestTagWithLateConsent(t *testing.T) {
	s := newShop(t)
	c := startChromium(t, s.hosts)
	late := tagPage{Consent: "late", Script: `rt('event', 'view_item', {items: [{id: 'SKU1', price: 79.9}], currency: 'USD'});`}
	s.open(c, late)
	c.rest()
	checkQuiet(t, c, "undecided")
	c.eval("decide('given')")
	events, _ := s.expects(2)
	if got := strings.Join(events, ", "); got != "page_view accepted, view_item accepted" {
		t.Errorf("agreed: got %s", got)
	}
	s.awaitBid(str(c.awaitCookie("https://t.shop.example/", "rt_uid")["value"]))

	s.open(c, late)
	c.rest()
	c.eval("decide('refused')")
	c.rest()
	if events, _ := s.seen(); len(events) != 2 {
		t.Errorf("refused: got %v; want nothing more", events)
	}
	// Consent that is withdrawn ends it, and consent that comes after a refusal begins with
	// what happens from then on.
	c.eval("decide('given')")
	c.eval("rt('event', 'search', {q: 'boots'})")
	if events, _ := s.expects(3); events[2] != "search accepted" {
		t.Errorf("agreed after all: got %v", events)
	}
	// A page that needs consent, with a platform that loads after the tag.
	before := len(c.beacons())
	s.open(c, tagPage{Consent: "none", Attributes: `data-consent="required"`})
	c.rest()
	if n := len(c.beacons()); n != before {
		t.Errorf("no platform and consent required: got %d requests; want none", n-before)
	}
	c.eval(`rt('consent', {gdpr: 1, tc: '` + tcGiven + `'})`)
	if events, _ := s.expects(4); events[3] != "page_view accepted" {
		t.Errorf("consent by hand: got %v", events)
	}
}

// Browsers such as Safari keep no third-party cookies and delete what scripts store. The
// cookie that the tag's host sets by header lasts; under a foreign host there is none, and
// nothing breaks.
func TestTagUnderSafarisCookieRules(t *testing.T) {
	s := newShop(t)
	c := startChromium(t, s.hosts, "--test-third-party-cookie-phaseout")
	page := tagPage{Consent: "given"}
	visit := func(p tagPage, n int) string {
		t.Helper()
		s.open(c, p)
		_, rows := s.expects(n)
		c.eval(`localStorage.clear(), sessionStorage.clear()`)
		return str(rows[n-1]["visitor"])
	}
	first := visit(page, 1)
	uid := c.awaitCookie("https://t.shop.example/", "rt_uid")["value"]
	if second := visit(page, 2); first != second || uid == "" || c.cookie("https://t.shop.example/", "rt_uid")["value"] != uid {
		t.Errorf("got visitors %s and %s; want one", first, second)
	}
	page.Host = "edge.rebound.example"
	third, fourth := visit(page, 3), visit(page, 4)
	if third == fourth || third == first || c.cookie("https://edge.rebound.example/", "rt_uid") != nil {
		t.Errorf("third-party: got visitors %s and %s; want two, because no cookie is kept", third, fourth)
	}
}

// With the debug flag the console shows each event and what the server made of it.
func TestTagDebug(t *testing.T) {
	s := newShop(t)
	c := startChromium(t, s.hosts)
	s.open(c, tagPage{Consent: "given", Attributes: "data-debug", Script: `rt('event', 'view_item', {currency: 'Dollar'}); rt('event', 'AddToCart', {items: [{id: 'SKU1'}]});`})
	within(t, patience, "the server's word in the console", func() bool { return strings.Contains(c.consoleText(), `"server"`) })
	_, rows := s.expects(3)
	if p := list(rows[1]["problems"]); len(p) != 2 || obj(p[0])["code"] != "bad_currency" || obj(p[1])["code"] != "no_items" || str(obj(p[0])["remedy"]) == "" {
		t.Errorf("got %v; want the currency and the missing items", rows[1])
	}
	if rows[2]["event"] != "add_to_cart" || rows[2]["sent_as"] != "AddToCart" {
		t.Errorf("got %v; want the name and what it was sent as", rows[2])
	}
}

// A page that the browser prerenders counts when the visitor opens it.
func TestTagWhilePrerendering(t *testing.T) {
	s := newShop(t)
	c := startChromium(t, s.hosts)
	c.do("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `Object.defineProperty(document, 'prerendering', {value: true, writable: true})`})
	s.open(c, tagPage{Consent: "given"})
	c.rest()
	checkQuiet(t, c, "prerendering")
	c.eval(`document.prerendering = false, document.dispatchEvent(new Event('prerenderingchange'))`)
	if events, _ := s.expects(1); events[0] != "page_view accepted" {
		t.Errorf("got %v; want the page view", events)
	}
}

// A headless browser that says so is a robot: it gets no cookie and is counted apart.
func TestRobotsInTheBrowser(t *testing.T) {
	s := newShop(t)
	robot := startChromium(t, s.hosts, "--user-agent="+strings.Replace(userAgent, "Chrome/", "HeadlessChrome/", 1))
	s.open(robot, tagPage{Consent: "given"})
	_, rows := s.expects(1)
	if p := list(rows[0]["problems"]); rows[0]["status"] != "rejected" || len(p) != 1 || obj(p[0])["code"] != "robot" {
		t.Errorf("got %v; want a robot", rows[0])
	}
	if k := robot.cookie("https://t.shop.example/", "rt_uid"); k != nil {
		t.Errorf("a robot got the cookie %v", k)
	}
	if n := s.metric("rebound_collect_rejected_total", "reason", "robot"); n < 1 {
		t.Errorf("got %v robots counted; want the event", n)
	}
}

// hashOf is the SHA-256 of a text in hex.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
