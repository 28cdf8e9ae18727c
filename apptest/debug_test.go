package apptest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestDebugToken: a live request with a signed parameter gets its explanation, as a bid
// and as a no-bid, and counts as every other one does; without the parameter, and with a
// forged one, it gets none.
func TestDebugToken(t *testing.T) {
	b := startBidder(t)
	uid, _ := b.loop()
	status, token := tool(t, "bidder", "debug-token", "--data", b.dir, "--for", "5m")
	if token = strings.TrimSpace(token); status != 0 || !strings.Contains(token, ".") {
		t.Fatalf("debug-token: status %d, got %q", status, token)
	}
	ask := func(id, visitor, query string) (int, map[string]any) {
		t.Helper()
		rs, err := http.Post("http://"+b.Bid+"/openrtb2/demo"+query, "application/json", strings.NewReader(string(request(id, visitor))))
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Body.Close()
		body, err := io.ReadAll(rs.Body)
		if err != nil {
			t.Fatal(err)
		}
		if len(body) == 0 {
			return rs.StatusCode, nil
		}
		return rs.StatusCode, parse(t, body)
	}
	before := b.metric("rebound_bidder_requests_total")
	status, x := ask("d1", uid, "?debug="+token)
	trace := obj(obj(x["ext"])["rebound"])
	if status != 200 || len(list(x["seatbid"])) != 1 || len(list(obj(trace["decision"])["bids"])) != 1 || len(list(trace["audiences"])) == 0 || trace["response"] != nil {
		t.Errorf("bid: got %d %v", status, x)
	}
	if status, x = ask("d2", "nobody-knows-it", "?debug="+token); status != 200 || x["id"] != "d2" || x["nbr"] != 8.0 || obj(obj(x["ext"])["rebound"])["nobid"] != "unknown_visitor" {
		t.Errorf("no-bid: got %d %v", status, x)
	}
	for _, query := range []string{"", "?debug=", "?debug=1", "?debug=1." + strings.Repeat("A", 22), "?debug=" + token + "A", "?x=" + token} {
		if status, x := ask("d3"+query, uid, query); status != 200 || obj(x["ext"])["rebound"] != nil {
			t.Errorf("%q: got %d %v; want a bid without a trace", query, status, x)
		}
		if status, x := ask("d4"+query, "nobody-knows-it", query); status != 204 || x != nil {
			t.Errorf("%q: got %d %v; want 204", query, status, x)
		}
	}
	if n := b.metric("rebound_bidder_requests_total") - before; n != 14 {
		t.Errorf("got %g requests counted; want 14", n)
	}
	if status, _ := tool(t, "bidder", "debug-token", "--data", b.dir, "--for", "25h"); status != 2 {
		t.Errorf("debug-token for 25h: status %d; want 2", status)
	}
	if status, _ := tool(t, "bidder", "debug-token", "--data", t.TempDir()); status != 1 {
		t.Errorf("debug-token without keys: status %d; want 1", status)
	}
}

// TestExplainPage: the page loads nothing from elsewhere.
func TestExplainPage(t *testing.T) {
	b := startBidder(t)
	rs, body := call(t, nil, http.MethodGet, "http://"+b.Admin+"/admin/explain", "", nil)
	page := string(body)
	if rs.StatusCode != 200 || !strings.HasPrefix(rs.Header.Get("Content-Type"), "text/html") || !strings.Contains(rs.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("got %d %v", rs.StatusCode, rs.Header)
	}
	for _, bad := range []string{"http://", "https://", "src=", "innerHTML", "@import"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
}
