package apptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An event that a browser and a server report under one id counts once, and so does an
// order that a server reports twice. A browser's report of the order is a fact of its own.
func TestOneEventOverTwoChannels(t *testing.T) {
	b := startBidder(t)
	w := b.browser()
	uid := w.pixel("a=shop&e=add_to_cart&eid=c-1&id=SKU1")
	r := b.events(fmt.Sprintf(`[{"event":"AddToCart","event_id":"c-1","user":{"uid":%q},"items":[{"id":"SKU1"}]},
		{"event":"purchase","order_id":"A-1","user":{"uid":%q},"value":10,"currency":"USD"},{"event":"Order Completed","order_id":"A-1","user":{"uid":%q},"value":10,"currency":"USD"}]`, uid, uid, uid))
	if accepted, _ := num(r["accepted"]); accepted != 1 {
		t.Errorf("got %v; want the order once and the event of the pixel not again", r)
	}
	if duplicates, _ := num(r["duplicates"]); duplicates != 2 {
		t.Errorf("got %v; want two duplicates", r)
	}
	for range 2 {
		w.pixel("a=shop&e=purchase&o=A-1&v=10&cu=USD")
	}
	if n := b.metric("rebound_collect_events_total", "kind", "purchase"); n != 2 {
		t.Errorf("got %v purchases; want the server's and the browser's", n)
	}
	if n := b.metric("rebound_collect_events_total", "kind", "add_to_cart"); n != 1 {
		t.Errorf("got %v add_to_cart; want 1", n)
	}
}

// An e-mail address in clear text is dropped and counted wherever a page, a link or a
// server puts it, and nothing of it is on disk.
func TestClearTextIsNotStored(t *testing.T) {
	b := startBidder(t)
	w := b.browser()
	edge := "http://" + b.Edge
	w.pixel("a=shop&e=view_item&id=SKU1&em=jane.roe%40mail.example&q=jane.roe@mail.example&p.who=jane.roe@mail.example&u=" + url.QueryEscape("https://shop.example/welcome/jane.roe@mail.example?email=jane.roe%40mail.example&a=1") +
		"&r=" + url.QueryEscape("https://mail.example/?user=jane.roe@mail.example"))
	for _, c := range [][2]string{
		{"/v1/t", `{"a":"shop","event":"view_item","user":{"em":"jane.roe@mail.example","xid":"jane.roe@mail.example"},"url":"https://shop.example/?e=jane.roe@mail.example"}`},
		{"/v1/events", `{"event":"view_item","user":{"uid":"u1"},"url":"https://shop.example/?e=jane.roe@mail.example","props":{"mail":"jane.roe@mail.example"}}`},
		{"/v1/events", `{"event":"view_item","user":{"em":"jane.roe@mail.example"}}`},
	} {
		call(t, w.c, http.MethodPost, edge+c[0], "application/json", []byte(c[1]), "Authorization", "Bearer demo-shop-key")
	}
	for _, path := range []string{"/v1/match?ex=demo&uid=jane.roe@mail.example", "/v1/open?a=shop&eh=jane.roe@mail.example&n=1", "/v1/click?a=shop&eh=jane.roe@mail.example&u=" + url.QueryEscape("https://shop.example/?e=jane.roe@mail.example"), "/v1/sync?ex=demo&r=jane.roe@mail.example"} {
		call(t, &http.Client{Jar: w.c.Jar, CheckRedirect: noRedirect.CheckRedirect}, http.MethodGet, edge+path, "", nil)
	}
	if n := b.metric("rebound_collect_rejected_total", "reason", "clear_text"); n < 12 {
		t.Errorf("got %v counted; want at least 12", n)
	}
	b.terminate()
	checkNothingOnDisk(t, b.dir, "jane.roe")
	checkNothingOnDisk(t, b.dir, "mail.example/?user")
	if text := b.log.tail(1000); strings.Contains(text, "jane.roe") {
		t.Errorf("the program's log contains the address:\n%s", text)
	}
}

