package collect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rebound/events"
)

func TestEventsInOthersWords(t *testing.T) {
	ga4 := `{"event":"add_to_cart","user":{"uid":"u"},"params":{"currency":"USD","value":30.5,"items":[{"item_id":"SKU1","price":"10","quantity":"2","item_brand":"B","item_category":"C"}],"transaction_id":"T1"}}`
	segment := `{"type":"track","event":"Product Added","messageId":"m1","userId":"c1","anonymousId":"u","timestamp":"2026-10-01T11:59:00Z","properties":{"products":[{"product_id":"SKU1","price":10,"quantity":2,"brand":"B","category":"C"}],"revenue":30.5,"currency":"usd","order_id":"T1"}}`
	meta := `{"event_name":"AddToCart","event_time":1790855940,"event_id":"m1","event_source_url":"https://shop.example/","action_source":"website","user_data":{"external_id":["c1"],"em":["` + hash("x") + `"]},"custom_data":{"contents":[{"id":"SKU1","item_price":10,"quantity":2,"brand":"B","category":"C"}],"value":30.5,"currency":"USD","order_id":"T1"}}`
	own := `{"event":"add_to_cart","user":{"uid":"u"},"items":[{"id":" SKU1 ","price":10.0,"quantity":2,"brand":"B","category":"C"}],"value":"30.50","currency":"USD","order_id":"T1"}`
	for name, raw := range map[string]string{"ga4": ga4, "segment": segment, "meta": meta, "own": own} {
		w := newWorld(t)
		if r := w.batch(t, raw); r.Accepted != 1 || len(r.Rejected) != 0 {
			t.Errorf("%s: got %+v; want it accepted", name, r)
			continue
		}
		f := w.events()[0]
		want := events.Item{ID: "sku1", Price: 10_000_000, Quantity: 2, Category: "C", Brand: "B"}
		if f.Name != "add_to_cart" || len(f.Items) != 1 || f.Items[0] != want || f.Event.Value != 30_500_000 || f.OrderID != "T1" || f.Currency.String() != "USD" {
			t.Errorf("%s: got %+v %+v", name, f, f.Event)
		}
		if f.Trust != events.TrustServer || f.Advertiser != "shop" || f.Visitor.IsZero() {
			t.Errorf("%s: got %+v", name, f)
		}
	}
}

func TestLooseShapes(t *testing.T) {
	for raw, items := range map[string]int{
		`{"event":"ViewContent","user":{"uid":"u"},"content_ids":["A","B"]}`:                  2,
		`{"event":"ViewContent","user":{"uid":"u"},"content_ids":"A"}`:                        1,
		`{"event":"ViewContent","user":{"uid":"u"},"content_ids":[42]}`:                       1,
		`{"event":"view_item","user":{"uid":"u"},"items":{"id":"A"}}`:                         1,
		`{"event":"view_item","user":{"uid":"u"},"items":[{"id":""},null,{"sku":"B"}]}`:       1,
		`{"event":"Product Viewed","userId":7,"properties":{"product_id":"A","price":"1.5"}}`: 1,
		`{"type":"page","name":"Home","anonymousId":"u"}`:                                     0,
		`{"event":"view_item","user":{"uid":"u","em":null,"ph":[]},"props":{"a":1,"b":true}}`: 0,
	} {
		w := newWorld(t)
		if r := w.batch(t, raw); r.Accepted != 1 {
			t.Errorf("%s: got %+v; want it accepted", raw, r)
			continue
		}
		if got := len(w.events()[0].Items); got != items {
			t.Errorf("%s: got %d items; want %d", raw, got, items)
		}
	}
}

