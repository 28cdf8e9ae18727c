package apptest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func emailHash(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "p%d@example.com", i))
	if i%2 == 0 {
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	return hex.EncodeToString(sum[:])
}

// TestListOf100000 uploads a list of 100,000 hashed rows and three faulty ones, and reads
// the report; a person of the list who comes to the site afterwards is bid on within a
// second, also after a kill, and a person of a replaced list no longer is.
func TestListOf100000(t *testing.T) {
	const rows = 100_000
	config := shopWith(t, `
audiences:
  - {id: vip, advertiser: shop, recipe: crm, with: {list: vip}}
campaigns:
  - id: crm
    advertiser: shop
    status: active
    budget: {daily: 50, total: 1000, pacing: asap}
    lines:
      - id: vip
        audience: {include: [vip]}
        bid: {strategy: fixed, cpm: 3.50, max_cpm: 8.00}
        creatives: [brand-html]
`)
	b := startBidder(t, "--config", config)
	t.Setenv("REBOUND_KEY", "demo-shop-key")
	var file strings.Builder
	file.WriteString("email_sha256,trait.tier\n")
	for i := range rows {
		file.WriteString(emailHash(i) + ",gold\n")
	}
	file.WriteString("d41d8cd98f00b204e9800998ecf8427e,gold\nanna@example.com,\n,gold\n")
	path := filepath.Join(t.TempDir(), "customers.csv")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	status, out, errs := program(t, "bidder", "list", "upload", "vip", path, "--edge", "http://"+b.Edge, "--consent-granted", "--mode", "replace")
	if status != 0 {
		t.Fatalf("upload: exit status %d: %s%s", status, out, errs)
	}
	took := time.Since(began)
	t.Logf("%d rows in %s: %.0f rows a second", rows, took, rows/took.Seconds())
	r := parse(t, []byte(out))
	faults := list(r["error_lines"])
	if n, _ := num(r["accepted"]); n != rows || len(faults) != 3 || obj(faults[0])["line"] != float64(rows+2) {
		t.Fatalf("got report %.2000s; want %d rows accepted and three faulty lines from %d on", out, rows, rows+2)
	}
	for i, why := range []string{"md5 (32 hex): only sha256", "clear text", "no identifier"} {
		if got, _ := obj(faults[i])["why"].(string); !strings.Contains(got, why) {
			t.Errorf("fault %d: got %q; want %q", i, got, why)
		}
	}

	anna := b.browser()
	uid := anna.pixel("a=shop&e=page_view")
	if status, _ := b.ask("demo", request("r", uid)); status != http.StatusNoContent {
		t.Fatalf("a visitor who is on no list: got status %d; want 204", status)
	}
	anna.pixel("a=shop&e=page_view&em=" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(emailHash(rows/2)))
	b.awaitBid(uid)
	b.kill()
	b.start()
	b.awaitBid(uid)

	job, _ := r["job"].(string)
	if status, out, _ := program(t, "bidder", "list", "status", job, "--edge", "http://"+b.Edge); status != 0 || !strings.Contains(out, fmt.Sprintf(`"accepted":%d`, rows)) {
		t.Errorf("the job after a restart: exit status %d, %s", status, out)
	}
	if status, out, errs := program(t, "bidder", "audiences", "list", "--admin", b.Admin); status != 0 || !strings.Contains(out, "vip") || !strings.Contains(out, "     1 ") {
		t.Errorf("audiences list: exit status %d, %s%s", status, out, errs)
	}
	one := filepath.Join(t.TempDir(), "one.csv")
	if err := os.WriteFile(one, []byte("email_sha256\n"+emailHash(rows/2)+"\n"+emailHash(3)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := program(t, "bidder", "audiences", "export", "vip", "--edge", "http://"+b.Edge, "--format", "meta", "--rows", one); status != 0 || strings.Count(out, "\n") != 2 {
		t.Errorf("export: exit status %d, got %q%s; want a header and the one row whose person is in the audience", status, out, errs)
	}

	// A list of others in its place takes effect as a whole.
	if err := os.WriteFile(one, []byte("email_sha256\n"+emailHash(3)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := program(t, "bidder", "list", "upload", "vip", one, "--edge", "http://"+b.Edge, "--mode", "replace"); status != 0 {
		t.Fatalf("replace: exit status %d: %s", status, errs)
	}
	within(t, patience, "no more bids for who is no longer on the list", func() bool {
		status, _ := b.ask("demo", request("r", uid))
		return status == http.StatusNoContent
	})
}

// TestRuleEditedLater adds a rule after the events that it counts: the bidder counts them
// from the log, and bids.
func TestRuleEditedLater(t *testing.T) {
	const rest = `
campaigns:
  - id: c
    advertiser: shop
    status: active
    budget: {daily: 50, total: 1000, pacing: asap}
    lines:
      - id: l
        audience: {include: [a]}
        bid: {strategy: fixed, cpm: 3.50, max_cpm: 8.00}
        creatives: [brand-html]
`
	config := shopWith(t, "audiences: [{id: a, advertiser: shop, include: {event: add_to_cart}}]\n"+rest)
	b := startBidder(t, "--config", config)
	w := b.browser()
	uid := w.pixel("a=shop&e=search&q=boots")
	if status, _ := b.ask("demo", request("r", uid)); status != http.StatusNoContent {
		t.Fatalf("before the edit: got status %d; want 204", status)
	}
	edited := strings.Replace("version: 1\ninclude: rebound.yaml\naudiences: [{id: a, advertiser: shop, include: {event: add_to_cart}}]\n"+rest,
		"{event: add_to_cart}", "{event: search, where: [{field: q, op: contains, value: boot}]}", 1)
	if err := os.WriteFile(config, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := program(t, "bidder", "audiences", "estimate", "a", "--config", config, "--data", b.dir); status != 0 || !strings.Contains(out, "     1 ") {
		t.Errorf("estimate: exit status %d, got %s%s; want one visitor", status, out, errs)
	}
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.awaitBid(uid)
	if status, out, errs := program(t, "bidder", "audiences", "rebuild", "a", "--admin", b.Admin); status != 0 {
		t.Errorf("rebuild: exit status %d, %s%s", status, out, errs)
	}
	b.awaitBid(uid)
}
