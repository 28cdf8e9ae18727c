package apptest

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newestFacts returns the newest file of the log that holds facts.
func (b *bidder) newestFacts() string {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, "log", "facts", "[0-9]*.ndjson*"))
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(files)
	for _, name := range slices.Backward(files) {
		text, err := os.ReadFile(name)
		if err != nil {
			b.t.Fatal(err)
		}
		if bytes.Count(text, []byte("\n")) > 1 {
			return name
		}
	}
	b.t.Fatalf("no facts in %v", files)
	return ""
}

// loop makes a visitor who is bid for, and a bill of 1.00 CPM.
func (b *bidder) loop() (visitor string, bid map[string]any) {
	b.t.Helper()
	visitor = b.browser().pixel("a=shop&e=view_item&id=SKU1")
	bid = b.awaitBid(visitor)
	b.notify(str(bid["burl"]), "1.00")
	within(b.t, patience, "the bill is booked", func() bool { return spent(b.budget("autumn", "", "day")) == 1000 })
	return visitor, bid
}

// TestTornLog leaves half a line at the end of the log, as a kill does, and
// removes the views: the half line is cut off and named, and everything is folded again.
func TestTornLog(t *testing.T) {
	b := startBidder(t)
	ann, _ := b.loop()
	b.kill()
	f, err := os.OpenFile(b.newestFacts(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"v":1,"seq":9999,"ts":"2026-10-01T08:`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.RemoveAll(filepath.Join(b.dir, "views")); err != nil {
		t.Fatal(err)
	}
	b.start()
	if b.log.find(0, "the end of the log was half written") == nil {
		t.Errorf("nothing is said of the torn line:\n%s", b.log.tail(30))
	}
	if cut, _ := filepath.Glob(filepath.Join(b.dir, "log", "facts", "cut-*")); len(cut) != 1 {
		t.Errorf("got %v; want what was cut off to be kept", cut)
	}
	if got := spent(b.budget("autumn", "", "day")); got != 1000 {
		t.Errorf("spent %v micros; want 1000", got)
	}
	if status, _ := b.ask("demo", request("r-ann", ann)); status != http.StatusOK {
		t.Errorf("ann gets %d; want a bid", status)
	}
}

// TestDamagedLog changes a digit of a bill while the bidder is stopped. It must
// not change spend: the bidder is blind and names the place, until the line is
// restored from a backup.
func TestDamagedLog(t *testing.T) {
	b := startBidder(t)
	ann, _ := b.loop()
	backup := filepath.Join(t.TempDir(), "backup")
	if status, out := tool(t, "bidder", "backup", "--data", b.dir, backup); status != 0 {
		t.Fatalf("backup: got %d %s", status, out)
	}
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	name := b.newestFacts()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(`"price_micros":1000,`), []byte(`"price_micros":9000,`), 1)
	if bytes.Equal(text, changed) {
		t.Fatalf("no bill in %s", text)
	}
	if err := os.WriteFile(name, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "views")); err != nil {
		t.Fatal(err)
	}
	status, out := tool(t, "bidder", "verify", "--data", b.dir)
	if status != 1 || !strings.Contains(out, "damaged: "+name+":") {
		t.Errorf("verify: got %d %s; want 1 and the place", status, out)
	}
	b.launch()
	b.log.wait(t, "view failed", patience, b.ended)
	if said := b.log.tail(30); !strings.Contains(said, name+":") {
		t.Errorf("the place is not named:\n%s", said)
	}
	b.kill()
	if status, out := tool(t, "bidder", "log", "repair", "--data", b.dir, "--from", backup); status != 0 || !strings.Contains(out, "restored: "+name) {
		t.Fatalf("repair: got %d %s", status, out)
	}
	if status, out := tool(t, "bidder", "verify", "--data", b.dir); status != 0 {
		t.Errorf("verify after the repair: got %d %s", status, out)
	}
	b.start()
	if got := spent(b.budget("autumn", "", "day")); got != 1000 {
		t.Errorf("spent %v micros; want 1000", got)
	}
	if status, _ := b.ask("demo", request("r-ann", ann)); status != http.StatusOK {
		t.Errorf("ann gets %d; want a bid", status)
	}
}

