package fleettest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rebound/events"
)

// binDir is the folder of the bidder's program; empty if no test needed it.
var binDir string

// built is the bidder's program, which the first test that needs it builds.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rebound-fleettest-")
	if err != nil {
		return "", err
	}
	binDir = dir
	cmd := exec.Command("go", "build", "-o", dir, "./cmd/bidder")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build bidder: %w: %s", err, out)
	}
	return filepath.Join(dir, "bidder"), nil
})

// program runs a verb of the bidder to its end.
func program(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// fleetConfig copies the sample shop, with the cluster's address.
func fleetConfig(t *testing.T, c *cluster) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "examples")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "examples"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "shop", "rebound.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := replaceOnce(string(b), "data: {dir: ./data,", fmt.Sprintf("data: {dir: ./data, nats: %q,", c.url()))
	if !ok {
		t.Fatal("the sample shop has no data folder to replace")
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// process is a bidder that runs.
type process struct {
	t                      *testing.T
	name, config, data     string
	bidAt, edgeAt, adminAt string // host:port; of the last start
	cmd                    *exec.Cmd
	ended                  chan struct{}

	mu  sync.Mutex // protects log
	log bytes.Buffer
}

// Write takes the program's log.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start starts the bidder, on the addresses that it had, and waits until it is ready.
func (p *process) start() {
	p.t.Helper()
	bin, err := built()
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.log.Reset()
	p.mu.Unlock()
	p.cmd = exec.Command(bin, "serve", "--config", p.config, "--data", p.data, "--node", p.name, "--bid", p.bidAt, "--edge", p.edgeAt, "--admin", p.adminAt)
	p.cmd.Stderr = p
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // the status is in ProcessState
		close(ended)
	}(p.cmd, p.ended)
	within(p.t, p.name+" that is ready", func() bool {
		select {
		case <-p.ended:
			p.t.Fatalf("%s ended:\n%s", p.name, p.said())
		default:
		}
		return p.ready()
	})
}

func (p *process) ready() bool {
	for line := range strings.Lines(p.said()) {
		var m struct{ Msg, Bid, Edge, Admin string }
		if json.Unmarshal([]byte(line), &m) == nil && (m.Msg == "ready" || strings.HasPrefix(m.Msg, "started, but blind")) {
			p.bidAt, p.edgeAt, p.adminAt = m.Bid, m.Edge, m.Admin
			return true
		}
	}
	return false
}

func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	<-p.ended
	if status := p.cmd.ProcessState.ExitCode(); status != 0 {
		p.t.Errorf("%s stopped with status %d", p.name, status)
	}
}

var client = &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (p *process) call(method, url, body string) (int, string) {
	p.t.Helper()
	rq, err := http.NewRequestWithContext(p.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	rq.Header.Set("Content-Type", "application/json")
	rq.Header.Set("Authorization", "Bearer demo-shop-key")
	rs, err := client.Do(rq)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rs.Body.Close()
	b, err := io.ReadAll(rs.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return rs.StatusCode, string(b)
}

// look reports to the bidder that a visitor viewed a shoe.
func (p *process) look(id, visitor string) int {
	status, _ := p.call("POST", "http://"+p.edgeAt+"/v1/events", fmt.Sprintf(`{"event":"view_item","event_id":%q,"user":{"uid":%q},"items":[{"id":"SKU1"}]}`, id, visitor))
	return status
}

type bid struct {
	NURL, BURL string
	Price      float64
}

// ask sends a bid request for a visitor; nil means no bid.
func (p *process) ask(id, visitor string) *bid {
	p.t.Helper()
	status, body := p.call("POST", "http://"+p.bidAt+"/openrtb2/demo", fmt.Sprintf(`{"id":%q,"at":2,"tmax":500,"cur":["USD"],"imp":[{"id":"1","secure":1,"bidfloor":0.5,`+
		`"banner":{"format":[{"w":300,"h":250}]}}],"site":{"domain":"news.example","page":"https://news.example/a"},`+
		`"device":{"ip":"203.0.113.7","ua":"Mozilla/5.0"},"user":{"buyeruid":%q}}`, id, visitor))
	if status != http.StatusOK {
		return nil
	}
	var rs struct{ SeatBid []struct{ Bid []bid } }
	if err := json.Unmarshal([]byte(body), &rs); err != nil {
		p.t.Fatal(err)
	}
	return &rs.SeatBid[0].Bid[0]
}

// notice fires a notice of a bid at a node, which need not be the bidding node.
func (p *process) notice(u, price string) int {
	p.t.Helper()
	u = strings.NewReplacer("${AUCTION_PRICE}", price, "${AUCTION_CURRENCY}", "USD").Replace(u)
	status, _ := p.call("GET", edgeOf.ReplaceAllString(u, "http://"+p.edgeAt+"/"), "")
	return status
}

var edgeOf = regexp.MustCompile(`^http://[^/]+/`)

type headAt struct {
	Log, H string
	Seq    uint64
	Blind  string
}

func (p *process) head() (h headAt) {
	p.t.Helper()
	_, body := p.call("GET", "http://"+p.adminAt+"/admin/head", "")
	if err := json.Unmarshal([]byte(body), &h); err != nil {
		p.t.Fatal(err)
	}
	return h
}

// spent returns the total spend of a campaign in micros.
func (p *process) spent() float64 {
	p.t.Helper()
	_, body := p.call("GET", "http://"+p.adminAt+"/admin/budgets", "")
	var report struct {
		Budgets []struct {
			Campaign, Line, Window string
			Spent                  float64 `json:"spent_micros"`
		}
	}
	if err := json.Unmarshal([]byte(body), &report); err != nil {
		p.t.Fatal(err)
	}
	for _, b := range report.Budgets {
		if b.Campaign == "autumn" && b.Line == "" && b.Window == "total" {
			return b.Spent
		}
	}
	p.t.Fatalf("no budget in %s", body)
	return 0
}

// agree waits until all bidders have spent the same and have equal heads.
func agree(t *testing.T, micros float64, all ...*process) headAt {
	t.Helper()
	var h headAt
	within(t, fmt.Sprintf("equal heads and %v micros spent", micros), func() bool {
		h = all[0].head()
		for _, p := range all {
			if p.head() != h || p.spent() != micros {
				return false
			}
		}
		return h == all[0].head()
	})
	return h
}

// start starts three bidders with the same keys.
func startFleet(t *testing.T, c *cluster) []*process {
	t.Helper()
	file, dir := fleetConfig(t, c), t.TempDir()
	var all []*process
	for i := range 3 {
		p := &process{t: t, name: fmt.Sprintf("n%d", i+1), config: file, data: filepath.Join(dir, fmt.Sprintf("n%d", i+1)),
			bidAt: "127.0.0.1:0", edgeAt: "127.0.0.1:0", adminAt: "127.0.0.1:0"}
		t.Cleanup(func() {
			p.kill()
			if t.Failed() {
				said := p.said()
				t.Logf("log of %s:\n%s", p.name, said[max(0, len(said)-6000):])
			}
		})
		if i > 0 {
			b, err := os.ReadFile(filepath.Join(all[0].data, "keys.json"))
			if err == nil {
				err = os.MkdirAll(p.data, 0o700)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(p.data, "keys.json"), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		p.start()
		all = append(all, p)
	}
	return all
}

// bidOf asks until a node bids for a visitor.
func (p *process) bidOf(visitor string) *bid {
	p.t.Helper()
	var b *bid
	n := 0
	within(p.t, "bid of "+p.name+" for "+visitor, func() bool {
		n++
		b = p.ask(fmt.Sprintf("%s-%s-%d", p.name, visitor, n), visitor)
		return b != nil
	})
	return b
}

// looked stores an event at a node, as often as it takes.
func (p *process) looked(id, visitor string) {
	p.t.Helper()
	within(p.t, "room for event "+id, func() bool { return p.look(id, visitor) == http.StatusOK })
}

// TestBidders runs three bidders on three servers: a visitor who is seen at one
// node is bid for at another and billed at the third, while servers and bidders
// are killed, and through an outage of the whole cluster.
func TestBidders(t *testing.T) {
	c := newCluster(t)
	all := startFleet(t, c)
	n1, n2, n3 := all[0], all[1], all[2]

	n1.looked("e1", "alice")
	first := n2.bidOf("alice")
	for range 2 {
		if status := n3.notice(first.BURL, "1.20"); status != http.StatusNoContent {
			t.Fatalf("bill at another node: got %d; want 204", status)
		}
	}
	if status := n1.notice(first.BURL, "1.20"); status != http.StatusNoContent {
		t.Errorf("the same bill at a third node: got %d; want 204", status)
	}
	agree(t, 1200, all...)

	if status, body := n1.call("PUT", "http://"+n1.adminAt+"/admin/creatives/brand-sound/approval", `{"exchange":"demo","state":"rejected","by":"test"}`); status != http.StatusOK {
		t.Fatalf("approval: got %d %s", status, body)
	}
	for _, p := range all {
		within(t, "the rejection at "+p.name, func() bool {
			b, err := os.ReadFile(filepath.Join(p.data, "approvals.json"))
			return err == nil && strings.Contains(string(b), `"rejected"`)
		})
	}

	c.stop(1)
	n3.looked("e2", "bob")
	second := n1.bidOf("bob")
	if status := n2.notice(second.BURL, "1.00"); status != http.StatusNoContent {
		t.Errorf("bill with a server killed: got %d; want 204", status)
	}
	c.startAll()
	agree(t, 2200, all...)

	n2.kill()
	n1.looked("e3", "carol")
	third := n3.bidOf("carol")
	if status := n1.notice(third.BURL, "1.00"); status != http.StatusNoContent {
		t.Errorf("bill with a bidder killed: got %d; want 204", status)
	}
	n2.start()
	agree(t, 3200, all...)

	outageOf(t, c, all)
	checkFacts(t, all)
}

// outageOf stops all servers. Each node has a bid open, and gets its bill.
func outageOf(t *testing.T, c *cluster, all []*process) {
	t.Helper()
	before := all[0].spent()
	var open []*bid
	for i, p := range all {
		visitor := fmt.Sprintf("visitor-%d", i)
		p.looked(fmt.Sprintf("before-%d", i), visitor)
		open = append(open, p.bidOf(visitor))
	}
	c.stopAll()
	end := time.Now().Add(outage())
	refused := 0
	for i := 0; i < 3 || time.Now().Before(end); i++ {
		for k, p := range all {
			if status := p.notice(open[k].BURL, "1.00"); status != http.StatusNoContent {
				t.Fatalf("bill at %s while the cluster is away: got %d; want 204", p.name, status)
			}
			if status := p.look(fmt.Sprintf("away-%d-%d", k, i), "dave"); status != http.StatusServiceUnavailable {
				t.Fatalf("event at %s while the cluster is away: got %d; want 503", p.name, status)
			}
			refused++
		}
		if i == 1 {
			all[0].kill() // what it acknowledged is in its outbox
			all[0].start()
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.startAll()
	began := time.Now()
	h := agree(t, before+3000, all...)
	t.Logf("%s away, %d events refused; equal heads at fact %d %s later", outage(), refused, h.Seq, time.Since(began).Round(time.Millisecond))
	all[2].looked("after", "erin")
	all[1].bidOf("erin")
}

// checkFacts looks at the files of all nodes: the same lines, each bill once.
func checkFacts(t *testing.T, all []*process) {
	t.Helper()
	for _, p := range all {
		p.terminate()
	}
	var longest []events.Fact
	for _, p := range all {
		status, out := program(t, "verify", "--data", p.data)
		if status != 0 {
			t.Errorf("verify %s: %s", p.name, out)
		}
		facts := factsOf(t, p.data)
		for i := range min(len(facts), len(longest)) { // a node that stopped earlier has fewer
			if facts[i].Position() != longest[i].Position() {
				t.Fatalf("%s: got fact %d %s; want fact %d %s", p.name, facts[i].Seq, facts[i].LineHash, longest[i].Seq, longest[i].LineHash)
			}
		}
		if len(facts) > len(longest) {
			longest = facts
		}
	}
	bills := map[string]int{}
	for i := range longest {
		switch f := &longest[i]; f.Kind {
		case events.KindUnreadable:
			t.Errorf("fact %d is not readable", f.Seq)
		case events.KindBill:
			bills[f.BidID.String()]++
		}
	}
	for id, n := range bills {
		if n != 1 {
			t.Errorf("the bill of bid %s is there %d times", id, n)
		}
	}
	if len(bills) != 6 {
		t.Errorf("got bills of %d bids; want 6", len(bills))
	}
	t.Logf("%d facts", len(longest))
}

// factsOf returns the facts of a data folder.
func factsOf(t *testing.T, data string) (facts []events.Fact) {
	t.Helper()
	for f, err := range events.ReadFactFiles(filepath.Join(data, "log", "facts", "0*.ndjson*")) {
		if err != nil {
			t.Fatal(err)
		}
		facts = append(facts, *f)
	}
	return facts
}

// TestBidderRefuses changes a node's log, gives a node other keys, and starts a
// new node from a backup.
func TestBidderRefuses(t *testing.T) {
	c := newCluster(t)
	all := startFleet(t, c)
	n1, n2 := all[0], all[1]
	n1.looked("e1", "alice")
	b := n1.bidOf("alice")
	n1.notice(b.BURL, "1.00")
	agree(t, 1000, all...)

	n2.terminate()
	change(t, filepath.Join(n2.data, "log", "facts"), `"price_micros":1000,`, `"price_micros":9000,`)
	n2.start()
	within(t, "node that is blind", func() bool { return strings.Contains(n2.head().Blind, ".ndjson:") })
	if n2.ask("r1", "alice") != nil {
		t.Error("a node whose log was changed bids")
	}
	if got := n2.spent(); got != 1000 && got != 0 {
		t.Errorf("a changed digit became money: %v", got)
	}
	n2.terminate()
	backup := filepath.Join(t.TempDir(), "backup")
	if status, out := program(t, "backup", "--data", n1.data, backup); status != 0 {
		t.Fatalf("backup: %s", out)
	}
	if status, out := program(t, "log", "repair", "--data", n2.data, "--from", backup); status != 0 {
		t.Fatalf("repair: %s", out)
	}
	n2.start()
	agree(t, 1000, all...)

	n4 := &process{t: t, name: "n4", config: n1.config, data: filepath.Join(t.TempDir(), "n4"), bidAt: "127.0.0.1:0", edgeAt: "127.0.0.1:0", adminAt: "127.0.0.1:0"}
	t.Cleanup(n4.kill)
	if status, out := program(t, "restore", "--data", n4.data, backup); status != 0 {
		t.Fatalf("restore: %s", out)
	}
	if status, out := program(t, "log", "accept-loss", "--config", n4.config, "--data", n4.data, "--node", n4.name); status != 0 {
		t.Fatalf("accept-loss: %s", out)
	}
	n4.start()
	// A restored node is not asked for a bid: caps of visitors refuse until every
	// promise that was made before the backup must have ended.
	agree(t, 1000, append(all, n4)...)

	stranger := filepath.Join(t.TempDir(), "n5")
	status, out := program(t, "serve", "--config", n1.config, "--data", stranger, "--node", "n5", "--bid", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	if status == 0 || !strings.Contains(out, "copy it from another node") {
		t.Errorf("a node with keys of its own: got status %d: %s", status, out)
	}
	if status, out := program(t, "serve", "--config", n1.config, "--data", stranger); status == 0 || !strings.Contains(out, "--node") {
		t.Errorf("a node without a name: got status %d: %s", status, out)
	}
}
