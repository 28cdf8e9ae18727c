package collect

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// serve calls a handler with one request.
func serve(h fasthttp.RequestHandler, method, uri string, body []byte, header ...string) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI(uri)
	ctx.Request.SetBody(body)
	for i := 0; i+1 < len(header); i += 2 {
		ctx.Request.Header.Set(header[i], header[i+1])
	}
	h(ctx)
	return ctx
}

func TestPixelHandler(t *testing.T) {
	w := newWorld(t)
	for _, query := range []string{"a=shop&e=view_item", "", "a=nobody", "%%%", "a=shop&e=x&gdpr=1"} {
		ctx := serve(w.Pixel, "GET", "http://edge.example/v1/px?"+query, nil)
		r := &ctx.Response
		if r.StatusCode() != 200 || len(r.Body()) != 43 || string(r.Header.ContentType()) != "image/gif" ||
			string(r.Header.Peek("Cache-Control")) != "no-store" {
			t.Errorf("%q: got %d, %d bytes of %s", query, r.StatusCode(), len(r.Body()), r.Header.ContentType())
		}
		if got := len(r.Header.Peek("Set-Cookie")) > 0; got != (query == "a=shop&e=view_item") {
			t.Errorf("%q: got a cookie: %v", query, got)
		}
	}
	w.facts = nil
	serve(w.Pixel, "GET", "/v1/px?a=shop&e=page_view", nil, "Referer", "https://shop.example/cart?x=1")
	if u := w.events()[0].URL; u == nil || u.Host != "shop.example" || u.Path != "/cart" {
		t.Errorf("page from the Referer header: got %+v", u)
	}
	serve(w.Pixel, "GET", "/v1/px?a=shop&e=page_view", nil, "Cookie", "rt_oo=1")
	if w.Stats().Rejected["opted_out"] != 1 {
		t.Error("the opt-out cookie was not read")
	}
}

func TestBeaconHandler(t *testing.T) {
	w := newWorld(t)
	uid, err := w.cookies.Mint()
	if err != nil {
		t.Fatal(err)
	}
	ctx := serve(w.Beacon, "POST", "/v1/t", []byte(`{"a":"shop","event":"add_to_cart","user":{"uid":"somebody-else","ifa":"6d92078a-8246-4ba4-ae5b-76104861e7dc"},"items":["A"]}`),
		"Content-Type", "text/plain;charset=UTF-8", "Cookie", "rt_uid="+uid)
	if ctx.Response.StatusCode() != 204 || len(w.facts) != 1 {
		t.Fatalf("got %d and %d facts; want 204 and the event alone", ctx.Response.StatusCode(), len(w.facts))
	}
	if f := w.facts[0]; f.Visitor != w.keyring.Key(0, "", []byte(uid)) || f.Trust != "browser" {
		t.Errorf("got %+v; want the visitor of the cookie, not the one that the body names", f)
	}
	for body, reason := range map[string]string{
		"":                       "bad_json",
		`{"a":"shop","event":`:   "bad_json",
		`{"event":"x"}`:          "advertiser",
		strings.Repeat("x", 1e5): "too_long",
		`{"a":"shop","event":"x","user":{"xid":"jane@doe.example"}}`: "clear_text",
	} {
		before := w.Stats().Rejected[reason]
		if ctx := serve(w.Beacon, "POST", "/v1/t", []byte(body)); ctx.Response.StatusCode() != 204 {
			t.Errorf("%.30q: got %d; want 204", body, ctx.Response.StatusCode())
		}
		if w.Stats().Rejected[reason] != before+1 {
			t.Errorf("%.30q: %s is not counted", body, reason)
		}
	}
}

func TestMatchHandler(t *testing.T) {
	w := newWorld(t)
	if r := &serve(w.Match, "GET", "/v1/match?ex=demo&uid=u1", nil).Response; r.StatusCode() != 200 || len(r.Body()) != 43 || len(r.Header.Peek("Set-Cookie")) == 0 {
		t.Errorf("got %d, %d bytes", r.StatusCode(), len(r.Body()))
	}
	if r := &serve(w.Match, "GET", "/v1/match?ex=demo&uid=u1&gdpr=1", nil).Response; r.StatusCode() != 204 || len(r.Header.Peek("Set-Cookie")) != 0 {
		t.Errorf("without consent: got %d; want 204 and no cookie", r.StatusCode())
	}
}