func TestRejectedEvents(t *testing.T) {
	user := `"user":{"uid":"u"}`
	tests := []struct{ raw, code string }{
		{`{"event":"x"`, "bad_json"},
		{`[]`, "bad_json"},
		{`"text"`, "bad_json"},
		{`{"event":{"a":1},` + user + `}`, "bad_json"},
		{`{"event":"x","items":[[1]],` + user + `}`, "bad_json"},
		{`{` + user + `}`, "no_event"},
		{`{"event":"  ",` + user + `}`, "no_event"},
		{`{"event":"x"}`, "no_user"},
		{`{"event":"x","user":{"uid":""}}`, "no_user"},
		{`{"event":"x","user":{"uid":"` + strings.Repeat("u", 129) + `"}}`, "bad_user_id"},
		{`{"event":"x","user":{"ifa":"00000000-0000-0000-0000-000000000000"}}`, "bad_user_id"},
		{`{"event":"x","user":{"ifa":"nope"}}`, "bad_user_id"},
		{`{"event":"x","user":{"em":["jane@doe.example"]}}`, "clear_text"},
		{`{"event":"x","user":{"em":["0123456789abcdef0123456789abcdef"]}}`, "bad_hash"},
		{`{"event":"x","props":{"m":"jane@doe.example"},` + user + `}`, "clear_text"},
		{`{"event":"x","items":[{"id":"jane@doe.example"}],` + user + `}`, "clear_text"},
		{`{"event":"jane@doe.example",` + user + `}`, "clear_text"},
		{`{"event":"x","ts":"yesterday",` + user + `}`, "bad_time"},
		{`{"event":"x","ts":-5,` + user + `}`, "bad_time"},
		{`{"event":"x","ts":"2026-09-24T11:59:59Z",` + user + `}`, "too_old"},
		{`{"event":"x","ts":"2026-10-01T12:10:01Z",` + user + `}`, "future"},
		{`{"event":"x","currency":"EURO",` + user + `}`, "bad_currency"},
		{`{"event":"x","value":"much",` + user + `}`, "bad_value"},
		{`{"event":"x","items":[{"id":"A","price":"cheap"}],` + user + `}`, "bad_price"},
		{`{"event":"x","items":[{"id":"A","quantity":-1}],` + user + `}`, "bad_price"},
		{`{"event":"x","items":[{"id":"A","quantity":1e300}],` + user + `}`, "bad_price"},
		{`{"event":"x","items":[` + strings.TrimSuffix(strings.Repeat(`"A",`, 201), ",") + `],` + user + `}`, "too_many"},
		{`{"event":"` + strings.Repeat("x", 65) + `",` + user + `}`, "too_long"},
		{`{"event":"x","event_id":"` + strings.Repeat("x", 129) + `",` + user + `}`, "too_long"},
		{`{"event":"x","advertiser":"other",` + user + `}`, "other_advertiser"},
		{`{"event":"x","consent":{"gdpr":1},` + user + `}`, "consent"},
		{`{"event":"x","consent":{"gpc":true},` + user + `}`, "consent"},
		{`{"event":"x","user":{"uid":"u","eids":[{"source":"","id":"z"}]}}`, "bad_user_id"},
	}
	w := newWorld(t)
	list := make([]string, 0, 2*len(tests))
	for i, tt := range tests { // a good one after each bad one is kept
		list = append(list, tt.raw, fmt.Sprintf(`{"event":"view_item","event_id":"good-%d","user":{"uid":"u"}}`, i))
	}
	r := w.batch(t, list...)
	if r.Accepted != len(tests) || len(r.Rejected) != len(tests) {
		t.Errorf("got %d accepted, %d rejected; want %d of each", r.Accepted, len(r.Rejected), len(tests))
	}
	for i, tt := range tests {
		if i >= len(r.Rejected) {
			break
		}
		got := r.Rejected[i]
		if got.I != 2*i || got.Code != tt.code || got.Msg == "" {
			t.Errorf("%.80s: got %+v; want %s at %d", tt.raw, got, tt.code, 2*i)
		}
		if strings.Contains(got.Msg, "jane") {
			t.Errorf("%.80s: the message repeats the address: %s", tt.raw, got.Msg)
		}
		if w.Stats().Rejected[tt.code] == 0 {
			t.Errorf("%s is not counted", tt.code)
		}
	}
}

// The limits of the time window are inclusive. An event that is ahead of our
// clock, or only a little behind it, counts as having happened when it arrived.
func TestTimes(t *testing.T) {
	for raw, want := range map[string]string{
		"1790855940":                  "2026-10-01T11:59:00Z",
		"1790855940000":               "2026-10-01T11:59:00Z",
		"1790855940.5":                "2026-10-01T11:59:00.5Z",
		`"2026-10-01T13:59:00+02:00"`: "2026-10-01T11:59:00Z",
		`"2026-09-24T12:00:00Z"`:      "2026-09-24T12:00:00Z",
		`"2026-10-01T12:10:00Z"`:      "2026-10-01T12:00:00Z",
		`"2026-10-01T12:00:02Z"`:      "2026-10-01T12:00:00Z",
		`"2026-10-01T11:59:58Z"`:      "2026-10-01T12:00:00Z",
		`"2026-10-01T11:59:56Z"`:      "2026-10-01T11:59:56Z",
		"null":                        "2026-10-01T12:00:00Z",
	} {
		w := newWorld(t)
		r := w.batch(t, `{"event":"x","user":{"uid":"u"},"ts":`+raw+`}`)
		if r.Accepted != 1 {
			t.Errorf("%s: got %+v", raw, r)
			continue
		}
		if got := w.events()[0].At.Format("2006-01-02T15:04:05.999Z07:00"); got != want {
			t.Errorf("%s: got %s; want %s", raw, got, want)
		}
	}
}

