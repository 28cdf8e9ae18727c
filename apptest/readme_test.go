package apptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readFile is a file of the repository.
func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadmeStory runs the README's curl commands exactly as written, except for the ports.
func TestReadmeStory(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine; TestStory shows the same without it", tool)
		}
	}
	_, story, ok := strings.Cut(readFile(t, "README.md"), "<!-- story -->")
	story, _, ok2 := strings.Cut(story, "## Try a change")
	if !ok || !ok2 {
		t.Fatal("README.md has no story between its marker and the next chapter")
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(story, -1)
	if len(blocks) != 4 {
		t.Fatalf("got %d blocks of shell; want 4", len(blocks))
	}
	b := startBidder(t)
	script := "set -u\n" + settling(b.Admin)
	for _, block := range blocks {
		script += block[1] + "echo ==== >&2\necho ====\n"
	}
	script = strings.NewReplacer("127.0.0.1:8080", b.Bid, "127.0.0.1:8081", b.Edge, "127.0.0.1:8082", b.Admin).Replace(script)
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = t.TempDir()
	var out, status strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &status
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), status.String())
	}
	parts, statuses := strings.Split(out.String(), "====\n"), strings.Fields(strings.ReplaceAll(status.String(), "====", ""))
	if got := strings.Join(statuses, " "); got != "204 200 204 200" {
		t.Errorf("statuses of the four bid requests: %s; want 204 200 204 200", got)
	}
	for i, want := range [][]string{
		{},
		{`"price":3.6`, `"adomain":["shop.example"]`, `SKU7`, `"w":300,"h":250`},
		{"204\n204\n204\nhttps://shop.example/p/SKU7", `"spent_micros":1200,`},
		{`"accepted":1`, `"seatbid"`, `rebound_bidder_bids_total{exchange="demo"} 2`,
			`rebound_bidder_nobids_total{exchange="demo",reason="audience_excluded"} 1`, `rebound_pacing_spend_micros_total{line="shop/autumn/viewed"} 1200`},
	} {
		for _, w := range want {
			if !strings.Contains(parts[i], w) {
				t.Errorf("block %d has no %s:\n%s", i+1, w, parts[i])
			}
		}
	}
}
