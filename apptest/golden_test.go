package apptest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebound/internal/conformance"
)

// update rewrites the golden responses: go test ./apptest -run Golden -update
var update = flag.Bool("update", false, "rewrite the golden files")

// TestGoldenPairs tries one captured request of every exchange's dialect with its
// profile, at a fixed time and with fixed random numbers, and compares the
// response and its headers byte for byte; then it does the same with an unknown
// visitor.
func TestGoldenPairs(t *testing.T) {
	profiles, err := filepath.Glob("../examples/exchanges/*.yaml")
	if err != nil || len(profiles) < 10 {
		t.Fatalf("got %d profiles, %v; want ten at least", len(profiles), err)
	}
	for _, file := range profiles {
		id := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(id, func(t *testing.T) {
			conformance.Covers(t, "M2", "K2", "M20", "R3", "R5", "R16", "G24")
			dir := filepath.Join("testdata", "golden", id)
			args := []string{"try", "--config", "apptest/testdata/golden/config.yaml", "--exchange", id, "--at", "2026-10-01T12:00:00Z"}
			if id == "prebid26" || id == "index" {
				args = append(args, "--gzip")
			}
			request := filepath.Join("apptest", dir, "request.json")
			known := append(slices.Clone(args), "--event", "view_item:SKU7@2h", request)
			status, out, errs := program(t, "bidder", known...)
			head, body, _ := strings.Cut(out, "\n\n")
			if status != 0 {
				t.Fatalf("status %d\n%s%s", status, out, errs)
			}
			body, _, _ = strings.Cut(body, "\n\n")
			golden(t, filepath.Join(dir, "headers"), head+"\n")
			golden(t, filepath.Join(dir, "answer.json"), body+"\n")
			checkGolden(t, id, filepath.Join(dir, "request.json"), []byte(body))

			status, out, _ = program(t, "bidder", append(args, request)...)
			if status != 1 {
				t.Errorf("an unknown visitor: status %d; want 1", status)
			}
			golden(t, filepath.Join(dir, "nobid"), out)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s differs\n got %s\nwant %s", name, got, want)
	}
}

// priceForms are the price macros of the exchanges that need another form than the
// standard's, or need it elsewhere than in burl.
var priceForms = map[string]string{"openx": "${AUCTION_PRICE:OXCRYPT}", "prebid25": "${AUCTION_PRICE}", "prebid26": "${AUCTION_PRICE}",
	"pubmatic": "${AUCTION_PRICE}", "xandr": "${AUCTION_PRICE}"}

// checkGolden asks the checker that shares nothing with the bidder.
func checkGolden(t *testing.T, id, request string, body []byte) {
	t.Helper()
	if form := priceForms[id]; !bytes.Contains(body, []byte("p="+form)) {
		t.Errorf("answer lacks the price macro %s", form)
	}
	text, err := os.ReadFile(request)
	if err != nil {
		t.Fatal(err)
	}
	var rq object
	if err := json.Unmarshal(text, &rq); err != nil {
		t.Fatal(err)
	}
	wrong := checkResponse(rq, body)
	wrong = slices.DeleteFunc(wrong, func(w string) bool {
		return priceForms[id] != "" && strings.HasPrefix(w, "burl has no ${AUCTION_PRICE}") ||
			id == "xandr" && w == "no adm" // it shows registered creatives
	})
	if len(wrong) > 0 {
		t.Errorf("answer is not valid: %s", strings.Join(wrong, "; "))
	}
}

// TestEveryProfileIsGood checks the sample configuration with all profiles.
func TestEveryProfileIsGood(t *testing.T) {
	if status, out, errs := program(t, "bidder", "check", "--config", "examples/markets.yaml"); status != 0 {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

// TestProfilesThatWouldBeDropped: a profile whose bids the exchange drops is a
// problem with its line, not a surprise (conformance M20).
func TestProfilesThatWouldBeDropped(t *testing.T) {
	conformance.Covers(t, "M20", "R3")
	base, err := os.ReadFile("testdata/golden/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(base), "../../../examples", filepath.ToSlash(root)+"/examples")
	text = strings.ReplaceAll(text, "rates.yaml", filepath.ToSlash(root)+"/apptest/testdata/golden/rates.yaml")
	for _, c := range []struct{ old, new, want string }{
		{"index.yaml, seat: seat-1", "index.yaml, seat: seat-1, price_in: [win]", "price_in: got win; want at least one of imp, bill"},
		{`openx.yaml, seat: "537100001"`, `openx.yaml, seat: "537100001", price_macro: "${AUCTION_PRICE}"`, "${AUCTION_PRICE:OXCRYPT}"},
		{`openx.yaml, seat: "537100001"`, `openx.yaml, seat: "537100001", click_macro: ""`, "click_macro"},
		{`pubmatic.yaml, seat: "4321"`, `pubmatic.yaml, seat: seat-1`, "digits only"},
		{`xandr.yaml, seat: "1234"`, `xandr.yaml, seat: "1234", billing_source: {banner: burl}`, "billing_source.banner"},
	} {
		if !strings.Contains(text, c.old) {
			t.Fatalf("the configuration lacks %q", c.old)
		}
		name := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(name, []byte(strings.Replace(text, c.old, c.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if status, out, _ := program(t, "bidder", "check", "--config", name); status != 1 || !strings.Contains(out, c.want) {
			t.Errorf("%s: status %d; want a problem with %q\n%s", c.new, status, c.want, out)
		}
	}
}
