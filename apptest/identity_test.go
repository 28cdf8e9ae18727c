package apptest

import (
	"net/http"
	"net/url"
	"testing"
)

// TestOrderUnderAnotherIdentity: the shop's server reports an order under the
// buyer's e-mail address, which is not linked to a visitor yet. When the
// browser reports the same order, its visitor counts as a buyer too and is no
// longer retargeted; the same order of the same visitor is a duplicate.
func TestOrderUnderAnotherIdentity(t *testing.T) {
	b := startBidder(t)
	carol := b.browser()
	uid := carol.pixel("a=shop&e=view_item&id=SKU1&u=" + url.QueryEscape("https://shop.example/p/SKU1"))
	b.awaitBid(uid)

	server := func(user string) (accepted, duplicates float64) {
		r := b.events(`{"event":"purchase","user":{` + user + `},"items":[{"id":"SKU1","price":79.9}],"value":79.9,"currency":"USD","order_id":"A-7"}`)
		accepted, _ = num(r["accepted"])
		duplicates, _ = num(r["duplicates"])
		return accepted, duplicates
	}
	address := `"em":["8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"]`
	if n, _ := server(address); n != 1 {
		t.Fatalf("the server's purchase: got %v accepted; want 1", n)
	}
	carol.pixel("a=shop&e=purchase&o=A-7&v=79.9&cur=USD&id=SKU1")
	within(t, patience, "no more bids for who bought", func() bool {
		status, _ := b.ask("demo", request("r", uid))
		return status == http.StatusNoContent
	})
	if n := b.metric("rebound_bidder_nobids_total", "exchange", "demo", "reason", "audience_excluded"); n < 1 {
		t.Errorf("audience_excluded: got %v; want at least 1", n)
	}
	if n, _ := server(`"uid":"` + uid + `"`); n != 1 {
		t.Errorf("the server confirms the browser's order: got %v accepted; want 1", n)
	}
	for _, user := range []string{address, `"uid":"` + uid + `"`} {
		if n, again := server(user); n != 0 || again != 1 {
			t.Errorf("the same order of %s: got %v accepted, %v duplicates; want 0, 1", user, n, again)
		}
	}
}