// TestOlderCopyOfTheLog puts an older copy of the log in place while the views
// are ahead of it: the bidder is blind for money and reports it. Once the loss
// is accepted, the spend that the views had seen counts as spent.
func TestOlderCopyOfTheLog(t *testing.T) {
	b := startBidder(t)
	ann, _ := b.loop()
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	facts, older, newer := filepath.Join(b.dir, "log", "facts"), filepath.Join(t.TempDir(), "older"), filepath.Join(t.TempDir(), "newer")
	copyFolder(t, facts, older)
	b.start()
	second := b.awaitBid(ann)
	b.notify(str(second["burl"]), "2.00")
	within(t, patience, "both bills are booked", func() bool { return spent(b.budget("autumn", "", "day")) == 3000 })
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	copyFolder(t, facts, newer)
	copyFolder(t, older, facts)

	b.start()
	within(t, patience, "blind", func() bool {
		status, _ := b.ask("demo", request("r-ann", ann))
		_, body := call(t, nil, "GET", "http://"+b.Admin+"/readyz", "", nil)
		return status == http.StatusNoContent && strings.Contains(string(body), "which the log does not hold")
	})
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	if status, out := tool(t, "bidder", "log", "accept-loss", "--data", b.dir); status != 0 {
		t.Fatalf("accept-loss: got %d %s", status, out)
	}
	b.start()
	if got := spent(b.budget("autumn", "", "day")); got < 3000 {
		t.Errorf("spent %v micros; want 3000 or more: the bill that is lost was seen", got)
	}
	if status, _ := b.ask("demo", request("r-bob", b.browser().pixel("a=shop&e=view_item&id=SKU2"))); status != http.StatusOK && status != http.StatusNoContent {
		t.Errorf("got %d", status)
	}
	b.notify(str(second["burl"]), "2.00") // a repeat of a booked bill must not count again
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	if status, out := tool(t, "bidder", "verify", "--data", b.dir); status != 0 || !strings.Contains(out, "lost and accepted") {
		t.Errorf("verify: got %d %s; want the loss, accepted", status, out)
	}
}

// TestRestore makes a data folder from a backup that was taken while the bidder ran.
func TestRestore(t *testing.T) {
	b := startBidder(t)
	ann, _ := b.loop()
	backup := filepath.Join(t.TempDir(), "backup")
	if status, out := tool(t, "bidder", "backup", "--data", b.dir, backup); status != 0 {
		t.Fatalf("backup: got %d %s", status, out)
	}
	b.kill()
	b.dir = filepath.Join(t.TempDir(), "restored")
	if status, out := tool(t, "bidder", "restore", "--data", b.dir, backup); status != 0 || !strings.Contains(out, "blind for money") {
		t.Fatalf("restore: got %d %s", status, out)
	}
	if status, out := tool(t, "bidder", "log", "accept-loss", "--data", b.dir); status != 0 {
		t.Fatalf("accept-loss: got %d %s", status, out)
	}
	b.start()
	if got := spent(b.budget("autumn", "", "day")); got != 1000 {
		t.Errorf("spent %v micros; want 1000", got)
	}
	// Nobody knows what the bidder had promised after the backup, so visitors' caps
	// refuse until every promise must have ended; ann is known all the same.
	status, _ := b.ask("demo", request("r-ann", ann))
	if status != http.StatusOK && b.metric("rebound_bidder_nobids_total", "exchange", "demo", "reason", "frequency") != 1 {
		t.Errorf("ann gets %d; want a bid, or none because of the frequency cap", status)
	}
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// tool runs a built program and returns what it printed.
func tool(t *testing.T, name string, args ...string) (status int, output string) {
	t.Helper()
	status, out, errs := program(t, name, args...)
	return status, out + errs
}
