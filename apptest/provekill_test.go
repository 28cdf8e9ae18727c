package apptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// acknowledged returns how many events and bills were acknowledged.
func (x *proofLoad) acknowledged() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.events) + len(x.bills)
}

// under runs the load while fn does something to the bidder.
func (x *proofLoad) under(fn func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { x.run(1<<40, stop) })
	defer x.client.CloseIdleConnections()
	defer wg.Wait()
	defer close(stop)
	fn()
}

// killUnderLoad ends the bidder with SIGKILL after so many more facts were
// acknowledged.
func (x *proofLoad) killUnderLoad(t *testing.T, more int) {
	t.Helper()
	x.under(func() {
		target := x.acknowledged() + more
		within(t, patience, "facts are acknowledged", func() bool { return x.acknowledged() >= target })
		x.b.kill()
	})
}

// agrees waits until the bidder agrees with the recount of its log, in which every
// acknowledged fact is once and no fact twice.
func (x *proofLoad) agrees(t *testing.T, visitors []string) *recount {
	t.Helper()
	r, err := recountFolder(x.b.dir)
	if err != nil {
		t.Fatal(err)
	}
	wrong := x.missing(r)
	for id, n := range r.events {
		if n > 1 && id != "" { // a pixel's event has no id
			wrong = append(wrong, fmt.Sprintf("event %s is there %d times", id, n))
		}
	}
	if len(wrong) > 0 {
		t.Fatalf("%d facts: %v", r.facts, wrong)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if wrong = x.differences(r, visitors); len(wrong) == 0 {
			return r
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d facts: %v\n%s", r.facts, wrong, x.b.log.tail(40))
		}
	}
}

// someVisitors are visitors of the load.
func someVisitors(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("v%d", i*proofVisitors/n))
	}
	return append(list, "stranger1")
}

// killMany kills a bidder under load again and again.
func killMany(t *testing.T, n int) {
	t.Helper()
	b := startBidder(t, "--config", proofShop(t))
	x := newProofLoad(b)
	rnd := rand.New(rand.NewPCG(3, 4))
	visitors, torn := someVisitors(40), 0
	for range n {
		x.killUnderLoad(t, 20+rnd.IntN(300))
		b.start()
		if b.log.find(0, "the end of the log was half written") != nil {
			torn++
		}
		if rnd.IntN(2) == 0 {
			x.again()
		}
		x.agrees(t, visitors)
	}
	x.again()
	r := x.agrees(t, visitors)
	report(t, fmt.Sprintf("%d kills: %d facts; acknowledged and there once: %d events, %d bills; the log had a torn end %d times; answers %v",
		n, r.facts, len(x.events), len(x.bills), torn, x.takeCodes()))
}

// TestProveKill: 200 times kill -9 under load.
func TestProveKill(t *testing.T) {
	proving(t)
	killMany(t, 200)
}

// TestKill is the short form of the proof.
func TestKill(t *testing.T) { killMany(t, 5) }

// TestProveBackup: the backup of a running bidder, restored into an empty folder.
func TestProveBackup(t *testing.T) {
	proving(t)
	for range 10 {
		backUp(t)
	}
}

// TestBackupUnderLoad is the short form of the proof.
func TestBackupUnderLoad(t *testing.T) { backUp(t) }

// backUp makes a backup under load. What was acknowledged before it began is in
// the restored folder, and a bidder there agrees with the recount.
func backUp(t *testing.T) {
	t.Helper()
	b := startBidder(t, "--config", proofShop(t))
	x, before := newProofLoad(b), newProofLoad(b)
	x.run(10, nil)
	b.kill() // so that the log has a second file
	b.start()
	backup := filepath.Join(t.TempDir(), "backup")
	x.under(func() {
		target := x.acknowledged() + 100
		within(t, patience, "facts are acknowledged", func() bool { return x.acknowledged() >= target })
		x.mu.Lock()
		for id := range x.events {
			before.events[id] = true
		}
		for id := range x.bills {
			before.bills[id] = true
		}
		x.mu.Unlock()
		if status, out := tool(t, "bidder", "backup", "--data", b.dir, backup); status != 0 {
			t.Errorf("backup: got %d %s", status, out)
		}
	})
	b.kill()
	b.dir = filepath.Join(t.TempDir(), "restored")
	if status, out := tool(t, "bidder", "restore", "--data", b.dir, backup); status != 0 {
		t.Fatalf("restore: got %d %s", status, out)
	}
	b.start()
	if status, _ := before.ask("demo", "v1", true); status != 204 {
		t.Errorf("restored and not accepted: got %d; want no bid", status)
	}
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	if status, out := tool(t, "bidder", "log", "accept-loss", "--config", b.args[1], "--data", b.dir); status != 0 {
		t.Fatalf("accept-loss: got %d %s", status, out)
	}
	b.start()
	r := before.agrees(t, someVisitors(40))
	t.Logf("%d facts restored, %d of them acknowledged before the backup began", r.facts, before.acknowledged())
}

