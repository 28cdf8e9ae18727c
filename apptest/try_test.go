package apptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const golden1 = "apptest/testdata/golden/generic/request.json"

func tryArgs(verb string, more ...string) []string {
	return append([]string{verb, "--config", "apptest/testdata/golden/config.yaml", "--exchange", "generic", "--at", "2026-10-01T12:00:00Z"}, more...)
}

// TestTry: what try prints for bids, no-bids and mistakes.
func TestTry(t *testing.T) {
	zipped := filepath.Join(t.TempDir(), "r.json.gz")
	plain, err := os.ReadFile("testdata/golden/generic/request.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(zipped, []byte(zip(t, plain)), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   []string
	}{
		{"a bid", tryArgs("try", "--event", "view_item:SKU7@2h", golden1), 0, []string{"HTTP/1.1 200 OK\n", "Content-Type: application/json\n", `"seatbid"`}},
		{"a compressed capture", tryArgs("try", "--event", "view_item", zipped), 0, []string{`"seatbid"`}},
		{"nobody knows the visitor", tryArgs("try", golden1), 1, []string{"HTTP/1.1 204 No Content\n", "no bid: unknown_visitor", "--event"}},
		{"an event of no audience", tryArgs("try", "--event", "purchase", golden1), 1, []string{"no bid: no_audience"}},
		{"what cannot be read", tryArgs("try", "--event", "view_item", bad), 1, []string{"HTTP/1.1 400 Bad Request\n", "no bid: malformed"}},
		{"another header", tryArgs("try", "--event", "view_item", "--header", "Content-Type: text/plain", golden1), 1, []string{"HTTP/1.1 415"}},
		{"the body alone", tryArgs("try", "--body", "--event", "view_item", golden1), 0, []string{`{"id":"r0"`}},
		{"an unknown exchange", []string{"try", "--exchange", "dem", golden1}, 1, []string{"did you mean demo?"}},
		{"no such file", tryArgs("try", "nothing.json"), 2, []string{"cannot read request"}},
		{"no file", tryArgs("try"), 2, []string{"want flags and then one file"}},
		{"a bad event", tryArgs("try", "--event", "@2h", golden1), 2, []string{"view_item:SKU7@2h"}},
		{"a bad time", tryArgs("try", "--at", "noon", golden1), 1, []string{"cannot read --at"}},
	} {
		status, out, errs := program(t, "bidder", c.args...)
		if status != c.status {
			t.Errorf("%s: status %d; want %d\n%s%s", c.name, status, c.status, out, errs)
		}
		for _, text := range c.want {
			if !strings.Contains(out+errs, text) {
				t.Errorf("%s: want %q in\n%s%s", c.name, text, out, errs)
			}
		}
	}
}

// TestExplain: why lines bid and why not, in text and JSON.
func TestExplain(t *testing.T) {
	status, out, _ := program(t, "bidder", tryArgs("explain", "--event", "view_item:SKU7@2h", "--request", golden1)...)
	for _, text := range []string{"request r0 at generic", "identifiers: buyeruid", "privacy: personalised", "visitor: known, 1 segments",
		"bid on 1: line shop/autumn/all, creative banner", "bid on 2: line shop/autumn/all, creative native"} {
		if status != 0 || !strings.Contains(out, text) {
			t.Errorf("status %d; want %q in\n%s", status, text, out)
		}
	}
	if strings.Contains(out, "u-retarget") {
		t.Error("an identifier is printed")
	}
	status, out, _ = program(t, "bidder", tryArgs("explain", "--json", "--line", "nothing", "--event", "purchase", "--request", golden1)...)
	x := parse(t, []byte(out))
	if status != 1 || x["nobid"] != "no_audience" || obj(x["privacy"])["level"] != "personalised" || obj(x["visitor"]) == nil {
		t.Errorf("status %d, got %s", status, out)
	}
	if r := obj(obj(x["reasons"])["no_audience"]); r["meaning"] == nil || r["remedy"] == nil {
		t.Errorf("got %v; want the meaning of no_audience and its remedy", x["reasons"])
	}
	_, out, _ = program(t, "bidder", tryArgs("explain", "--request", golden1)...)
	for _, text := range []string{"no bid: unknown_visitor (nbr 8), status 204", "unknown_visitor: None of the identifiers", "what to do: This is the usual case"} {
		if !strings.Contains(out, text) {
			t.Errorf("want %q in\n%s", text, out)
		}
	}
}

// TestDiff: 0 without a difference, 1 with one line for each.
func TestDiff(t *testing.T) {
	const base = "apptest/testdata/golden/config.yaml"
	if status, out, errs := program(t, "bidder", "diff", "--config", base, "--against", base); status != 0 || out != "" {
		t.Errorf("the same: status %d\n%s%s", status, out, errs)
	}
	changed := transportConfig(t, freshRates)
	if status, out, _ := program(t, "bidder", "diff", "--config", changed, "--against", base); status != 1 || !strings.Contains(out, "few") {
		t.Errorf("another: status %d\n%s", status, out)
	}
	if status, _, errs := program(t, "bidder", "diff", "--config", base); status != 2 || !strings.Contains(errs, "--against") {
		t.Errorf("without: status %d %s", status, errs)
	}
}

// TestExplainNow explains a request on a running bidder, without side effects.
func TestExplainNow(t *testing.T) {
	b := startBidder(t)
	id := b.browser().pixel("a=shop&e=add_to_cart&id=SKU1")
	request := fmt.Sprintf(transportRequest, id)
	explain := func(body string) (int, map[string]any) {
		rs, text := call(t, nil, http.MethodPost, "http://"+b.Admin+"/admin/explain", "application/json", []byte(body))
		return rs.StatusCode, parse(t, text)
	}
	order, err := json.Marshal(map[string]any{"exchange": "demo", "request": json.RawMessage(request)})
	if err != nil {
		t.Fatal(err)
	}
	var x map[string]any
	within(t, patience, "the visitor is known", func() bool {
		var status int
		status, x = explain(string(order))
		if status != http.StatusOK {
			t.Fatalf("got %d %v", status, x)
		}
		return len(list(obj(x["decision"])["bids"])) == 1
	})
	if bid := obj(list(obj(x["decision"])["bids"])[0]); bid["line"] != "cart" || obj(x["request"])["impressions"] != 1.0 {
		t.Errorf("got %v", x)
	}
	if n := b.metric("rebound_bidder_requests_total"); n != 0 {
		t.Errorf("asking counts as %g bid requests", n)
	}
	if r, _ := num(b.budget("autumn", "", "day")["reserved_micros"]); r != 0 {
		t.Errorf("asking holds %g", r)
	}
	for body, want := range map[string]string{`{`: "bad_json", `{"exchange":"x","request":{}}`: "bad_exchange", `{"exchange":"demo"}`: "bad_json"} {
		if status, x := explain(body); status != http.StatusBadRequest || obj(x["error"])["code"] != want {
			t.Errorf("%s: got %d %v; want 400 %s", body, status, x, want)
		}
	}
	rs, body := call(t, nil, http.MethodGet, "http://"+b.Admin+"/admin/losses", "", nil)
	if rs.StatusCode != http.StatusOK || list(parse(t, body)["losses"]) == nil {
		t.Errorf("losses: got %d %s", rs.StatusCode, body)
	}
}
