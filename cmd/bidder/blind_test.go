//go:build linux

package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rebound/rtb"
)

// limitFiles makes the kernel refuse what would make a file of this process
// longer, as a full disk does, until lift is called.
func limitFiles(t *testing.T, bytes uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // the write fails instead
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Skip(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: was.Max}); err != nil {
		t.Skip(err)
	}
	lift = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// The log's file cannot grow: servers are told, bids stop as blind, and what
// browsers tell is kept. When it can grow again, bids go on by themselves.
func TestBlindUntilTheLogIsMended(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
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
	for largest(t, filepath.Join(data, "stream")) < 3<<20 {
		if status := send(); status != 200 || sent > 20_000 {
			t.Fatalf("got %d after %d events", status, sent)
		}
	}
	lift := limitFiles(t, 2<<20)
	eventually(t, "events refused", func() bool { return send() == 503 })
	eventually(t, "blind for the log", func() bool { return r.refused("blind") })
	if status, body := r.do("GET", "http://"+r.at.Admin+"/readyz", ""); status != http.StatusServiceUnavailable || body != "blind: log is not writable\n" {
		t.Errorf("/readyz: got %d %q; want 503 and why", status, body)
	}
	if status, _ := r.do("GET", "http://"+r.at.Edge+"/v1/px?a=shop&e=purchase&o=A-1", ""); status != http.StatusOK {
		t.Errorf("pixel: got %d", status)
	}
	if n := r.app.journal.Stats().Spooled; n == 0 {
		t.Error("the browser's purchase is not in the spool")
	}
	lift()
	began := time.Now()
	for !strings.Contains(r.log.String(), "no longer blind") && time.Since(began) < time.Minute {
		time.Sleep(20 * time.Millisecond) // the log must fail for some seconds before it is mended
	}
	if st := r.app.journal.Stats(); st.Restarts == 0 || !st.FailingSince.IsZero() {
		t.Fatalf("not mended: %+v\n%s", st, r.log)
	}
	if _, page := r.do("GET", "http://"+r.at.Admin+"/readyz", ""); page != "ready\n" {
		t.Errorf("/readyz: got %q; want ready", page)
	}
	eventually(t, "bids are judged again", func() bool { return r.app.money.Paused("demo", "", "") == rtb.NoBidNone })
	eventually(t, "the spool is appended", func() bool { return r.app.journal.Stats().Spooled == 0 })
	if status := send(); status != 200 {
		t.Errorf("events after it: got %d; want them taken", status)
	}
	eventually(t, "the views go on", func() bool {
		last := r.app.journal.Last().Seq
		return r.app.visitors.Position().Seq >= last && r.app.money.Position().Seq >= last
	})
}

// largest is the size of the largest file below a folder.
func largest(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && e.Type().IsRegular() {
			size = max(size, info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
