package reference

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference.md")

// The document matches the source.
func TestReferenceIsCurrent(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := Document(root)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "docs", "reference.md")
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/reference.md is out of date; run go test ./internal/reference -update")
	}
}

// The descriptions of the JSON Schema match the source.
func TestDescriptionsAreCurrent(t *testing.T) {
	root := filepath.Join("..", "..")
	want, err := Descriptions(root)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "config", "descriptions.json")
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("config/descriptions.json is out of date (%v); run go test ./internal/reference -update", err)
	}
}

// The document contains entries from each kind of source.
func TestReferenceContainsEveryKind(t *testing.T) {
	doc, err := Document(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| `--config` |", "| `--rate` | `1000` |", "| `--notice-delay` |",
		"### bidder serve", "### replay run", "### loadtest attack", "| `examples/shop/rebound.yaml` |", "| `500ms` |", "### config.File", "### exchange.ProfileSpec", "| `default_tmax` |", "### campaigns.LineSpec", "### audiences.",
		"| `rebound_bidder_nobids_total` | counter | exchange, reason |", "| `late` | 15 | Too little of tmax",
		"### campaigns.Frequency", "### campaigns.FrequencySpec", "Values: ", "### events.Notice", "| `bid_id` |", "### events.BidRecord", "| `sample_weight` |", "| `multiplier` |",
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("the reference does not contain %s", want)
		}
	}
}

// docs/http.md matches the source and has a section on every route.
func TestHTTPDocumentIsCurrent(t *testing.T) {
	root := filepath.Join("..", "..")
	file := filepath.Join(root, "docs", "http.md")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := HTTP(root, string(got))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(got) != want {
		t.Error("docs/http.md is out of date; run go test ./internal/reference -update")
	}
	paths := Routes(want)
	if len(paths) < 25 {
		t.Errorf("got %d routes: %v; want those of three listeners", len(paths), paths)
	}
	_, text, _ := strings.Cut(want, "<!-- end routes -->")
	for _, path := range paths {
		if !strings.Contains(text, path+"`") {
			t.Errorf("docs/http.md does not describe %s", path)
		}
	}
	for _, row := range []string{"| edge | GET | `/v1/px` |", "| admin | PUT | `/admin/creatives/{id}/approval` |", "| edge | GET, POST | `/v1/win` |", "| `bad_hash` | em or ph is not a SHA-256 |", "| `duplicate` | already recorded"} {
		if !strings.Contains(want, row) {
			t.Errorf("docs/http.md does not contain %s", row)
		}
	}
}
