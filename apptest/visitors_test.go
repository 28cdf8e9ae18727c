package apptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVisitorsDocument runs the commands of docs/visitors.md, in a real browser, exactly as
// written except for the ports.
func TestVisitorsDocument(t *testing.T) {
	text, blocks := script(t, "docs/visitors.md")
	if blocks != 7 {
		t.Fatalf("got %d blocks of shell; want 7", blocks)
	}
	browser := chromiumPath(t)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 on this machine; TestTagWithConsent shows the visit without it")
	}
	bid, edge, admin, pages := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	_, port, _ := strings.Cut(pages, ":")
	const serve = "bidder serve --config examples/shop/visitors.yaml"
	text = strings.NewReplacer(serve, serve+" --bid "+bid+" --edge "+edge+" --admin "+admin+" --public-url http://"+edge,
		"127.0.0.1:8080", bid, "127.0.0.1:8081", edge, "127.0.0.1:8082", admin, "127.0.0.1:9000", pages, "http.server 9000", "http.server "+port,
		"chromium --headless", browser+" --headless").Replace(text)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", "set -u\ntrap 'kill ${pid:-} ${web:-} 2>/dev/null' EXIT\n"+settling(admin)+text)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "REBOUND="+root)
	var out, status strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &status
	err = cmd.Run()
	log, _ := os.ReadFile(filepath.Join(cmd.Dir, "bidder.log")) // only for the message below
	if err != nil {
		t.Fatalf("%v\n%s\n%s\n%s", err, out.String(), status.String(), log)
	}
	if got := strings.Join(strings.Fields(status.String()), " "); got != "204 200 200 204" {
		t.Errorf("statuses of the bid requests: %s; want 204 200 200 204\n%s", got, out.String())
	}
	rest := out.String()
	for _, w := range []string{
		`"event":"page_view","status":"accepted"`, `"event":"view_item","status":"accepted"`, `"cid":"autumn"`, `"matches":{"ok":1}`, `"match_rate_pct":`, `"event":"email_click","status":"accepted"`,
		`"accepted":2`, `"any":1`, `"cid":"loyalty"`, "vip", `"enters":["buyers"]`, `"accepted":1`,
	} {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("want %s in\n%s\nof\n%s\n%s", w, rest, out.String(), log)
		}
		rest = after
	}
}
