package apptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"rebound/internal/conformance"
)

// standIn is an exchange, or a Prebid Server, of the test: it knows its users by a
// cookie of its own and keeps what cookie sync tells it.
type standIn struct {
	*httptest.Server
	mu     sync.Mutex
	ours   map[string]string // our visitor id by its own user id
	params url.Values        // of the last call
}

// newStandIn starts one whose user ids begin with prefix. handle serves what is not
// /match: it is told the user id of the browser.
func newStandIn(t *testing.T, prefix string, handle func(x *standIn, user string, w http.ResponseWriter, r *http.Request)) *standIn {
	t.Helper()
	x := &standIn{ours: map[string]string{}}
	users := 0
	x.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.mu.Lock()
		defer x.mu.Unlock()
		user := ""
		if c, err := r.Cookie(prefix); err == nil {
			user = c.Value
		} else {
			users++
			user = fmt.Sprintf("%s-user-%d", prefix, users)
			http.SetCookie(w, &http.Cookie{Name: prefix, Value: user, Path: "/"})
		}
		x.params = r.URL.Query()
		handle(x, user, w, r)
	}))
	t.Cleanup(x.Close)
	return x
}

// keep remembers our id for a user, as the match endpoint of an exchange does.
func keep(param string) func(*standIn, string, http.ResponseWriter, *http.Request) {
	return func(x *standIn, user string, _ http.ResponseWriter, r *http.Request) {
		x.ours[user] = r.URL.Query().Get(param)
	}
}

// theOnly returns the only user that the stand-in has our id for.
func (x *standIn) theOnly(t *testing.T) (user, ours string) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.ours) != 1 {
		t.Fatalf("the exchange knows %v; want one user with our id", x.ours)
	}
	for user, ours = range x.ours {
	}
	return user, ours
}

// visit makes the browser load a URL, redirects included, and returns the last status.
func (w *browser) visit(u string) (int, string) {
	w.b.t.Helper()
	rs, body := call(w.b.t, w.c, http.MethodGet, u, "", nil)
	return rs.StatusCode, string(body)
}

// bidsFor asks until a request with the given user object gets a bid.
func (b *bidder) bidsFor(exchange, user string) {
	b.t.Helper()
	rq := []byte(strings.Replace(string(request("sync-"+exchange, "none")), `{"buyeruid":"none"}`, user, 1))
	within(b.t, patience, exchange+" finds the visitor by "+user, func() bool {
		status, _ := b.ask(exchange, rq)
		return status == http.StatusOK
	})
}

// A sync makes a visitor known to two exchanges: one keeps our id and sends it as
// buyeruid, of the other we keep the user id and find it in user.id. The tag's list of
// syncs starts both.
func TestCookieSyncWithTwoExchanges(t *testing.T) {
	conformance.Covers(t, "C1", "C2", "C5", "C7")
	adx := newStandIn(t, "adx", keep("dsp_uid"))
	getuid := newStandIn(t, "ssp", func(x *standIn, user string, w http.ResponseWriter, r *http.Request) {
		target, err := url.QueryUnescape(r.URL.RawQuery)
		if err != nil {
			t.Error(err)
		}
		http.Redirect(w, r, strings.ReplaceAll(target, "$UID", user), http.StatusFound)
		x.ours[user] = ""
	})
	const common = `, include: builtin:generic, seat: seat-1, sources: [127.0.0.0/8], billing_source: {banner: burl}`
	b := startBidder(t, "--config", shopWith(t, `exchanges:
  - {id: adx`+common+`, match_url: "`+adx.URL+`/match?partner=7&dsp_uid=${UID}&tc=${GDPR_CONSENT_42}"}
  - {id: ssp`+common+`, match_url: "`+getuid.URL+`/getuid?${MATCH}"}
`))
	alice := b.browser()
	uid := alice.pixel("a=shop&e=view_item&id=SKU1")
	edge := "http://" + b.Edge

	_, body := alice.visit(edge + "/v1/syncs?a=shop&gdpr=0&gdpr_consent=TCSTRING")
	var due struct{ Syncs []string }
	if err := json.Unmarshal([]byte(body), &due); err != nil || len(due.Syncs) != 2 {
		t.Fatalf("syncs due: got %s; want two", body)
	}
	for _, u := range due.Syncs {
		if status, body := alice.visit(u); status != http.StatusOK {
			t.Fatalf("%s: got %d %s", u, status, body)
		}
	}
	user, ours := adx.theOnly(t)
	if ours != uid {
		t.Errorf("the exchange keeps %q for %s; want our visitor %s", ours, user, uid)
	}
	if p := adx.params; p.Get("tc") != "TCSTRING" || p.Get("gdpr") != "0" || p.Get("partner") != "7" {
		t.Errorf("the exchange got %v; want the privacy signals passed on", p)
	}
	b.bidsFor("adx", fmt.Sprintf(`{"buyeruid":%q}`, ours))
	theirs, _ := getuid.theOnly(t)
	b.bidsFor("ssp", fmt.Sprintf(`{"id":%q}`, theirs))
	if status, _ := b.ask("adx", []byte(strings.Replace(string(request("x", "none")), `{"buyeruid":"none"}`, `{"id":"`+theirs+`"}`, 1))); status != http.StatusNoContent {
		t.Errorf("the user id of one exchange at another: got %d; want no bid", status)
	}
	if _, body := alice.visit(edge + "/v1/syncs?a=shop&gdpr=0"); body != "{\"syncs\":[]}\n" {
		t.Errorf("after the syncs: got %s; want none due", body)
	}
	checkMatchReport(t, b)
}