func TestEventsHandler(t *testing.T) {
	good := []byte(`{"event":"purchase","event_id":"1","user":{"uid":"u"}}`)
	tests := []struct {
		name   string
		body   []byte
		header []string
		status int
		code   string
	}{
		{"one", good, nil, 200, ""},
		{"no content type", good, []string{"Content-Type", ""}, 200, ""},
		{"charset", good, []string{"Content-Type", "application/json; charset=utf-8"}, 200, ""},
		{"lines", good, []string{"Content-Type", "application/x-ndjson"}, 200, ""},
		{"gzip", zip(t, good), []string{"Content-Encoding", "GZIP"}, 200, ""},
		{"no key", good, []string{"Authorization", ""}, 401, "unauthorised"},
		{"bad key", good, []string{"Authorization", "Bearer other"}, 401, "unauthorised"},
		{"no scheme", good, []string{"Authorization", shopKey}, 401, "unauthorised"},
		{"empty key", good, []string{"Authorization", "Bearer "}, 401, "unauthorised"},
		{"form", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "content_type"},
		{"brotli", good, []string{"Content-Encoding", "br"}, 415, "content_encoding"},
		{"no gzip", good, []string{"Content-Encoding", "gzip"}, 400, "bad_body"},
		{"bomb", zip(t, make([]byte, 2<<20)), []string{"Content-Encoding", "gzip"}, 413, "too_large"},
		{"too many", []byte(strings.Repeat("{}\n", 1001)), nil, 413, "too_many"},
		{"unreadable", []byte("hello"), nil, 400, "bad_body"},
	}
	for _, tt := range tests {
		w := newWorld(t)
		header := append([]string{"Authorization", "Bearer " + shopKey, "Content-Type", "application/json"}, tt.header...)
		r := &serve(w.Events, "POST", "/v1/events", tt.body, header...).Response
		if r.StatusCode() != tt.status {
			t.Errorf("%s: got %d %s; want %d", tt.name, r.StatusCode(), r.Body(), tt.status)
			continue
		}
		var answer struct {
			Reply
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(r.Body(), &answer); err != nil {
			t.Errorf("%s: got %s: %v", tt.name, r.Body(), err)
		}
		if answer.Error.Code != tt.code || (tt.status == 200) != (answer.Accepted == 1) {
			t.Errorf("%s: got %s", tt.name, r.Body())
		}
		if tt.status == 401 && string(r.Header.Peek("WWW-Authenticate")) != "Bearer" {
			t.Errorf("%s: want WWW-Authenticate", tt.name)
		}
	}
}

func TestEventsWhenTheLogFails(t *testing.T) {
	w := newWorld(t)
	w.fail = errLog
	r := &serve(w.Events, "POST", "/v1/events", []byte(`{"event":"x","user":{"uid":"u"}}`), "Authorization", "Bearer "+shopKey).Response
	if r.StatusCode() != 503 || string(r.Header.Peek("Retry-After")) != "1" {
		t.Errorf("got %d; want 503 and Retry-After", r.StatusCode())
	}
	r = &serve(w.Events, "POST", "/v1/events", []byte(`{}`), "Authorization", "Bearer "+shopKey).Response
	if want := `{"accepted":0,"duplicates":0,"rejected":[{"i":0,"code":"no_event","msg":"event: got none; want a name such as view_item"}]}`; strings.TrimSpace(string(r.Body())) != want {
		t.Errorf("got %s; want %s", r.Body(), want)
	}
}

func ExampleReply() {
	b, _ := json.Marshal(Reply{Accepted: 998, Duplicates: 1, Rejected: []Rejected{{17, "bad_currency", "..."}}})
	fmt.Println(string(b))
	// Output: {"accepted":998,"duplicates":1,"rejected":[{"i":17,"code":"bad_currency","msg":"..."}]}
}

// Messages are not HTML-escaped.
func TestErrorsAreReadable(t *testing.T) {
	w := newWorld(t)
	body := string(serve(w.Edge.Events, "POST", "/v1/events", nil).Response.Body())
	if !strings.Contains(body, "Bearer <key of an advertiser>") {
		t.Errorf("got %s", body)
	}
}

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer k": "k", "bearer k": "k", " BEARER  k ": "k", "k": "", "Bearer": "", "Bearer ": "", "Basic k": "", "Bearerk": "", "": "",
	} {
		if got := string(BearerToken([]byte(header))); got != want {
			t.Errorf("%q: got %q; want %q", header, got, want)
		}
	}
}