// shopAnd is shopWith for text that adds an advertiser: the sample's audiences are the
// shop's.
func shopAnd(t *testing.T, text string) (file string) {
	t.Helper()
	file = shopWith(t, text)
	shop := strings.Replace(file, "mine.yaml", "rebound.yaml", 1)
	owned := strings.ReplaceAll(readFile(t, "examples/shop/rebound.yaml"), "\n    ttl: ", "\n    advertiser: shop\n    ttl: ")
	if err := os.WriteFile(shop, []byte(owned), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The key of one advertiser cannot write events of another, and a key without the scope
// writes none.
func TestKeysAreWalls(t *testing.T) {
	file := shopAnd(t, `advertisers:
  - {id: other, name: Other, domains: [other.example], currency: USD, keys: [{sha256: `+hashOf("other-key")+`, scopes: [events]}, {sha256: `+hashOf("lists-key")+`, scopes: [lists]}]}
`)
	b := startBidder(t, "--config", file)
	send := func(key, body string) (int, map[string]any) {
		rs, answer := call(t, nil, http.MethodPost, "http://"+b.Edge+"/v1/events", "application/json", []byte(body), "Authorization", "Bearer "+key)
		return rs.StatusCode, parse(t, answer)
	}
	status, r := send("other-key", `[{"event":"view_item","advertiser":"shop","user":{"uid":"u1"},"items":["SKU1"]},{"event":"view_item","user":{"uid":"u1"},"items":["SKU1"]}]`)
	if rejected := list(r["rejected"]); status != 200 || len(rejected) != 1 || obj(rejected[0])["code"] != "other_advertiser" {
		t.Errorf("got %d %v; want the event of the shop rejected", status, r)
	}
	if status, r := send("lists-key", `{"event":"view_item","user":{"uid":"u1"}}`); status != 403 || obj(r["error"])["code"] != "scope" {
		t.Errorf("a key without the scope: got %d %v; want 403", status, r)
	}
	if status, _ := send("guessed", `{}`); status != 401 {
		t.Errorf("an unknown key: got %d; want 401", status)
	}
	b.events(`{"event":"view_item","user":{"uid":"user-two"},"items":["SKU1"]}`)
	b.awaitBid("user-two") // the fold has passed both
	if status, _ := b.ask("demo", request("r", "u1")); status != http.StatusNoContent {
		t.Errorf("a visitor of another advertiser: got %d; want no bid of the shop", status)
	}
}

// A key is replaced while events arrive: both keys work until the old one is taken out, and
// no batch is refused on the way.
func TestKeyRotation(t *testing.T) {
	file := shopWith(t, "")
	write := func(keys string) {
		t.Helper()
		text := strings.Replace(readFile(t, "examples/shop/rebound.yaml"), "      - sha256: f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992\n        scopes: [events, lists, audiences, privacy, reports]\n", keys, 1)
		if !strings.Contains(text, keys) {
			t.Fatal("the sample shop has no such key any more")
		}
		if err := os.WriteFile(strings.Replace(file, "mine.yaml", "rebound.yaml", 1), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, next := "      - {sha256: "+hashOf("old-key")+", scopes: [events]}\n", "      - {sha256: "+hashOf("new-key")+", scopes: [events]}\n"
	write(old)
	b := startBidder(t, "--config", file)
	n := 0
	send := func(key string) int {
		n++
		rs, _ := call(t, nil, http.MethodPost, "http://"+b.Edge+"/v1/events", "application/json", fmt.Appendf(nil, `{"event":"view_item","event_id":"%d","user":{"uid":"u"}}`, n), "Authorization", "Bearer "+key)
		return rs.StatusCode
	}
	reload := func(done float64) {
		t.Helper()
		if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		within(t, patience, "the reload", func() bool {
			if got := send("old-key"); done == 1 && got != 200 {
				t.Fatalf("the old key during the change: got %d; want 200", got)
			}
			return b.metric("rebound_config_reloads_total", "code", "done") == done
		})
	}
	if send("old-key") != 200 || send("new-key") != 401 {
		t.Fatal("before: want the old key alone")
	}
	write(old + next)
	reload(1)
	if send("old-key") != 200 || send("new-key") != 200 {
		t.Error("with both: want both accepted")
	}
	write(next)
	reload(2)
	if send("old-key") != 401 || send("new-key") != 200 {
		t.Error("after: want the new key alone")
	}
	for _, key := range []string{"old-key", "new-key"} {
		checkNothingOnDisk(t, b.dir, key)
	}
}

// The public cannot do much harm: an invented cookie is ignored, a purchase that a browser
// reports excludes nobody else, and floods are cut off and counted.
func TestPoisonedEdge(t *testing.T) {
	b := startBidder(t, "--config", shopWith(t, `listen: {trusted_proxies: [127.0.0.0/8]}
collect: {events_per_visitor: 20, calls_per_address: 30}
`))
	edge := "http://" + b.Edge
	alice, mallory := b.browser(), b.browser()
	uid := alice.pixel("a=shop&e=view_item&id=SKU1&em=" + hashOf("alice@mail.example"))
	b.awaitBid(uid)

	forged := "A" + uid[1:]
	if forged == uid {
		forged = "B" + uid[1:]
	}
	rs, _ := call(t, nil, http.MethodGet, edge+"/v1/px?a=shop&e=purchase&o=X-1&v=9999999&cu=USD&em="+hashOf("alice@mail.example"), "", nil, "Cookie", "rt_uid="+forged)
	for _, c := range rs.Cookies() {
		if c.Name == "rt_uid" && (c.Value == forged || c.Value == uid) {
			t.Errorf("an invented cookie got %s back; want a new id", c.Value)
		}
	}
	mallory.pixel("a=shop&e=purchase&o=X-2&v=9999999&cu=USD&em=" + hashOf("alice@mail.example"))
	within(t, patience, "the purchases are folded", func() bool { return b.metric("rebound_journal_lag", "view", "segments") == 0 })
	if status, _ := b.ask("demo", request("r-alice", uid)); status != http.StatusOK {
		t.Errorf("after the purchases of others: got %d for alice; want a bid", status)
	}
	if n := b.metric("rebound_collect_rejected_total", "reason", "forged_cookie"); n != 1 {
		t.Errorf("got %v forged cookies; want 1", n)
	}
	for range 40 {
		alice.pixel("a=shop&e=view_item&id=SKU2")
	}
	if n := b.metric("rebound_collect_rejected_total", "reason", "flood_visitor"); n != 20 { // the first event had no cookie yet
		t.Errorf("flood of a visitor: got %v rejected; want 20 of 40", n)
	}
	for range 40 {
		call(t, nil, http.MethodGet, edge+"/v1/px?a=shop&e=view_item&id=SKU3", "", nil, "X-Forwarded-For", "203.0.113.9")
	}
	if n := b.metric("rebound_collect_rejected_total", "reason", "flood_address"); n != 10 {
		t.Errorf("flood of an address: got %v rejected; want 10 of 40", n)
	}
	for i := range 150 {
		b.events(fmt.Sprintf(`{"event":"custom name %d","user":{"uid":"u"}}`, i))
	}
	_, text := b.get("http://" + b.Admin + "/metrics")
	if strings.Contains(text, "custom name") || b.metric("rebound_collect_events_total", "kind", "custom") != 150 {
		t.Error("names of events that no rule uses are labels of a metric; want them counted as custom")
	}
}

// A dry run says what an event would change, and changes nothing.
func TestDryRun(t *testing.T) {
	b := startBidder(t)
	dry := func(body string) []any {
		t.Helper()
		rs, answer := call(t, nil, http.MethodPost, "http://"+b.Edge+"/v1/events?dry_run=1", "application/json", []byte(body), "Authorization", "Bearer demo-shop-key")
		if rs.StatusCode != http.StatusOK {
			t.Fatalf("got %d %s", rs.StatusCode, answer)
		}
		return list(parse(t, answer)["events"])
	}
	enters := func(e any) string { return fmt.Sprint(obj(e)["enters"], obj(e)["leaves"], obj(e)["stays"]) }
	got := dry(`[{"event":"ViewContent","user":{"uid":"user-1"},"items":["SKU1"]},{"event":"add_to_cart","user":{"uid":"user-1"},"items":["SKU1"]},{"event":"scroll","user":{"uid":"user-1"}}]`)
	if len(got) != 3 || enters(got[0]) != "[product_viewers] <nil> <nil>" || enters(got[1]) != "[cart_abandoners] <nil> <nil>" || enters(got[2]) != "[] <nil> <nil>" {
		t.Fatalf("got %v", got)
	}
	b.events(`[{"event":"view_item","user":{"uid":"user-1"},"items":["SKU1"]},{"event":"add_to_cart","user":{"uid":"user-1"},"items":["SKU1"]}]`)
	b.awaitBid("user-1")
	if got := dry(`{"event":"purchase","user":{"uid":"user-1"}}`); len(got) != 1 || enters(got[0]) != "[buyers] [cart_abandoners] [product_viewers]" {
		t.Errorf("a purchase: got %v", got)
	}
	if status, _ := b.ask("demo", request("r", "user-1")); status != http.StatusOK {
		t.Errorf("after the dry run of a purchase: got %d; want a bid still", status)
	}
}

// The validator says what a site sends wrongly.
func TestValidatorShowsMistakes(t *testing.T) {
	b := startBidder(t)
	w := b.browser()
	w.pixel("a=shop&e=veiw_item&u=" + url.QueryEscape("https://shop.example/p/SKU1"))
	w.pixel("a=shop&e=view_item&id=SKU1&v=12,50&cu=Dollar")
	w.pixel("a=shpo&e=view_item&id=SKU1")
	_, body := b.get("http://" + b.Admin + "/admin/debug?a=shop")
	var report struct {
		Events []struct {
			Event, Status string
			Problems      []struct{ Code, Remedy string }
		}
	}
	if err := json.Unmarshal([]byte(body), &report); err != nil || len(report.Events) != 2 {
		t.Fatalf("got %s, %v; want two events", body, err)
	}
	var codes []string
	for _, e := range report.Events {
		for _, p := range e.Problems {
			codes = append(codes, p.Code)
			if p.Remedy == "" {
				t.Errorf("%s has no remedy", p.Code)
			}
		}
	}
	if got := strings.Join(codes, " "); got != "bad_value bad_currency custom_name" {
		t.Errorf("got %s", got)
	}
	if _, body := b.get("http://" + b.Admin + "/admin/debug"); !strings.Contains(body, `"code":"advertiser"`) {
		t.Errorf("unknown advertisers: got %s", body)
	}
	if status, _ := b.get("http://" + b.Admin + "/admin/debug?a=nobody"); status != http.StatusNotFound {
		t.Errorf("an unknown advertiser: got %d; want 404", status)
	}
}

// A click in an e-mail makes the browser known by the recipient's address, under which the
// shop's server reports the order.
func TestMailClickLinksTheBrowser(t *testing.T) {
	b := startBidder(t)
	w := b.browser()
	h := hashOf("ann@mail.example")
	edge := "http://" + b.Edge
	click := edge + "/v1/click?a=shop&c=october&n=m1&eh=" + h + "&u=" + url.QueryEscape("https://shop.example/p/SKU1")
	rs, _ := call(t, &http.Client{Jar: w.c.Jar, CheckRedirect: noRedirect.CheckRedirect}, http.MethodGet, click, "", nil)
	if rs.StatusCode != http.StatusFound || rs.Header.Get("Location") != "https://shop.example/p/SKU1" {
		t.Fatalf("got %d to %q; want the page", rs.StatusCode, rs.Header.Get("Location"))
	}
	uid := w.pixel("a=shop&e=view_item&id=SKU1")
	b.awaitBid(uid)
	b.events(`{"event":"purchase","order_id":"M-1","user":{"em":"` + h + `"},"value":79.9,"currency":"USD","items":["SKU1"]}`)
	within(t, patience, "no more bids for who bought", func() bool {
		status, _ := b.ask("demo", request("r", uid))
		return status == http.StatusNoContent
	})
}
