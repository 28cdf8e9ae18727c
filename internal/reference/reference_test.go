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
		"### events.Notice", "| `bid_id` |", "### events.BidRecord", "| `sample_weight` |", "| `multiplier` |",
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("the reference does not contain %s", want)
		}
	}
}
