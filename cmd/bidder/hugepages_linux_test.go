package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
)

// TestHugePages moves 8 MiB that are in use to huge pages, and leaves alone 8 MiB that are
// not. The memory is not Go's, so that nothing else uses it.
func TestHugePages(t *testing.T) {
	if !hugePagesAllowed() {
		t.Skip("this system has no huge pages")
	}
	const pages = 4
	memory, err := syscall.Mmap(-1, 0, (2*pages+2)*hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(memory)
	if err := syscall.Madvise(memory, syscall.MADV_NOHUGEPAGE); err != nil { // not at first use
		t.Fatal(err)
	}
	for i := 0; i < (pages+1)*hugePage; i += 4096 {
		memory[i] = 1
	}
	if err := syscall.Madvise(memory, syscall.MADV_HUGEPAGE); err != nil {
		t.Fatal(err)
	}
	h := &hugePages{tried: map[uint64]bool{}, log: zap.NewNop()}
	first, err := strconv.ParseUint(address(memory), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	moved := h.try(t.Context(), 0)
	for i := range uint64(pages) {
		if at := (first + hugePage - 1) / hugePage * hugePage; moved == 0 || !h.tried[at+i*hugePage] {
			t.Skip("this kernel cannot move memory to huge pages (before Linux 6.1), or has too few free")
		}
	}
	if got := hugeBytes(t, memory); got < pages*hugePage || got > (pages+1)*hugePage {
		t.Errorf("got %d MiB in huge pages; want %d or one page more", got>>20, pages*hugePage>>20)
	}
}

// address returns the address of memory as /proc/self/smaps writes it.
func address(memory []byte) string { return fmt.Sprintf("%p", &memory[0])[2:] }

// hugeBytes returns how much of memory is in huge pages.
func hugeBytes(t *testing.T, memory []byte) (n int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first := address(memory)
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		v := strings.Fields(s.Text())
		if from, _, ok := strings.Cut(v[0], "-"); ok && len(v) > 4 {
			inside = from == first
		}
		if inside && v[0] == "AnonHugePages:" {
			kib, err := strconv.Atoi(v[1])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no memory at %s", first)
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
