//go:build linux

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// smallDisk mounts a separate file system of that many MiB, so that it can be filled completely.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("a disk can be filled only where one can be mounted, which root may do: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the space that is left, until free is called.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	for block := make([]byte, 1<<16); err == nil; {
		_, err = f.Write(block)
	}
	for err = nil; err == nil; {
		_, err = f.Write([]byte{0})
	}
	f.Close()
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// The disk is full: servers and bids stop, bills are still accepted into
// reserved space, and no acknowledged fact is lost. When there is space again,
// bids resume automatically.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, 256)
	data := filepath.Join(disk, "data")
	r := startProgram(t, shop, data)
	filler, sent := strings.Repeat("x", 200), 0
	send := func() int {
		var b strings.Builder
		for range 500 {
			sent++
			fmt.Fprintf(&b, `{"event":"view_item","event_id":"%d","user":{"uid":"u"},"props":{"a":"%s","b":"%[2]s","c":"%[2]s","d":"%[2]s"}}`+"\n", sent, filler)
		}
		status, _ := r.do("POST", "http://"+r.at.Edge+"/v1/events", b.String())
		return status
	}
	if status := send(); status != 200 {
		t.Fatalf("before: got %d; want 200", status)
	}
	free := fill(t, disk)
	eventually(t, "events refused", func() bool { return send() == 503 })
	bills := 0
	for ; bills < 1000; bills++ {
		err := r.app.append(t.Context(), events.Fact{ID: fmt.Sprint("bill:", bills), Kind: events.KindBill, At: time.Now(), Notice: &events.Notice{}})
		if err != nil {
			t.Fatalf("bill %d: %v", bills, err)
		}
	}
	eventually(t, "blind for the log", func() bool { return r.refused("blind") })
	status, body := r.do("GET", "http://"+r.at.Admin+"/readyz", "")
	if status != http.StatusServiceUnavailable || !strings.HasPrefix(body, "blind: ") {
		t.Errorf("/readyz: got %d %q; want 503 and why", status, body)
	}
	if status, _ := r.do("GET", "http://"+r.at.Edge+"/v1/px?a=shop&e=purchase&o=A-1", ""); status != http.StatusOK {
		t.Errorf("pixel: got %d", status)
	}
	free()
	r.says("no longer blind")
	if st := r.app.journal.Stats(); !st.FailingSince.IsZero() || st.Full {
		t.Fatalf("not mended: %+v\n%s", st, r.log)
	}
	if _, page := r.do("GET", "http://"+r.at.Admin+"/readyz", ""); page != "ready\n" {
		t.Errorf("/readyz: got %q; want ready", page)
	}
	eventually(t, "bids are judged again", func() bool { return r.app.money.Paused("demo", "", "") == rtb.NoBidNone })
	_, metrics := r.do("GET", "http://"+r.at.Admin+"/metrics", "")
	if !strings.Contains(metrics, "rebound_pacing_blind 0") || !strings.Contains(metrics, "rebound_journal_full 0") {
		t.Error("the metrics do not show that bids go on")
	}
	if status := send(); status != 200 {
		t.Errorf("events after it: got %d; want them taken", status)
	}
	eventually(t, "the views go on", func() bool {
		last := r.app.journal.Last().Seq
		return r.app.visitors.Position().Seq >= last && r.app.money.Position().Seq >= last
	})
}
