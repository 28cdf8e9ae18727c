package collect

import (
	"net/url"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"rebound/rtb"
)

// The server remembers who opted out: a browser that lost its opt-out cookie, and one that
// lost all cookies but names an identifier that opted out, get no cookie, no sync and no
// match, and nothing is stored.
func TestOptOutWithoutItsCookie(t *testing.T) {
	w := newWorld(t)
	w.setup.Load().advertisers["shop"].Domains = []string{"shop.example"}
	uid := value(w.pixel(t, &Call{}, "a=shop&e=view_item"))
	w.facts = nil
	email := hash("ann@mail.example")
	for _, k := range []rtb.Key{
		w.keyring.Key(rtb.IDVisitor, "", []byte(uid)), w.keyring.Key(rtb.IDEmail, "shop", []byte(email)),
		w.keyring.Key(rtb.IDExchange, "demo", []byte("user-1")),
	} {
		w.out[k] = true
	}
	other, err := w.cookies.Mint()
	if err != nil {
		t.Fatal(err)
	}
	cookie := CookieName + "=" + uid
	r := url.QueryEscape("https://pbs.example/setuid?uid=$UID")
	for _, tt := range []struct{ name, path, cookies string }{
		{"pixel", "/v1/px?a=shop&e=view_item", cookie},
		{"pixel, second of two visitor cookies", "/v1/px?a=shop&e=view_item", CookieName + "=" + other + "; " + cookie},
		{"sync", "/v1/sync?ex=demo&r=" + r, cookie},
		{"match", "/v1/match?ex=demo&uid=user-2", cookie},
		{"due syncs", "/v1/syncs?a=shop", cookie},
		{"match of the user, no cookie", "/v1/match?ex=demo&uid=user-1", ""},
		{"match of the user, another cookie", "/v1/match?ex=demo&uid=user-1", CookieName + "=" + other},
		{"pixel with the address, no cookie", "/v1/px?a=shop&e=identify&em=" + email, ""},
		{"open", "/v1/open?a=shop&c=1&n=1&eh=" + email, ""},
		{"click", "/v1/click?a=shop&c=1&n=1&eh=" + email + "&u=" + url.QueryEscape("https://shop.example/"), ""},
	} {
		before := w.Stats().Rejected["opted_out"]
		rs := w.get(tt.path, tt.cookies)
		if len(setCookies(rs)) != 0 || len(w.facts) != 0 || tt.name == "sync" && location(rs) != "" {
			t.Errorf("%s: got status %d, cookies %v, redirect %q, %d facts; want nothing stored or set", tt.name, rs.StatusCode(), setCookies(rs), location(rs), len(w.facts))
		}
		if n := w.Stats().Rejected["opted_out"]; n != before+1 {
			t.Errorf("%s: got %d counted; want 1", tt.name, n-before)
		}
	}
	for _, user := range []string{`"uid":"` + uid + `"`, `"em":"` + email + `"`, `"uid":"` + other + `","em":"` + email + `"`} {
		reply := w.batch(t, `{"event":"purchase","user":{`+user+`}}`)
		if len(reply.Rejected) != 1 || reply.Rejected[0].Code != "opted_out" || len(w.facts) != 0 {
			t.Errorf("server event of {%s}: got %+v and %d facts; want opted_out", user, reply, len(w.facts))
		}
	}
}

// get calls an endpoint like a browser with the given cookies.
func (w *world) get(path, cookies string) *fasthttp.Response {
	handler := map[string]fasthttp.RequestHandler{"/v1/px": w.Pixel, "/v1/sync": w.Sync, "/v1/match": w.Match, "/v1/syncs": w.DueSyncs, "/v1/open": w.Open, "/v1/click": w.MailClick}
	name, _, _ := strings.Cut(path, "?")
	return &serve(handler[name], "GET", edgeAddress+path, nil, "Cookie", cookies, "User-Agent", userAgent, "X-Forwarded-Proto", "https").Response
}

// A browser that opts in again is a new visitor; its identifiers stay opted out, so that
// they are not linked to it.
func TestOptInAfterAnOptOut(t *testing.T) {
	w := newWorld(t)
	email := hash("ann@mail.example")
	w.out[w.keyring.Key(rtb.IDEmail, "shop", []byte(email))] = true
	rs := &serve(w.OptIn, "DELETE", edgeAddress+"/v1/optout", nil, "Cookie", "rt_oo=1").Response
	back, sent := setCookies(rs)[OptOutCookie]
	if rs.StatusCode() != 204 || !sent || OptedOut([]byte(back)) {
		t.Fatalf("got %d and cookies %v; want 204 and an opt-in", rs.StatusCode(), setCookies(rs))
	}
	rs = w.get("/v1/px?a=shop&e=view_item&em="+email, OptOutCookie+"="+back)
	if setCookies(rs)[CookieName] == "" || len(w.events()) != 1 || len(w.links()) != 0 {
		t.Errorf("got cookies %v, %d events, %d links; want the event of a new visitor without the address", setCookies(rs), len(w.events()), len(w.links()))
	}
}
