package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A new folder contains a configuration that passes check and bids on the
// request next to it, and a second init does not overwrite it.
func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my-shop")
	status, out, errs := run(t, "init", "--domain", "Bücher.example", dir)
	if status != 0 || !strings.Contains(out, "bidder check") {
		t.Fatalf("got %d\n%s\n%s", status, out, errs)
	}
	file := filepath.Join(dir, "rebound.yaml")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v; want a file that only its owner can read: it has a secret", info, err)
	}
	if status, out, _ := run(t, "check", file); status != 0 || !strings.Contains(out, "good (1 exchange, 1 advertiser, 2 audiences, 1 campaign, 2 lines, 2 creatives, 3 products") || strings.Count(out, "warning") > 1 {
		t.Errorf("check: got %d\n%s\nwant it good, with no warning but that of vendor_id", status, out)
	}
	for event, line := range map[string]string{"view_item:SKU1@2h": "viewed", "add_to_cart:SKU2@2h": "cart"} {
		status, out, errs := run(t, "try", "--config", file, "--exchange", "my-exchange", "--event", event, "--body", filepath.Join(dir, "request.json"))
		var answer struct {
			SeatBid []struct {
				Bid []struct {
					CID     string
					ADomain []string
					Adm     string
				}
			}
		}
		if err := json.Unmarshal([]byte(out), &answer); status != 0 || err != nil || len(answer.SeatBid) != 1 {
			t.Errorf("%s: got %d, %v\n%s\n%s\nwant a bid of line %s", event, status, err, out, errs, line)
			continue
		}
		bid := answer.SeatBid[0].Bid[0]
		if bid.ADomain[0] != "xn--bcher-kva.example" || !strings.Contains(bid.Adm, "xn--bcher-kva.example/img/") {
			t.Errorf("%s: got %+v; want the shop's own domain", event, bid)
		}
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, errs := run(t, "init", dir); status != 1 || !strings.Contains(errs, "exists") {
		t.Errorf("again: got %d, %s; want a refusal", status, errs)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Error("the second init changed the configuration")
	}
	other := filepath.Join(t.TempDir(), "other")
	if status, _, errs := run(t, "init", other, "--domain", "shop.example"); status != 0 {
		t.Errorf("the folder before the flags: got %d, %s", status, errs)
	}
	if b, err := os.ReadFile(filepath.Join(other, "rebound.yaml")); err != nil || strings.Contains(string(b), "[[") || secretOf(string(b)) == secretOf(string(before)) {
		t.Errorf("got %v\n%s\nwant a secret of its own", err, b)
	}
	for _, args := range [][]string{{"init"}, {"init", "a", "b"}, {"init", "--domain", "https://shop.example/", "x"}, {"init", "--domain", "", "x"}} {
		if status, _, errs := run(t, args...); status != 2 || errs == "" {
			t.Errorf("%v: got %d, %q; want wrong usage", args, status, errs)
		}
	}
}

func secretOf(text string) string {
	_, rest, _ := strings.Cut(text, "secret: ")
	secret, _, _ := strings.Cut(rest, "\n")
	return secret
}

// The samples work wherever they are copied to.
func TestCopiedSamples(t *testing.T) {
	for _, sample := range []string{"shop", "targeting"} {
		dir := filepath.Join(t.TempDir(), "my-shop")
		if err := os.CopyFS(dir, os.DirFS("../../examples/"+sample)); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "rebound.yaml")
		for _, args := range [][]string{{"check", file}, {"check", "--config", file}, {"check", "--config=" + file}} {
			if status, out, errs := run(t, args...); status != 0 || !strings.Contains(out, "good (") {
				t.Errorf("%v: got %d\n%s\n%s", args, status, out, errs)
			}
		}
		if status, _, errs := run(t, "check", file, "--config", file); status != 2 || !strings.Contains(errs, "want one") {
			t.Errorf("two files: got %d, %s; want wrong usage", status, errs)
		}
	}
}

// check names every row that was skipped, once.
func TestCheckNamesEveryRowOnce(t *testing.T) {
	file := copyShop(t)
	feed := filepath.Join(filepath.Dir(file), "products.tsv")
	b, err := os.ReadFile(feed)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "\tin_stock\t", "\tperhaps\t")
	if err := os.WriteFile(feed, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := strings.Count(text, "\tperhaps\t")
	status, out, _ := run(t, "check", file)
	if got := strings.Count(out, `"perhaps"`); status != 0 || got != bad || bad < 6 {
		t.Errorf("got %d, %d lines for %d rows\n%s", status, got, bad, out)
	}
}
