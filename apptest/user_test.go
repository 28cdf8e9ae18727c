package apptest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestUser: what is known of a visitor, by cookie, device id and key, as text and JSON,
// and everything about the person and about no one else as an export.
func TestUser(t *testing.T) {
	b := startBidder(t)
	ann, ben := b.browser(), b.browser()
	page := "a=shop&e=view_item&id=SKU1&gdpr=0&u=" + url.QueryEscape("https://shop.example/p/SKU1")
	uid, other := ann.pixel(page), ben.pixel("a=shop&e=view_item&id=SKU9&gdpr=0&u="+url.QueryEscape("https://shop.example/p/SKU9"))
	const ifa = "6d92078a-8246-4ba4-ae5b-76104861e7dc"
	b.events(`[{"event":"add_to_cart","user":{"uid":"` + uid + `","ifa":"` + ifa + `"},"items":[{"id":"SKU2"}]}]`)
	b.awaitBid(uid)
	b.awaitBid(other)

	within(t, patience, "the bid in the log", func() bool { // its writer buffers for a second
		status, out := tool(t, "bidder", "user", "--admin", b.Admin, "uid:"+uid)
		return status == 0 && strings.Contains(out, "last bids")
	})
	status, out := tool(t, "bidder", "user", "--admin", b.Admin, "ifa:"+ifa)
	for _, want := range []string{": known", "identifiers: ifa", `segment shop "add_to_cart": 1, first 20`, "product sku2 of shop: in the cart",
		`audience in cart_abandoners: "add_to_cart"`, "frequency of shop/autumn/cart: 1/1000 in 1d", "demo: shop/autumn/cart at "} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("user: status %d; want %q in\n%s", status, want, out)
		}
	}
	if strings.Contains(out, uid) || strings.Contains(out, ifa) || strings.Contains(out, "sku9") {
		t.Errorf("user prints an identifier, or another visitor's data:\n%s", out)
	}
	status, out = tool(t, "bidder", "user", "--json", "--admin", b.Admin, "ifa:"+ifa)
	key, _ := obj(list(parse(t, []byte(out))["visitors"])[0])["key"].(string)
	if status != 0 || len(key) != 22 {
		t.Fatalf("user --json: status %d, key %q", status, key)
	}
	if status, out = tool(t, "bidder", "user", "--admin", b.Admin, key); status != 0 || !strings.Contains(out, key+": known") {
		t.Errorf("user by key: status %d\n%s", status, out)
	}
	if status, _ = tool(t, "bidder", "user", "--admin", b.Admin, "uid:nobody"); status != 1 {
		t.Errorf("user of nobody: status %d; want 1", status)
	}
	if status, out = tool(t, "bidder", "user", "--admin", b.Admin, "em:x"); status != 1 {
		t.Errorf("user of a bad identifier: status %d\n%s", status, out)
	}
	b.testExport(t, uid, key)
}

func (b *bidder) testExport(t *testing.T, uid, key string) {
	t.Helper()
	rs, body := call(t, nil, http.MethodPost, "http://"+b.Admin+"/admin/privacy/export", "application/json", []byte(`{"ids":[{"kind":"uid","value":"`+uid+`"}]}`))
	x := parse(t, body)
	if rs.StatusCode != http.StatusOK || x["complete"] != true {
		t.Fatalf("export: got %d %s", rs.StatusCode, body)
	}
	kinds := map[string]int{}
	for _, f := range list(x["facts"]) {
		kinds[obj(f)["kind"].(string)]++
	}
	if kinds["event"] != 2 || kinds["link"] != 1 {
		t.Errorf("export: got facts %v; want two events and a link", kinds)
	}
	if text := string(body); !strings.Contains(text, `"path":"/p/SKU1"`) || strings.Contains(text, "SKU9") || !strings.Contains(text, key) || len(list(x["last_bids"])) == 0 {
		t.Errorf("export: want the visitor's page, key and bids, and nothing of another one:\n%s", text)
	}
	if rs, body = call(t, nil, http.MethodPost, "http://"+b.Admin+"/admin/privacy/export", "application/json", []byte(`{"ids":[]}`)); rs.StatusCode != http.StatusBadRequest {
		t.Errorf("export of nobody: got %d %s", rs.StatusCode, body)
	}
}
