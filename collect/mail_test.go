package collect

import (
	"net/url"
	"testing"

	"rebound/events"
	"rebound/rtb"
)

func TestMailOpen(t *testing.T) {
	w := newWorld(t)
	h := hash("jane@doe.example")
	open := func(query string, header ...string) {
		t.Helper()
		r := &serve(w.Open, "GET", "/v1/open?"+query, nil, header...).Response
		if r.StatusCode() != 200 || len(r.Body()) != 43 || len(setCookies(r)) != 0 {
			t.Fatalf("%s: got %d, %d bytes, cookies %v; want the GIF alone", query, r.StatusCode(), len(r.Body()), setCookies(r))
		}
	}
	open("a=shop&c=october&n=17&eh=" + h)
	open("a=shop&c=october&n=17&eh=" + h) // shown again
	list := w.events()
	if len(list) != 1 || list[0].Name != "email_open" || list[0].UTM["campaign"] != "october" || list[0].UTM["medium"] != "email" || list[0].Trust != events.TrustBrowser || list[0].URL != nil {
		t.Fatalf("got %+v; want one open", list)
	}
	em := w.keyring.Key(rtb.IDEmail, "shop", []byte(h))
	if l := w.links(); len(l) != 1 || l[0].Link.Key != em || l[0].Visitor != list[0].Visitor || l[0].Provenance != "mail" {
		t.Errorf("got %+v; want the address linked to the visitor of the open", l)
	}
	jane := w.keyring.Key(rtb.IDVisitor, "", []byte("jane"))
	w.linked[em] = jane
	open("a=shop&c=october&n=18&eh=" + h)
	if list := w.events(); len(list) != 2 || list[1].Visitor != jane {
		t.Errorf("got %+v; want the visitor that the address is linked to", list)
	}
	uid, _ := w.cookies.Mint()
	open("a=shop&c=october&n=19", "Cookie", CookieName+"="+uid)
	if list := w.events(); len(list) != 3 || list[2].Visitor != w.keyring.Key(rtb.IDVisitor, "", []byte(uid)) {
		t.Errorf("got %+v; want the visitor of the cookie", list)
	}
	for query, reason := range map[string]string{
		"a=shop&n=1": "no_user", "a=nobody&eh=" + h: "advertiser", "a=shop&eh=jane@doe.example": "clear_text", "a=shop&gdpr=1&eh=" + h: "consent",
	} {
		before := w.Stats().Rejected[reason]
		open(query)
		if w.Stats().Rejected[reason] != before+1 {
			t.Errorf("%s: %s is not counted", query, reason)
		}
	}
	if len(w.events()) != 3 {
		t.Errorf("got %d events; want 3", len(w.events()))
	}
}

func TestMailClick(t *testing.T) {
	w := newWorld(t)
	w.setup.Load().advertisers["shop"].Domains = []string{"shop.example"}
	click := func(query string) (int, string, map[string]string) {
		r := &serve(w.MailClick, "GET", "/v1/click?"+query, nil, "User-Agent", userAgent).Response
		return r.StatusCode(), location(r), setCookies(r)
	}
	target := "https://www.shop.example/sale?email=jane@doe.example#top"
	status, to, cookies := click("a=shop&c=october&n=17&eh=" + hash("jane@doe.example") + "&u=" + url.QueryEscape(target))
	if status != 302 || to != target || !w.cookies.Valid([]byte(cookies[CookieName])) {
		t.Fatalf("got %d to %q, cookies %v", status, to, cookies)
	}
	visitor := w.keyring.Key(rtb.IDVisitor, "", []byte(cookies[CookieName]))
	if list := w.events(); len(list) != 1 || list[0].Name != "email_click" || list[0].Visitor != visitor {
		t.Errorf("got %+v; want the click of the browser's visitor", list)
	}
	if l := w.links(); len(l) != 1 || l[0].Visitor != visitor {
		t.Errorf("got %+v; want the address linked to the browser", l)
	}
	if status, to, cookies := click("a=shop&gdpr=1&u=" + url.QueryEscape(target)); status != 302 || to != target || len(cookies) != 0 || len(w.events()) != 1 {
		t.Errorf("without consent: got %d to %q; want the page and nothing stored", status, to)
	}
	for _, bad := range []string{
		"", "https://evil.example/", "https://shop.example.evil.example/", "https://evil.example/shop.example", "https://evilshop.example/", "javascript:alert(1)",
		"//shop.example/", "https://shop.example@evil.example/", "https://evil.example\\.shop.example/", "https://shop.example/\r\nX: y", "ftp://shop.example/", "https:shop.example",
	} {
		if status, to, _ := click("a=shop&u=" + url.QueryEscape(bad)); status != 400 || to != "" {
			t.Errorf("%q: got %d to %q; want 400", bad, status, to)
		}
	}
	if status, _, _ := click("a=nobody&u=" + url.QueryEscape(target)); status != 400 {
		t.Errorf("an unknown advertiser: got %d; want 400", status)
	}
}
