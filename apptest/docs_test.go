package apptest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

var shellBlocks = regexp.MustCompile("(?s)(<!-- not run by the test -->\n)?```sh\n(.*?)```")

// script returns the shell commands of a document.
func script(t *testing.T, doc string) (text string, blocks int) {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine", tool)
		}
	}
	for _, b := range shellBlocks.FindAllStringSubmatch(readFile(t, doc), -1) {
		if b[1] == "" {
			text += b[2]
			blocks++
		}
	}
	return text, blocks
}

// TestHTTPDocument runs the commands of docs/http.md and compares every status with the
// one in the comment on its line.
func TestHTTPDocument(t *testing.T) {
	text, blocks := script(t, "docs/http.md")
	var want []string
	expected := regexp.MustCompile(`# (\d+)$`)
	for line := range strings.Lines(text) {
		if m := expected.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			want = append(want, m[1])
		}
	}
	if blocks < 10 || len(want) < 33 {
		t.Fatalf("got %d blocks and %d statuses; want all of the document", blocks, len(want))
	}
	b := startBidder(t)
	text = strings.NewReplacer("127.0.0.1:8080", b.Bid, "127.0.0.1:8081", b.Edge, "127.0.0.1:8082", b.Admin).Replace(text)
	cmd := exec.Command("bash", "-c", "set -u\n"+settling(b.Admin)+text+`echo "visitor:${#ann}"`)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	number := regexp.MustCompile(`^\d+$`)
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); number.MatchString(line) {
			got = append(got, line)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got the statuses\n%v\nwant\n%v\n%s", got, want, out)
	}
	for _, w := range []string{"visitor:27", `"accepted":0`, `"code":"no_user"`, `"code":"clear_text"`} {
		if !strings.Contains(string(out), w) {
			t.Errorf("want %s in\n%s", w, out)
		}
	}
}

// TestStartDocument runs the commands of docs/start.md, which lead a reader to
// a first bid, exactly as written except for the ports.
func TestStartDocument(t *testing.T) {
	text, blocks := script(t, "docs/start.md")
	if blocks != 7 {
		t.Fatalf("got %d blocks of shell; want 7", blocks)
	}
	bid, edge, admin := freeAddress(t), freeAddress(t), freeAddress(t)
	const serve = "bidder serve --config my-shop/rebound.yaml"
	if !strings.Contains(text, serve) {
		t.Fatalf("docs/start.md does not start the bidder with %q", serve)
	}
	text = strings.NewReplacer(serve, serve+" --bid "+bid+" --edge "+edge+" --admin "+admin+" --public-url http://"+edge,
		"127.0.0.1:8080", bid, "127.0.0.1:8081", edge, "127.0.0.1:8082", admin).Replace(text)
	cmd := exec.Command("bash", "-c", "set -u\ntrap 'kill ${pid:-} 2>/dev/null' EXIT\n"+settling(admin)+text)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	var out, status strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &status
	err := cmd.Run()
	log, _ := os.ReadFile(filepath.Join(cmd.Dir, "bidder.log")) // only for the message below
	if err != nil {
		t.Fatalf("%v\n%s\n%s\n%s", err, out.String(), status.String(), log)
	}
	if got := strings.Join(strings.Fields(status.String()), " "); got != "200 204" {
		t.Errorf("statuses of the two bid requests: %s; want 200 204\n%s", got, out.String())
	}
	for _, w := range []string{"good (1 exchange", "ready", `"adomain":["shop.example"]`, "bid on 1: line shop/first/viewed", "\n204\n", `"spent_micros":1`, `"accepted":1`} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("want %s in\n%s", w, out.String())
		}
	}
}

// freeAddress returns an address of this machine on which nothing listens. It is given
// once, and its port is below those that systems give to clients and to listeners on port
// 0: nobody else takes it before a bidder listens on it, or while that bidder restarts.
func freeAddress(t *testing.T) string {
	t.Helper()
	const first, ports = 15_000, 15_000
	for range ports {
		addr := fmt.Sprintf("127.0.0.1:%d", first+lastPort.Add(1)%ports)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// lastPort begins at random, because other tests may run on this machine.
var lastPort = func() *atomic.Uint32 {
	n := &atomic.Uint32{}
	n.Store(rand.Uint32N(1 << 16))
	return n
}()

// settling returns a shell function that replaces sleep. It also waits until a bidder has
// folded all facts, which takes longer on a busy machine.
func settling(admin string) string {
	return `sleep() {
	command sleep "$1"
	for i in $(seq 600); do
		curl -s http://` + admin + `/metrics | awk '/^rebound_journal_lag/ && $2 > 0 {exit 1}' && return
		command sleep 0.1
	done
}
`
}