// checkMatchReport checks the report of the match rates after the syncs above.
func checkMatchReport(t *testing.T, b *bidder) {
	t.Helper()
	_, body := b.get("http://" + b.Admin + "/admin/matches")
	for _, row := range list(parse(t, []byte(body))["exchanges"]) {
		r := obj(row)
		syncs, _ := num(obj(r["syncs"])["ok"])
		known, _ := num(r["known"])
		unknown, _ := num(r["unknown"])
		pct, reported := num(r["match_rate_pct"])
		switch r["exchange"] {
		case "adx":
			if syncs != 1 || known < 1 || unknown != 1 || !reported || pct <= 0 || pct >= 100 {
				t.Errorf("got %v; want one sync, a known and an unknown visitor", r)
			}
		case "ssp":
			if matches, _ := num(obj(r["matches"])["ok"]); syncs != 1 || matches != 1 || known < 1 {
				t.Errorf("got %v; want one sync, its match and a known visitor", r)
			}
		case "demo":
			if reported {
				t.Errorf("got %v; want no match rate without requests", r)
			}
		}
	}
	if n := b.metric("rebound_bidder_identified_total", "exchange", "adx", "kind", "unknown"); n != 1 {
		t.Errorf("identified: got %v unknown; want 1", n)
	}
	if n := b.metric("rebound_collect_syncs_total", "exchange", "ssp", "code", "ok"); n != 1 {
		t.Errorf("syncs: got %v; want 1", n)
	}
}

// Prebid Server asks the page to call our sync with its /setuid as r, and sends what it
// received there as buyeruid.
func TestPrebidServerSync(t *testing.T) {
	conformance.Covers(t, "C1", "C3", "C5")
	var edge string
	pbs := newStandIn(t, "uids", func(x *standIn, user string, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cookie_sync": // as configured in a bidder-info file: userMacro $UID
			setuid := "http://" + r.Host + "/setuid?bidder=rebound&gdpr=0&gdpr_consent=&us_privacy=1YNN&gpp=&gpp_sid=&f=i&uid=$UID"
			fmt.Fprintf(w, `{"status":"no_cookie","bidder_status":[{"bidder":"rebound","no_cookie":true,"usersync":{"type":"redirect","url":%q}}]}`,
				edge+"/v1/sync?ex=pbs&gdpr=0&gdpr_consent=&us_privacy=1YNN&gpp=&gpp_sid=&r="+url.QueryEscape(setuid))
		case "/setuid":
			x.ours[user] = r.URL.Query().Get("uid")
		}
	})
	b := startBidder(t, "--config", shopWith(t, `exchanges:
  - {id: pbs, include: builtin:prebid26, seat: seat-1, sources: [127.0.0.0/8], redirect_hosts: ["`+strings.TrimPrefix(pbs.URL, "http://")+`"]}
`))
	edge = "http://" + b.Edge
	alice := b.browser()
	uid := alice.pixel("a=shop&e=view_item&id=SKU1")
	_, body := alice.visit(pbs.URL + "/cookie_sync")
	status := list(parse(t, []byte(body))["bidder_status"])
	link := str(obj(obj(status[0])["usersync"])["url"])
	if code, body := alice.visit(link); code != http.StatusOK {
		t.Fatalf("sync: got %d %s", code, body)
	}
	_, ours := pbs.theOnly(t)
	if ours != uid {
		t.Fatalf("setuid got %q; want %q", ours, uid)
	}
	b.bidsFor("pbs", fmt.Sprintf(`{"buyeruid":%q}`, ours))
	for _, other := range []string{"https://evil", "https://evil.example/setuid?uid=$UID", pbs.URL + ".evil.example/"} {
		rs, _ := call(t, nil, http.MethodGet, edge+"/v1/sync?ex=pbs&r="+url.QueryEscape(other), "", nil)
		if rs.StatusCode != http.StatusBadRequest || rs.Header.Get("Location") != "" || len(rs.Cookies()) != 0 {
			t.Errorf("%s: got %d to %q; want 400", other, rs.StatusCode, rs.Header.Get("Location"))
		}
	}
}

// Without consent a sync leads nowhere, and after an opt-out none does.
func TestSyncWithoutConsent(t *testing.T) {
	conformance.Covers(t, "C4", "C11")
	adx := newStandIn(t, "adx", keep("u"))
	b := startBidder(t, "--config", shopWith(t, `exchanges:
  - {id: adx, include: builtin:generic, seat: seat-1, sources: [127.0.0.0/8], billing_source: {banner: burl}, match_url: "`+adx.URL+`/m?u=$UID"}
`))
	edge := "http://" + b.Edge
	for _, c := range [][]string{{"&gdpr=1"}, {"&gdpr=1&gdpr_consent=x"}, {"&us_privacy=1YYN"}, {"", "Sec-GPC", "1"}, {"", "Cookie", "rt_oo=1"}} {
		for _, path := range []string{"/v1/sync?ex=adx", "/v1/match?ex=adx&uid=u1", "/v1/syncs?a=shop"} {
			rs, body := call(t, nil, http.MethodGet, edge+path+c[0], "", nil, c[1:]...)
			if rs.StatusCode != http.StatusNoContent || len(rs.Cookies()) != 0 || rs.Header.Get("Location") != "" || len(body) != 0 {
				t.Errorf("%s %v: got %d, %v; want 204 and nothing else", path, c, rs.StatusCode, rs.Header)
			}
		}
	}
	if len(adx.ours) != 0 {
		t.Errorf("the exchange got %v; want nothing", adx.ours)
	}
	if n := b.metric("rebound_collect_links_total"); n != 0 {
		t.Errorf("got %v links; want none", n)
	}
}
