package collect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// beacon posts a body to POST /v1/t and returns the response.
func (w *world) beacon(query, body string, header ...string) (int, []byte, map[string]string) {
	r := &serve(w.Beacon, "POST", "/v1/t?"+query, []byte(body), append([]string{"User-Agent", userAgent}, header...)...).Response
	return r.StatusCode(), r.Body(), setCookies(r)
}

// The events of one call are of one visitor, who is new only once, and are stored
// together.
func TestABeaconOfSeveralEvents(t *testing.T) {
	w := newWorld(t)
	status, _, cookies := w.beacon("", `[{"a":"shop","event":"page_view","event_id":"1"},{"a":"shop","event":"view_item","items":["A"],"user":{"em":"`+hash("x")+`"}},
		{"a":"shop","event":"PageView","event_id":"1"},{"a":"nobody","event":"x"},{"a":"shop"}]`)
	if status != 204 || !w.cookies.Valid([]byte(cookies[CookieName])) {
		t.Fatalf("got %d, cookies %v", status, cookies)
	}
	list := w.events()
	if len(list) != 2 || list[0].Visitor != list[1].Visitor || w.Stats().Cookies != 1 {
		t.Errorf("got %+v; want two events of one new visitor", list)
	}
	if s := w.Stats(); s.Duplicates != 1 || s.Rejected["advertiser"] != 1 || s.Rejected["no_event"] != 1 || s.Links != 1 {
		t.Errorf("got %+v", s)
	}
	many := strings.Repeat(`{"a":"shop","event":"x"}`+"\n", maxBeaconEvents+1)
	if w.beacon("", many); w.Stats().Rejected["too_many"] != 1 || len(w.events()) != 2 {
		t.Errorf("too many: got %d events", len(w.events()))
	}
	w.fail = errLog
	if w.beacon("", `[{"a":"shop","event":"p"},{"a":"shop","event":"q"}]`); w.Stats().Rejected["not_stored"] != 2 {
		t.Errorf("got %v; want both counted as not stored", w.Stats().Rejected)
	}
}

func TestCrossOriginCalls(t *testing.T) {
	w := newWorld(t)
	setup := *w.setup.Load()
	setup.Advertisers[0].Domains = []string{"shop.example"}
	w.Swap(&setup)
	for origin, allowed := range map[string]bool{
		"https://shop.example": true, "https://www.shop.example:8443": true, "https://evil.example": false, "https://shop.example.evil.example": false, "null": false,
	} {
		r := &serve(w.Preflight, "OPTIONS", "/v1/t", nil, "Origin", origin, "Access-Control-Request-Headers", "content-type").Response
		if got := string(r.Header.Peek("Access-Control-Allow-Origin")); r.StatusCode() != 204 || (got == origin) != allowed || allowed && string(r.Header.Peek("Access-Control-Allow-Headers")) != "Content-Type" {
			t.Errorf("preflight of %q: got %d and %q", origin, r.StatusCode(), got)
		}
		r = &serve(w.Beacon, "POST", "/v1/t", []byte(`{"a":"shop","event":"x"}`), "Origin", origin, "Content-Type", "application/json").Response
		if got := string(r.Header.Peek("Access-Control-Allow-Origin")); (got == origin && string(r.Header.Peek("Access-Control-Allow-Credentials")) == "true") != allowed || string(r.Header.Peek("Vary")) != "Origin" {
			t.Errorf("beacon of %q: got %q", origin, got)
		}
	}
}

func TestRobotsAndPrefetches(t *testing.T) {
	agents := []string{
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
		"facebookexternalhit/1.1", "Mozilla/5.0 (X11) HeadlessChrome/148.0.0.0 Safari/537.36", "python-requests/2.32", "Mozilla/5.0 (compatible; AhrefsBot/7.0)", "SomeBot",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
	}
	people := []string{
		"", userAgent, "curl/8.5.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Linux; Android 14; CUBOT X50) AppleWebKit/537.36 Chrome/148.0 Mobile Safari/537.36", "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
		"Mozilla/5.0 (Linux; Android 14; Abbott) AppleWebKit/537.36 Chrome/148.0 Mobile Safari/537.36",
	}
	for _, ua := range agents {
		if w := newWorld(t); true {
			_, _, cookies := w.beacon("", `{"a":"shop","event":"view_item","items":["A"]}`, "User-Agent", ua)
			if len(w.facts) != 0 || len(cookies) != 0 || w.Stats().Rejected["robot"] != 1 {
				t.Errorf("%s: got %d facts and cookies %v; want a robot", ua, len(w.facts), cookies)
			}
		}
	}
	for _, ua := range people {
		if isRobot(ua) {
			t.Errorf("%q counts as a robot", ua)
		}
	}
	for _, header := range [][]string{{"Sec-Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"}, {"X-Purpose", "preview"}, {"X-Moz", "prefetch"}} {
		w := newWorld(t)
		serve(w.Pixel, "GET", "/v1/px?a=shop&e=view_item", nil, header...)
		if len(w.facts) != 0 || w.Stats().Rejected["prefetch"] != 1 {
			t.Errorf("%v: got %d facts; want a prefetch", header, len(w.facts))
		}
	}
}

