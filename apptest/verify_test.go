package apptest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verified is the report of replay --verify.
type verified struct {
	Records, Bids, Verified, Same int
	Differences, Unverified       map[string]int
	Skipped                       int
	NoBids, Dropped               map[string]int
}

// verifiableShop is the sample shop with everything recorded, a line that a visitor sees
// twice a day, one with hardly a budget, and prices that many floors exceed. daily is the
// budget of the paced line.
func verifiableShop(t *testing.T, daily string) (file string) {
	t.Helper()
	file = strings.Replace(shopWith(t, ""), "mine.yaml", "rebound.yaml", 1)
	changed(t, file,
		"known_nobid_pct: 1, unknown_nobid_pct: 0.1", "known_nobid_pct: 100, unknown_nobid_pct: 100",
		"        audience: {include: [product_viewers], within: 30d}", "        budget: {daily: "+daily+"}\n        audience: {include: [product_viewers], within: 30d}",
		"        budget: {daily: 300000.00}\n", "        budget: {daily: 0.05, pacing: asap}\n",
		"&often [{max: 1000, per: 24h}]", "&often [{max: 10, per: 24h}]",
	)
	return file
}

// changed replaces texts of a file, each of which must be in it.
func changed(t *testing.T, file string, pairs ...string) {
	t.Helper()
	text := readText(t, file)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %q", file, pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// verifyRun has the mock exchange send traffic for three times a duration: until a
// reload, until kill -9, and until the end. It returns the verification of the whole log.
func verifyRun(t *testing.T, d time.Duration, rate, visitors int, daily string) verified {
	t.Helper()
	file := verifiableShop(t, daily)
	b := startBidder(t, "--config", file)
	traffic := func(seed int) {
		t.Helper()
		status, out, errs := program(t, "loadtest", b.exchangeArgs("--pages", "0", "--duration", d.String(), "--rate", fmt.Sprint(rate), "--visitors", fmt.Sprint(visitors), "--tmax", "2s",
			"--floor", "6", "--shopper-pct", "100", "--app-pct", "90", "--revisit-pct", "20", "--price", "2", "--seed", fmt.Sprint(seed), "--lost-pct", "2", "--click-pct", "20", "--convert-pct", "20")...)
		if status > 1 || !strings.Contains(out, "page views") {
			t.Fatalf("status %d:\n%s%s", status, out, errs)
		}
	}
	traffic(1)
	changed(t, file, "cpm: 2.00", "cpm: 2.60", "{max: 10, per: 24h}", "{max: 14, per: 24h}")
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	b.log.wait(t, "configuration reloaded", patience, b.ended)
	traffic(2)
	b.awaitBidLog() // what it has not written a kill may lose
	b.kill()
	b.start()
	traffic(3)
	if status := b.terminate(); status != 0 {
		t.Fatalf("got status %d; want 0", status)
	}
	report, diff := filepath.Join(t.TempDir(), "verify.json"), filepath.Join(t.TempDir(), "diff.ndjson")
	status, out, errs := program(t, "replay", "--verify", "--data", b.dir, "--report", report, "--diff", diff)
	var v verified
	if err := json.Unmarshal([]byte(readText(t, report)), &v); err != nil {
		t.Fatal(err)
	}
	t.Logf("status %d:\n%s%s", status, out, errs)
	if (status == 0) != (v.Same == v.Verified) {
		t.Errorf("got status %d; want 0 only if nothing differs", status)
	}
	if v.Same != v.Verified {
		t.Logf("differences:\n%.4000s", readText(t, diff))
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "decisions made again") {
			t.Log(line)
		}
	}
	return v
}

// checkVerified checks that at least 99.99 % of the decisions are the same when they are
// made again, and that decisions of all kinds were.
func checkVerified(t *testing.T, v verified, least int, reasons ...string) {
	t.Helper()
	if v.Records < least || v.Verified != v.Records || v.Skipped > 0 {
		t.Errorf("got %d records, %d verified, %d skipped (%v); want at least %d, all verified", v.Records, v.Verified, v.Skipped, v.Unverified, least)
	}
	if v.Same*10_000 < v.Verified*9_999 {
		t.Errorf("%d of %d decisions are the same; want 99.99 %%: %v", v.Same, v.Verified, v.Differences)
	}
	if v.Bids*5 < v.Records {
		t.Errorf("%d of %d records have bids; want at least a fifth", v.Bids, v.Records)
	}
	refused := map[string]int{}
	for _, m := range []map[string]int{v.NoBids, v.Dropped} {
		for reason, n := range m {
			refused[reason] += n
		}
	}
	for _, reason := range append(reasons, "frequency", "floor", "unknown_visitor") {
		if refused[reason] == 0 {
			t.Errorf("no decision has %s; want some: %v", reason, refused)
		}
	}
	if refused["budget"]+refused["grant"] == 0 {
		t.Errorf("no decision was refused by a cap: %v", refused)
	}
}

// What a bidder decided, before and after a reload and kill -9, is what its log and its
// archived configurations decide again.
func TestVerify(t *testing.T) { checkVerified(t, verifyRun(t, 3*time.Second, 200, 61, "150.00"), 600) }

// TestProveVerify is TestVerify over ten minutes of traffic.
func TestProveVerify(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("ten minutes of traffic: make prove")
	}
	checkVerified(t, verifyRun(t, 200*time.Second, 150, 600, "2000.00"), 40_000, "paced")
}
