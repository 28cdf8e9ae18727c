package apptest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of so many bytes in memory.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk has no space left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 16
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestProveFullDisk fills the disk again and again; each second time the bidder is
// killed while it is full.
func TestProveFullDisk(t *testing.T) {
	proving(t)
	fullDisk(t, 10)
}

// TestFullDisk is the short form of the proof.
func TestFullDisk(t *testing.T) { fullDisk(t, 1) }

// diskProof is a bidder under load on a small disk.
type diskProof struct {
	t      *testing.T
	b      *bidder
	x      *proofLoad
	filler string
	phases []string
}

// fullDisk runs a bidder on a disk that is really full while events, bids and
// notices arrive. An acknowledged fact is never lost, bids stop and the bidder says
// why, and everything resumes without intervention once there is space again.
func fullDisk(t *testing.T, rounds int) {
	t.Helper()
	disk := smallDisk(t, 192<<20)
	b := &bidder{t: t, dir: filepath.Join(disk, "data"), args: []string{"--config", proofShop(t)}, Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	b.start()
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("log of the bidder:\n%s", b.log.tail(60))
		}
	})
	p := &diskProof{t: t, b: b, x: newProofLoad(b), filler: filepath.Join(disk, "filler")}
	for i := range rounds {
		if i%2 == 0 {
			p.x.under(func() { p.round(); p.recover() })
		} else {
			p.x.under(p.round)
			p.killFull()
			p.x.under(p.recover)
		}
		p.x.again()
		p.x.agrees(t, someVisitors(40))
	}
	b.kill()
	b.start()
	r := p.x.agrees(t, someVisitors(40))
	report(t, strings.Join(append(p.phases, fmt.Sprintf("%d facts; acknowledged and there once: %d events, %d bills", r.facts, len(p.x.events), len(p.x.bills))), "\n"))
}

// round fills the disk under load and waits until events and bids stop. Notices of
// bids that were made before are still taken.
func (p *diskProof) round() {
	p.t.Helper()
	x := p.x
	from := x.acknowledged()
	p.alive("facts are acknowledged", func() bool { return x.acknowledged() > from+500 })
	owed := x.oweMany(p.t, 300)
	p.phases = append(p.phases, fmt.Sprintf("with space: %v", x.takeCodes()))
	fill(p.t, p.filler)
	p.alive("events are refused and bids stop", func() bool { return x.answered("events 503") >= 50 && x.answered("bid 204") >= 200 })
	_, reason := x.send(http.MethodGet, "http://"+p.b.Admin+"/readyz", "")
	taken := x.taken(owed)
	p.phases = append(p.phases, fmt.Sprintf("full: %v; %d of %d notices of earlier bids taken; %s", x.takeCodes(), taken, len(owed), strings.TrimSpace(reason)))
	if !strings.Contains(reason, "disk") {
		p.t.Errorf("readyz says %q; want that the disk is full", reason)
	}
	if taken < len(owed) {
		p.t.Errorf("%d of %d notices were taken on a full disk; want all, from their reserve", taken, len(owed))
	}
}

// recover frees the space and waits until everything has resumed.
func (p *diskProof) recover() {
	p.t.Helper()
	if err := os.Remove(p.filler); err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	x := p.x
	p.alive("everything goes on", func() bool {
		return x.answered("bid 200") >= 50 && x.answered("events 200") >= 50 && x.answered("bill 204") >= 50
	})
	p.phases = append(p.phases, fmt.Sprintf("with space again: %v", x.takeCodes()))
}

// killFull kills the bidder while the disk is full. It may refuse to start there,
// with a message; it starts once there is space.
func (p *diskProof) killFull() {
	p.t.Helper()
	p.b.kill()
	p.b.launch()
	for p.b.log.find(0, "ready|started, but blind") == nil && p.b.log.find(0, "bidder ended") == nil {
		select {
		case <-p.b.ended:
			if p.b.log.find(0, "bidder ended") == nil {
				p.t.Fatalf("the bidder ended on a full disk without a reason:\n%s", p.b.log.tail(40))
			}
		case <-time.After(5 * time.Millisecond):
		}
	}
	end := p.b.log.find(0, "bidder ended")
	p.phases = append(p.phases, fmt.Sprintf("started on the full disk: refused: %v", end["error"]))
	p.b.kill()
	if err := os.Remove(p.filler); err != nil {
		p.t.Fatal(err)
	}
	p.b.start()
}

// alive waits until a condition holds, and fails if the bidder exits before.
func (p *diskProof) alive(what string, holds func() bool) {
	p.t.Helper()
	within(p.t, patience, what, func() bool {
		select {
		case <-p.b.ended:
			p.t.Fatalf("the bidder ended: %s", p.b.log.tail(3))
		default:
		}
		return holds()
	})
}

// answered returns how often a response came since the last takeCodes.
func (x *proofLoad) answered(code string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.codes[code]
}

// oweMany makes winning bids, and returns their bills without sending them.
func (x *proofLoad) oweMany(t *testing.T, n int) []owedBill {
	t.Helper()
	var list []owedBill
	for len(list) < n {
		x.mu.Lock()
		uid := x.known[len(x.known)-1]
		x.mu.Unlock()
		if status, body := x.ask("demo", uid, false); status == http.StatusOK {
			_, rest, _ := strings.Cut(body, `"seatbid"`)
			list = append(list, owedBill{bid: member(rest, "id"), url: strings.NewReplacer("${AUCTION_PRICE}", "0.50", "${AUCTION_CURRENCY}", "USD").Replace(member(body, "burl"))})
		}
	}
	return list
}

// taken sends bills and returns how many were taken.
func (x *proofLoad) taken(owed []owedBill) int {
	n := 0
	for _, o := range owed {
		x.bill(o)
		x.mu.Lock()
		if x.bills[o.bid] {
			n++
		}
		x.mu.Unlock()
	}
	return n
}
