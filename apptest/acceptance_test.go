package apptest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A view of a product makes the visitor biddable within a second, and a purchase ends the
// bids within a second. The tag may write a product's id in another case than the feed.
func TestViewThenPurchase(t *testing.T) {
	b := startBidder(t)
	var known, ended []time.Duration
	for n := 1; n == 1 || n <= 5 && (slices.Min(known) > time.Second || slices.Min(ended) > time.Second); n++ { // a busy machine may be slow once
		w := b.browser()
		uid := w.pixel("a=shop&e=view_item&id=%20sku1%20")
		began := time.Now()
		bid := b.awaitBid(uid)
		known = append(known, time.Since(began))
		if adm := str(bid["adm"]); !strings.Contains(adm, "https://shop.example/img/SKU1.jpg") && !strings.Contains(adm, "Northway Trail Running Shoe") {
			t.Errorf("got the ad %.300q; want the product SKU1 of the feed", adm)
		}
		w.pixel(fmt.Sprintf("a=shop&e=purchase&o=A-%d&v=26.10&cu=USD&id=Sku1", n))
		ended = append(ended, within(t, patience, "no bid for a buyer", func() bool {
			status, _ := b.ask("demo", request("r", uid))
			return status == http.StatusNoContent
		}))
	}
	if slices.Min(known) > time.Second || slices.Min(ended) > time.Second {
		t.Errorf("a visitor was known after %v at best, and a buyer after %v; want a second at most", slices.Min(known), slices.Min(ended))
	}
}

// Where the GDPR applies, a bid needs purpose 4 and a cookie purpose 1. A missing and an
// unreadable TC string refuse both.
func TestPurposesOfTheGDPR(t *testing.T) {
	const (
		all      = "CP1R2oAP1R2oAAKABBENBkFgAPIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAAA" // purposes 1 to 4 and 7
		without4 = "CP1R2oAP1R2oAAKABBENBkFgAOIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAAA"
		without1 = "CP1R2oAP1R2oAAKABBENBkFgAHIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAAA"
	)
	b := startBidder(t)
	known := b.browser()
	uid := known.pixel("a=shop&e=view_item&id=SKU1&gdpr=1&gdpr_consent=" + all)
	b.awaitBid(uid)
	for _, tt := range []struct {
		consent string
		bid     int
		cookie  bool
	}{{all, 200, true}, {without4, 204, true}, {without1, 204, false}, {"", 204, false}, {"unreadable", 204, false}} {
		rq := strings.Replace(string(request("r", uid)), `"user":{`, `"regs":{"gdpr":1},"user":{"consent":"`+tt.consent+`",`, 1)
		if status, body := b.ask("demo", []byte(rq)); status != tt.bid || status == 204 && len(body) > 0 {
			t.Errorf("consent %q: got %d %s; want %d", tt.consent, status, body, tt.bid)
		}
		if got := b.browser().pixel("a=shop&e=view_item&id=SKU1&gdpr=1&gdpr_consent=" + tt.consent); (got != "") != tt.cookie {
			t.Errorf("consent %q: got cookie %q; want one: %v", tt.consent, got, tt.cookie)
		}
	}
}

// The target of a sync may spell the macro for our visitor id in four ways.
func TestSyncMacros(t *testing.T) {
	b := startBidder(t, "--config", shopWith(t, `exchanges:
  - {id: pbs, include: builtin:prebid26, seat: seat-1, sources: [127.0.0.0/8], redirect_hosts: [pbs.example]}
`))
	for i, macro := range []string{"$UID", "{UID}", "${UID}", "%24UID"} {
		agent := fmt.Sprintf("Mozilla/5.0 (X11; Linux x86_64; rv:14%d.0) Gecko/20100101 Firefox/14%d.0", i, i) // another browser at this address
		rs, _ := call(t, nil, http.MethodGet, "http://"+b.Edge+"/v1/sync?ex=pbs&gdpr=0&r="+url.QueryEscape("https://pbs.example/setuid?uid="+macro), "", nil, "User-Agent", agent)
		uid := ""
		for _, c := range rs.Cookies() {
			if c.Name == "rt_uid" {
				uid = c.Value
			}
		}
		if want := "https://pbs.example/setuid?uid=" + uid; uid == "" || !strings.HasPrefix(rs.Header.Get("Location"), want) {
			t.Errorf("%s: got %d to %q with cookie %q; want a redirect with the id", macro, rs.StatusCode, rs.Header.Get("Location"), uid)
		}
	}
}

