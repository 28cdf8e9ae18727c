package main

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestHugePages moves 64 MiB that are in use to huge pages, and leaves alone 64 MiB that
// are not.
func TestHugePages(t *testing.T) {
	if !hugePagesAllowed() {
		t.Skip("this system has no huge pages")
	}
	const size = 64 << 20
	used, unused := make([]byte, size), make([]byte, size)
	for i := 0; i < size; i += 4096 {
		used[i] = 1
	}
	before := hugeBytes(t)
	h := &hugePages{tried: map[uint64]bool{}}
	moved, err := h.pass(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if moved == 0 {
		t.Skip("this kernel cannot move memory to huge pages (before Linux 6.1), or has none free")
	}
	grown := hugeBytes(t) - before
	t.Logf("%d huge pages; %d MiB more than before", moved, grown>>20)
	if grown < size/2 || grown > size+size/2 { // the rest of the heap moves, too
		t.Errorf("got %d MiB more in huge pages; want about %d", grown>>20, size>>20)
	}
	runtime.KeepAlive(used)
	runtime.KeepAlive(unused)
}

// hugeBytes returns how much of the process's memory is in huge pages.
func hugeBytes(t *testing.T) (n int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v := strings.Fields(s.Text()); len(v) > 1 && v[0] == "AnonHugePages:" {
			kib, err := strconv.Atoi(v[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("the system does not report huge pages")
	return 0
}

func TestOwnMemory(t *testing.T) {
	for line, want := range map[string][2]uint64{
		"2af20bc00000-2af216000000 rw-p 00000000 00:00 0 \n":                            {0x2af20bc00000, 0x2af216000000},
		"7f4954200000-7f4954300000 rw-p 00000000 00:00 0    [anon: Go: heap]\n":         {0x7f4954200000, 0x7f4954300000},
		"7f495434e000-7f495464e000 rw-s 00001000 fe:00 9978773 /data/reservations\n":    {},
		"0259f000-026c8000 rw-p 0219f000 fe:00 10166458 /usr/local/bin/bidder\n":        {},
		"2af216000000-2af218000000 ---p 00000000 00:00 0 \n":                            {},
		"7ffc1c000000-7ffc1c800000 rw-p 00000000 00:00 0                     [stack]\n": {},
		"":               {},
		"x-y rw-p 0 0 0": {},
	} {
		if from, to := ownMemory(line); from != want[0] || to != want[1] {
			t.Errorf("%q: got %x to %x; want %x", line, from, to, want)
		}
	}
}