// TestProveTail: what can a corruption hide that follows a kill -9 at once? The end
// of the newest file is cut off between two lines, or a bit is flipped in one of the
// last ones. Facts that the head, a remaining synced mark or a view knew of are
// reported as missing. The rest looks like an end that was never acknowledged.
func TestProveTail(t *testing.T) {
	proving(t)
	cutTails(t, 60)
}

// hidden counts the facts that were hidden by cut tails.
type hidden struct {
	tried, found, silent, facts int
	span                        time.Duration // of the longest hidden tail
}

func (h *hidden) String() string {
	return fmt.Sprintf("%d tried: %d named; %d hidden, at most %d facts of the last %s", h.tried, h.found, h.silent, h.facts, h.span.Round(time.Millisecond))
}

func cutTails(t *testing.T, n int) {
	t.Helper()
	config := proofShop(t)
	b := startBidder(t, "--config", config)
	x := newProofLoad(b)
	rnd := rand.New(rand.NewPCG(5, 6))
	var all [4]hidden
	for i := range n {
		x.killUnderLoad(t, 50+rnd.IntN(3000))
		cut := filepath.Join(t.TempDir(), "cut")
		copyFolder(t, b.dir, cut)
		if i%2 == 1 {
			if err := os.RemoveAll(filepath.Join(cut, "views")); err != nil {
				t.Fatal(err)
			}
		}
		cutTail(t, rnd, config, cut, i%4 >= 2, &all[i%4])
		if err := os.RemoveAll(cut); err != nil {
			t.Fatal(err)
		}
		b.start()
	}
	report(t, "cut off, views there: "+all[0].String()+"\ncut off, views lost too: "+all[1].String()+
		"\nbit flipped, views there: "+all[2].String()+"\nbit flipped, views lost too: "+all[3].String())
}

// cutTail cuts the end off the log of a copied folder, or flips a bit where it would
// cut, and starts a bidder there.
func cutTail(t *testing.T, rnd *rand.Rand, config, dir string, flip bool, h *hidden) {
	t.Helper()
	whole, err := recountFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	var head struct {
		Seq uint64 `json:"seq"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "log", "facts", "head"))
	if err == nil {
		err = json.Unmarshal(text, &head)
	}
	if err != nil {
		t.Fatal(err)
	}
	name := (&bidder{t: t, dir: dir}).newestFacts()
	text, err = os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(bytes.Lines(text))
	tail := min(max(int(whole.last-min(head.Seq, whole.last)), 1)+3, len(lines)-1)
	keep := len(lines) - 1 - rnd.IntN(tail)
	if err := os.WriteFile(name, bytes.Join(lines[:keep], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	lost := uint64(len(lines) - keep)
	p := &proofFolder{config: config, dir: dir, visitors: someVisitors(10)}
	if p.recount, err = recountFolder(dir); err != nil {
		t.Fatal(err)
	}
	if flip {
		flipIn(rnd, lines[keep])
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outcome, detail := p.trial(t, dir).outcome([]string{"log/facts", "view money", "view segments"})
	first := whole.last - lost + 1
	h.tried++
	switch outcome {
	case outBlind, outRefused:
		h.found++
	case outSame: // it agrees with the remaining facts: nothing refers to the others
		h.silent++
		h.facts = max(h.facts, int(lost))
		h.span = max(h.span, whole.ts[whole.last].Sub(whole.ts[first]))
		if first <= head.Seq {
			t.Errorf("facts %d to %d were cut off, the head says %d, and nothing is said", first, whole.last, head.Seq)
		}
	default:
		t.Errorf("facts %d to %d cut off: %s: %s", first, whole.last, outcome, strings.TrimSpace(detail))
	}
}

// flipIn flips a bit of a line outside its synced mark, which no hash covers.
func flipIn(rnd *rand.Rand, line []byte) {
	from := bytes.Index(line, []byte(`"synced":`))
	to := from
	if from >= 0 {
		to += bytes.IndexByte(line[from:], ',')
	}
	at := rnd.IntN(len(line))
	for at >= from && at <= to {
		at = rnd.IntN(len(line))
	}
	line[at] ^= 1 << rnd.IntN(8)
}