func TestFloods(t *testing.T) {
	w := newWorld(t)
	setup := *w.setup.Load()
	setup.Limits = Limits{VisitorPerHour: 5, AddressPerMinute: 8, AdvertiserPerSecond: 1000}
	w.Swap(&setup)
	uid, _ := w.cookies.Mint()
	hit := func(n int, c Call) (stored int) {
		before := len(w.events())
		for range n {
			call := c
			w.pixel(t, &call, "a=shop&e=view_item")
		}
		return len(w.events()) - before
	}
	if got := hit(20, Call{Cookie: []byte(uid)}); got != 5 {
		t.Errorf("one visitor: got %d events; want 5", got)
	}
	w.now = w.now.Add(time.Hour)
	if got := hit(20, Call{Cookie: []byte(uid)}); got != 5 {
		t.Errorf("an hour later: got %d events; want 5 more", got)
	}
	if got := hit(20, Call{Address: "203.0.113.7"}); got != 8 {
		t.Errorf("one address: got %d events; want 8", got)
	}
	for _, address := range []string{"10.1.2.3", "127.0.0.1", "192.168.7.7", "100.64.3.4", "fd00::1", ""} {
		if got := hit(20, Call{Address: address}); got != 20 {
			t.Errorf("%s: got %d events; want all, because it is that of a proxy", address, got)
		}
	}
	setup.Limits.AdvertiserPerSecond = 10
	w.now = w.now.Add(2 * time.Second)
	if got := hit(20, Call{}); got != 10 {
		t.Errorf("one advertiser: got %d events; want 10", got)
	}
	if s := w.Stats().Rejected; s["flood_visitor"] != 30 || s["flood_address"] != 12 || s["flood_advertiser"] != 10 {
		t.Errorf("got %v", s)
	}
}

// The validator shows what was wrong with an event and how to mend it, and no identifier.
func TestValidator(t *testing.T) {
	w := newWorld(t)
	serve(w.Pixel, "GET", "/v1/px?a=shop&e=ViewItem&v=12,50&u="+"https%3A%2F%2Fshop.example%2Fp%3Femail%3Djane%40doe.example&xid=customer-17", nil)
	w.beacon("", `{"a":"shop","event":"purchase","items":["B"]}`)
	w.beacon("", `{"a":"typo","event":"purchase"}`)
	w.batch(t, `{"event":"view_item","user":{"em":"jane@doe.example"}}`, `{"event":"add-to-cart","user":{"xid":"c"}}`)
	got := w.LastEvents("shop", 10)
	if len(got) != 4 {
		t.Fatalf("got %d events; want 4", len(got))
	}
	describe := func(s Seen) string {
		codes := make([]string, len(s.Problems))
		for i, p := range s.Problems {
			codes[i] = p.Code
			if p.Remedy == "" {
				t.Errorf("%s has no remedy", p.Code)
			}
		}
		return fmt.Sprintf("%s %s as %q %s: %s", s.Channel, s.Event, s.SentAs, s.Status, strings.Join(codes, ","))
	}
	for i, want := range []string{
		`server add-to-cart as "" accepted: custom_name`,
		`server view_item as "" rejected: clear_text`,
		`tag purchase as "" accepted: no_order_id`,
		`pixel view_item as "ViewItem" accepted: bad_value,clear_text,no_items`,
	} {
		if d := describe(got[i]); d != want {
			t.Errorf("%d: got %s; want %s", i, d, want)
		}
	}
	if p := got[3]; p.Page != "shop.example/p" || len(p.Visitor) != 8 || len(p.IDs) != 1 || p.IDs[0] != "xid" {
		t.Errorf("got %+v", p)
	}
	text, err := json.Marshal(got)
	if err != nil || strings.Contains(string(text), "doe.example") || strings.Contains(string(text), "customer-17") {
		t.Errorf("got %s; want no identifiers", text)
	}
	if unknown := w.LastEvents("", 10); len(unknown) != 1 || unknown[0].Problems[0].Code != "advertiser" {
		t.Errorf("unknown advertisers: got %+v", unknown)
	}
	for range 3 * seenEvents {
		w.pixel(t, &Call{}, "a=shop&e=view_item&id=C")
	}
	if n := len(w.LastEvents("shop", 1000)); n != seenEvents {
		t.Errorf("got %d events; want the last %d", n, seenEvents)
	}
	for r := RejectNone + 1; r < RejectReasons; r++ {
		if r.Remedy() == "" || r.String() == "" {
			t.Errorf("reason %d has no remedy or no name", r)
		}
	}
}
