package apptest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// TestProveFullDisk: a disk that is really full while events, bids and notices
// arrive. An acknowledged fact is never lost, bids stop and say why, and all goes
// on by itself once there is space again.
func TestProveFullDisk(t *testing.T) {
	proving(t)
	disk := smallDisk(t, 192<<20)
	b := &bidder{t: t, dir: filepath.Join(disk, "data"), args: []string{"--config", proofShop(t)}, Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	b.start()
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("log of the bidder:\n%s", b.log.tail(60))
		}
	})
	x := newProofLoad(b)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { x.run(1<<40, stop) })
	alive := func(what string, holds func() bool) {
		t.Helper()
		within(t, time.Minute, what, func() bool {
			select {
			case <-b.ended:
				t.Errorf("the bidder ended on a full disk: %s", b.log.tail(3))
				return true
			default:
				return holds()
			}
		})
	}
	alive("facts are acknowledged", func() bool { return x.acknowledged() > 500 })
	owed := x.oweMany(t, 300)
	phases := []string{fmt.Sprintf("with space: %v", x.takeCodes())}

	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	alive("events are refused and bids stop", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.codes["events 503"] >= 50 && x.codes["bid 204"] >= 50
	})
	_, reason := x.send(http.MethodGet, "http://"+b.Admin+"/readyz", "")
	taken := x.codes204(owed)
	_, metrics := x.send(http.MethodGet, "http://"+b.Admin+"/metrics", "")
	phases = append(phases, fmt.Sprintf("full: %v; %d of %d notices of earlier bids taken; %s; %v", x.takeCodes(), taken, len(owed), strings.TrimSpace(reason), linesWith(metrics, "lost", `reason="blind"`, "disk")))
	if !strings.Contains(reason, "disk") {
		t.Errorf("readyz says %q; want that the disk is full", reason)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	alive("everything goes on", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.codes["bid 200"] >= 50 && x.codes["events 200"] >= 50 && x.codes["bill 204"] >= 50
	})
	close(stop)
	wg.Wait()
	phases = append(phases, fmt.Sprintf("with space again: %v", x.takeCodes()))
	select {
	case <-b.ended:
		b.start()
	default:
	}
	x.again()
	x.agrees(t, someVisitors(40))
	b.kill()
	b.start()
	r := x.agrees(t, someVisitors(40))
	report(t, strings.Join(append(phases, fmt.Sprintf("%d facts; acknowledged and there once: %d events, %d bills", r.facts, len(x.events), len(x.bills))), "\n"))
}

// oweMany makes bids that win, and returns their bills, which nobody has sent.
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

// codes204 sends bills and returns how many were taken.
func (x *proofLoad) codes204(owed []owedBill) int {
	x.mu.Lock()
	before := len(x.bills)
	x.mu.Unlock()
	for _, o := range owed {
		x.bill(o)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.bills) - before
}

// linesWith returns the lines of a text that contain one of some words and do not
// end in a zero.
func linesWith(text string, words ...string) []string {
	var list []string
	for line := range strings.Lines(text) {
		for _, w := range words {
			if strings.Contains(line, w) && !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " 0\n") {
				list = append(list, strings.TrimSpace(line))
				break
			}
		}
	}
	return list
}
