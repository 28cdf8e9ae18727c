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

	"go.uber.org/zap"
)

// A bid reads profiles, lines and bids in flight that are spread over hundreds of
// megabytes of pages of 4 KiB, so address translation often misses the TLB. A huge page
// covers 2 MiB with one TLB entry. Go leaves the choice to the system, and many systems
// give huge pages only to programs that ask for them.

const (
	hugePage = 2 << 20
	// hugePagesEvery is the time between two passes over the memory. In a steady state they
	// find nothing to do.
	hugePagesEvery = time.Minute
	// firstPassTime bounds how long the first pass delays the first request.
	firstPassTime = 3 * time.Second
	// hugePageRest is the time between two moves. A move takes a few tenths of a
	// millisecond, in which requests may wait.
	hugePageRest = 5 * time.Millisecond
	// maxAbsent is how many of the small pages of a huge one may be without memory. It keeps
	// the process small: what Go has returned to the system is not taken again.
	maxAbsent = 16
	// adviceCollapse is MADV_COLLAPSE: move a range to huge pages now (madvise(2), Linux 6.1).
	adviceCollapse = 25
)

// hugePages moves the memory of the process to huge pages, unless the system has none of
// 2 MiB or its administrator forbids them.
type hugePages struct {
	tried  map[uint64]bool // addresses that need not be tried again
	failed bool            // the memory of the process cannot be read, which was logged
	log    *zap.Logger
}

// useHugePages moves the memory that the process has so far, before the first request, and
// then follows.
func (a *app) useHugePages(ctx context.Context) error {
	h := &hugePages{tried: map[uint64]bool{}, log: a.log}
	first, cancel := context.WithTimeout(ctx, firstPassTime)
	defer cancel()
	if n := h.try(first, 0); n > 0 {
		a.log.Info("memory moved to huge pages", zap.Int("mib", n*hugePage>>20))
	}
	a.moving = spawn(h.follow)
	return ctx.Err()
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
			h.try(ctx, hugePageRest)
		}
	}
}

// try makes a pass if the system permits it.
func (h *hugePages) try(ctx context.Context, rest time.Duration) (moved int) {
	if !hugePagesAllowed() {
		return 0
	}
	moved, err := h.pass(ctx, rest)
	if err != nil && !h.failed {
		h.failed = true
		h.log.Warn("memory stays on small pages, and bids take more processor time", zap.Error(err))
	}
	return moved
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
// many huge pages it has got. It ends early with ctx.
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
		for at := (from + hugePage - 1) / hugePage * hugePage; at+hugePage <= to && ctx.Err() == nil; at += hugePage {
			if !populated(pages, at) {
				delete(h.tried, at) // if it is used again, it will be small pages
				continue
			}
			if h.tried[at] {
				continue
			}
			if h.move(at) {
				moved++
			}
			select {
			case <-ctx.Done():
			case <-time.After(rest):
			}
		}
	}
	return moved, nil
}

// move moves the memory at an address to a huge page. It returns false if the system does
// not: never for memory of this kind or before Linux 6.1, otherwise for want of free pages.
func (h *hugePages) move(at uint64) bool {
	_, _, errno := syscall.Syscall(syscall.SYS_MADVISE, uintptr(at), hugePage, adviceCollapse)
	h.tried[at] = errno == 0 || errno == syscall.EINVAL
	return errno == 0
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