// Segment's calls are understood as its libraries send them, one by one and in a batch.
func TestSegmentCalls(t *testing.T) {
	w := newWorld(t)
	const page = `"context":{"page":{"url":"https://shop.example/p/1?x=1","referrer":"https://news.example/"},"userAgent":"Mozilla/5.0","ip":"203.0.113.7","library":{"name":"analytics.js"}}`
	list, err := SplitBatch([]byte(`{"batch":[
		{"type":"track","event":"Product Viewed","messageId":"m1","anonymousId":"a1","properties":{"product_id":"SKU1","price":"29.90","currency":"USD","category":"Shoes"},` + page + `},
		{"type":"page","messageId":"m2","anonymousId":"a1","properties":{"path":"/p/1"},` + page + `},
		{"type":"track","event":"Order Completed","messageId":"m3","userId":"u1","timestamp":"2026-10-01T11:59:00Z","properties":{"order_id":"o1","revenue":59.8,"currency":"USD","products":[{"product_id":"SKU1","price":29.9,"quantity":2}]}},
		{"type":"identify","messageId":"m4","userId":"u1","traits":{"email":"jane@doe.example"}},
		{"type":"track","event":"Video Watched","messageId":"m5","anonymousId":"a1","properties":{"pct":50}}
	],"sentAt":"2026-10-01T12:00:00Z","writeKey":"k"}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.RecordBatch(t.Context(), Sender{Advertiser: w.setup.Load().advertisers["shop"]}, list)
	if err != nil || r.Accepted != 5 {
		t.Fatalf("got %+v, %v; want 5 accepted", r, err)
	}
	var names []string
	for _, f := range w.events() {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, ","); got != "view_item,page_view,purchase,identify,Video Watched" {
		t.Errorf("got %s", got)
	}
	e := w.events()
	if u := e[0].URL; u == nil || u.Host != "shop.example" || e[0].RefHost != "news.example" || e[0].Items[0].ID != "sku1" || e[0].Items[0].Price != 29_900_000 {
		t.Errorf("got %+v", e[0].Event)
	}
	if e[2].Event.Value != 59_800_000 || e[2].OrderID != "o1" || e[2].Items[0].Quantity != 2 || e[4].Props["pct"] != "50" {
		t.Errorf("got %+v and %+v", e[2].Event, e[4].Event)
	}
	if strings.Contains(w.text(t), "doe.example") || strings.Contains(w.text(t), "203.0.113") {
		t.Error("the address of the visitor was stored")
	}
}

func TestDryRunNamesTheAudiences(t *testing.T) {
	w := newWorld(t)
	setup := *w.setup.Load()
	setup.Enters = func(f *events.Fact) Effect { return Effect{Enters: []string{"on " + f.Name}} }
	w.Swap(&setup)
	body := `[{"event":"AddToCart","user":{"uid":"u"}},{"event":"x"},{"event":"ViewContent","user":{"uid":"u"}}]`
	r := &serve(w.Events, "POST", "/v1/events?dry_run=1", []byte(body), "Authorization", "Bearer "+shopKey).Response
	const want = `{"accepted":2,"duplicates":0,"rejected":[{"i":1,"code":"no_user","msg":"user: got no id; want uid, xid, em, ph, ifa or an eid of a listed source"}],"dry_run":true,` +
		`"events":[{"i":0,"event":"add_to_cart","enters":["on add_to_cart"]},{"i":2,"event":"view_item","enters":["on view_item"]}]}`
	if got := strings.TrimSpace(string(r.Body())); got != want || len(w.facts) != 0 {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestServerLimitsAndScopes(t *testing.T) {
	w := newWorld(t)
	setup := *w.setup.Load()
	setup.Limits.AdvertiserPerSecond = 3
	w.Swap(&setup)
	post := func(n int) (int, string) {
		r := &serve(w.Events, "POST", "/v1/events", []byte(strings.Repeat(`{"event":"x","user":{"uid":"u"}}`+"\n", n)), "Authorization", "Bearer "+shopKey).Response
		return r.StatusCode(), string(r.Header.Peek("Retry-After"))
	}
	if status, _ := post(3); status != 200 {
		t.Errorf("within the limit: got %d", status)
	}
	if status, after := post(1); status != 429 || after != "1" {
		t.Errorf("above the limit: got %d, Retry-After %q; want 429 and 1", status, after)
	}
	w.now = w.now.Add(time.Second)
	if status, _ := post(1); status != 200 {
		t.Errorf("a second later: got %d", status)
	}
	setup.Authenticate = func([]byte) (string, bool, bool) { return "shop", false, true }
	w.Swap(&setup)
	if status, _ := post(1); status != 403 {
		t.Errorf("a key without the scope: got %d; want 403", status)
	}
	robot := w.batch(t, `{"event":"x","user":{"uid":"u","ua":"Mozilla/5.0 (compatible; Googlebot/2.1)"}}`)
	if len(robot.Rejected) != 1 || robot.Rejected[0].Code != "robot" {
		t.Errorf("got %+v; want a robot rejected", robot)
	}
}
