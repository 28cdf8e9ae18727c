package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A bid reads profiles, lines and bids in flight that are spread over hundreds of
// megabytes, so the processor often has to look up where a page of 4 KiB is. A huge page
// covers 2 MiB with one such entry. Go leaves the choice to the system, and many systems
// give huge pages only to programs that ask for them.

const (
	hugePage = 2 << 20
	// hugePagesEvery is the time between two passes over the memory. In steady state they
	// find nothing to do.
	hugePagesEvery = time.Minute
	// hugePageRest is the time between two moves. A move takes a few tenths of a
	// millisecond, in which requests may wait.
	hugePageRest = 5 * time.Millisecond
	// maxAbsent is how many of the small pages of a huge one may be without memory. It keeps
	// the memory small that the process takes: what Go has returned to the system is left
	// alone.
	maxAbsent = 16
	// adviceCollapse is MADV_COLLAPSE: move a range to huge pages now (madvise(2), Linux 6.1).
	adviceCollapse = 25
)

// hugePages moves the memory of the process to huge pages. Systems without huge pages of
// 2 MiB, or whose administrator forbids them, are left alone.
type hugePages struct {
	tried map[uint64]bool // by address: each huge page is asked for once
}

// useHugePages moves the memory that the process has so far, before the first request.
func (a *app) useHugePages(ctx context.Context) error {
	h := &hugePages{tried: map[uint64]bool{}}
	if !hugePagesAllowed() {
		return nil
	}
	if _, err := h.pass(ctx, 0); err != nil {
		a.log.Warn("memory stays on small pages, and bids take more processor time: " + err.Error())
		return ctx.Err()
	}
	a.moving = spawn(h.follow)
	return nil
}

// follow moves what the process takes later, until ctx ends.
func (h *hugePages) follow(ctx context.Context) error {
	next := time.NewTicker(hugePagesEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next.C:
		}
		if _, err := h.pass(ctx, hugePageRest); err != nil {
			return err
		}
	}
}

// hugePagesAllowed reports whether the system has huge pages of 2 MiB and permits them.
func hugePagesAllowed() bool {
	const settings = "/sys/kernel/mm/transparent_hugepage/"
	enabled, err := os.ReadFile(settings + "enabled")
	if err != nil || strings.Contains(string(enabled), "[never]") {
		return false
	}
	size, err := os.ReadFile(settings + "hpage_pmd_size")
	return err == nil && strings.TrimSpace(string(size)) == strconv.Itoa(hugePage)
}

// pass passes over the memory of the process once, rests after each move, and returns how
// many huge pages it has got.
func (h *hugePages) pass(ctx context.Context, rest time.Duration) (moved int, err error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, fmt.Errorf("cannot list the memory of the process: %w", err)
	}
	pages, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return 0, fmt.Errorf("cannot see which pages have memory: %w", err)
	}
	defer pages.Close()
	for line := range strings.Lines(string(maps)) {
		from, to := ownMemory(line)
		for at := (from + hugePage - 1) / hugePage * hugePage; at+hugePage <= to; at += hugePage {
			if h.tried[at] || !populated(pages, at) {
				continue
			}
			h.tried[at] = true
			if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, uintptr(at), hugePage, adviceCollapse); errno == 0 {
				moved++
			}
			select {
			case <-ctx.Done():
				return moved, ctx.Err()
			case <-time.After(rest):
			}
		}
	}
	return moved, nil
}

// ownMemory returns the addresses of a line of /proc/self/maps (proc_pid_maps(5)) if it is
// memory that belongs to no file and can be written; otherwise an empty range.
func ownMemory(line string) (from, to uint64) {
	f := strings.Fields(line)
	if len(f) < 5 || f[1] != "rw-p" || f[4] != "0" || len(f) > 5 && !strings.HasPrefix(f[5], "[anon") {
		return 0, 0
	}
	first, end, _ := strings.Cut(f[0], "-")
	from, err := strconv.ParseUint(first, 16, 64)
	if err != nil {
		return 0, 0
	}
	if to, err = strconv.ParseUint(end, 16, 64); err != nil {
		return 0, 0
	}
	return from, to
}

// populated reports whether nearly all of a huge page's memory is in use, by the bits of
// present pages in /proc/self/pagemap.
func populated(pagemap io.ReaderAt, at uint64) bool {
	const entry, present = 8, 1 << 63
	small := uint64(os.Getpagesize())
	var entries [hugePage / 4096 * entry]byte
	list := entries[:hugePage/small*entry]
	if _, err := pagemap.ReadAt(list, int64(at/small*entry)); err != nil {
		return false
	}
	absent := 0
	for ; len(list) > 0; list = list[entry:] {
		if binary.NativeEndian.Uint64(list)&present == 0 {
			absent++
		}
	}
	return absent <= maxAbsent
}