// An address and a phone number in clear text in a list meet the hashes that platforms
// document for them, however either is written.
func TestHashVectors(t *testing.T) {
	b := startBidder(t)
	t.Setenv("REBOUND_KEY", "demo-shop-key")
	clear := []struct{ text, hash string }{ // published test vectors of UID2, Google and Meta
		{"email, User@Example.com ", "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514"},
		{"email,janesaoirse@gmail.com", "92ee2605"},
		{"email,Person@example.com", "542d2401"},
		{"phone,+1 (234) 567-8901", "10e6f0b4"},
		{"phone,+1 345 678 9012", ""}, // the hash without the plus sign
	}
	sent := []string{"user@example.com", "janesaoirse@gmail.com", "person@example.com", "+12345678901", "13456789012"}
	for i, c := range clear {
		col, value, _ := strings.Cut(c.text, ",")
		sum := sha256.Sum256([]byte(sent[i]))
		hash := hex.EncodeToString(sum[:])
		if !strings.HasPrefix(hash, c.hash) {
			t.Fatalf("SHA-256 of %s: got %s; want %s", sent[i], hash, c.hash)
		}
		b.browser().pixel("a=shop&e=identify&" + map[string]string{"email": "em", "phone": "ph"}[col] + "=" + hash)
		file := filepath.Join(t.TempDir(), "list.csv")
		if err := os.WriteFile(file, []byte(col+"\n"+value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		within(t, patience, "the row "+value+" is known by "+hash[:8], func() bool {
			status, out, errs := program(t, "bidder", "list", "upload", fmt.Sprintf("v%d", i), file, "--edge", "http://"+b.Edge, "--consent-granted")
			if status != 0 {
				t.Fatalf("%s: exit status %d, %s%s", value, status, out, errs)
			}
			matched, _ := num(obj(parse(t, []byte(out))["matched"])["any"])
			return matched == 1
		})
	}
	b.terminate()
	for _, text := range []string{"janesaoirse", "person@example", "2345678901", "3456789012"} {
		checkNothingOnDisk(t, b.dir, text)
	}
}

// An advertiser sees, estimates, rebuilds and exports its own audiences under its key, and
// those of no one else.
func TestAudiencesOfAnAdvertiser(t *testing.T) {
	b := startBidder(t, "--config", shopAnd(t, `advertisers:
  - {id: other, name: Other, domains: [other.example], currency: USD, keys: [{sha256: `+hashOf("other-key")+`, scopes: [audiences]}, {sha256: `+hashOf("events-key")+`, scopes: [events]}]}
audiences:
  - {id: theirs, advertiser: other, include: {event: view_item}}
`))
	b.events(`[{"event":"view_item","user":{"uid":"anna"},"items":["SKU1"]},{"event":"view_item","user":{"uid":"anna"},"items":["SKU2"]},{"event":"view_item","user":{"uid":"benn"},"items":["SKU1"]}]`)
	b.awaitBid("benn")
	ask := func(key, method, path, body string) (int, string) {
		t.Helper()
		rs, answer := call(t, nil, method, "http://"+b.Edge+"/v1/audiences"+path, "", []byte(body), "Authorization", "Bearer "+key)
		return rs.StatusCode, string(answer)
	}
	if status, body := ask("demo-shop-key", "GET", "", ""); status != 200 || !strings.Contains(body, `"id":"product_viewers"`) || strings.Contains(body, "theirs") || strings.Contains(body, `"visitors"`) {
		t.Errorf("list: got %d %s; want the audiences of the shop", status, body)
	}
	for header, want := range map[string]int{"bearer demo-shop-key": http.StatusOK, "demo-shop-key": http.StatusUnauthorized} {
		if rs, body := call(t, nil, http.MethodGet, "http://"+b.Edge+"/v1/audiences", "", nil, "Authorization", header); rs.StatusCode != want {
			t.Errorf("Authorization: %s: got %d %s; want %d", header, rs.StatusCode, body, want)
		}
	}
	if status, body := ask("demo-shop-key", "GET", "/product_viewers", ""); status != 200 || !strings.Contains(body, `"size":2`) {
		t.Errorf("one audience: got %d %s; want 2 visitors", status, body)
	}
	for rule, want := range map[string]string{"": `"size":2`, "include: {event: view_item, min_count: 2}": `"size":1`, `{"include":{"event":"view_item"},"exclude":{"event":"view_item","where":[{"field":"item.id","value":"sku2"}]}}`: `"size":1`} {
		if status, body := ask("demo-shop-key", "POST", "/product_viewers/estimate", rule); status != 200 || !strings.Contains(body, want) {
			t.Errorf("estimate of %q: got %d %s; want %s", rule, status, body, want)
		}
	}
	if status, body := ask("demo-shop-key", "POST", "/draft/estimate", "include: {audience: theirs}"); status != 400 || !strings.Contains(body, "include.audience") {
		t.Errorf("a draft with another's audience: got %d %s; want 400 with the place", status, body)
	}
	if status, body := ask("demo-shop-key", "POST", "/draft/estimate", "include: {evnt: view_item}\ninclude_: 1"); status != 400 || !strings.Contains(body, "event") {
		t.Errorf("a draft with a mistake: got %d %s; want 400", status, body)
	}
	if status, body := ask("demo-shop-key", "POST", "/product_viewers/rebuild", ""); status != 202 {
		t.Errorf("rebuild: got %d %s", status, body)
	}
	for _, path := range []string{"GET /product_viewers", "POST /product_viewers/estimate", "POST /product_viewers/rebuild", "POST /product_viewers/export?format=ids"} {
		method, path, _ := strings.Cut(path, " ")
		for key, want := range map[string]int{"other-key": 404, "events-key": 401, "guessed": 401} {
			if status, body := ask(key, method, path, ""); status != want {
				t.Errorf("%s %s with %s: got %d %s; want %d", method, path, key, status, body, want)
			}
		}
	}
	if status, body := ask("other-key", "GET", "/theirs", ""); status != 200 || !strings.Contains(body, `"size":0`) {
		t.Errorf("the other's audience: got %d %s; want none of the shop's visitors", status, body)
	}
}

// A rule that is edited and counted from the log has the same members as one whose view is
// built from the log alone, and as a plain count of the events.
func TestRebuildEqualsAFreshBuild(t *testing.T) {
	const head = "version: 1\ninclude: rebound.yaml\naudiences: [{id: a, advertiser: shop, include: "
	config := shopWith(t, strings.TrimPrefix(head, "version: 1\ninclude: rebound.yaml\n")+"{event: add_to_cart}}]\n")
	b := startBidder(t, "--config", config)
	rnd, want := rand.New(rand.NewPCG(3, 4)), 0
	var lines []string
	now := time.Now().Add(-time.Minute)
	for user := range 120 {
		views, bought := 0, false
		for range rnd.IntN(13) {
			at, name := now.Add(-time.Duration(rnd.IntN(6*24*60))*time.Minute), []string{"view_item", "view_item", "search", "purchase"}[min(3, rnd.IntN(20)/6)]
			category := []string{"Shoes > Hiking", "Shoes > Running"}[rnd.IntN(2)]
			lines = append(lines, fmt.Sprintf(`{"event":%q,"ts":%d,"user":{"uid":"visitor-%d"},"items":[{"id":"SKU1","category":%q}],"consent":{"gdpr":0}}`, name, at.Unix(), user, category))
			if name == "view_item" && category == "Shoes > Hiking" && now.Sub(at) < 4*24*time.Hour {
				views++
			}
			bought = bought || name == "purchase"
		}
		if views >= 2 && !bought {
			want++
		}
	}
	b.events(strings.Join(lines, "\n"))
	edited := head + "{event: view_item, within: 4d, min_count: 2, where: [{field: item.category, op: under, value: Shoes > Hiking}]}, exclude: {event: purchase}}]\n"
	if err := os.WriteFile(config, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	members := func() []string {
		t.Helper()
		rs, body := call(t, nil, http.MethodPost, "http://"+b.Edge+"/v1/audiences/a/export?format=ids", "", nil, "Authorization", "Bearer demo-shop-key")
		if rs.StatusCode != http.StatusOK {
			t.Fatalf("export: got %d %s", rs.StatusCode, body)
		}
		ids := strings.Fields(string(body))
		slices.Sort(ids)
		return ids
	}
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the edited rule is counted", func() bool {
		return b.metric("rebound_config_reloads_total", "code", "done") == 1 && len(members()) == want+1 // with the header
	})
	rebuilt := members()
	if want < 10 || want > 110 {
		t.Fatalf("%d of 120 visitors are members; want a rule that splits them", want)
	}
	if status, out, errs := program(t, "bidder", "audiences", "rebuild", "a", "--admin", b.Admin); status != 0 {
		t.Errorf("rebuild: exit status %d, %s%s", status, out, errs)
	}
	within(t, patience, "the rebuild", func() bool {
		_, body := b.get("http://" + b.Admin + "/admin/audiences")
		return !strings.Contains(body, `"rebuilding"`)
	})
	if again := members(); !slices.Equal(again, rebuilt) {
		t.Errorf("after a second rebuild: got %d members; want the same %d", len(again), len(rebuilt))
	}
	b.terminate()
	if err := os.RemoveAll(filepath.Join(b.dir, "views")); err != nil {
		t.Fatal(err)
	}
	b.start()
	within(t, patience, "the view is built", func() bool { return len(members()) > 1 && b.metric("rebound_journal_lag", "view", "segments") == 0 })
	if fresh := members(); !slices.Equal(fresh, rebuilt) {
		t.Errorf("built from the log: got %d members; want the same %d", len(fresh), len(rebuilt))
	}
}
