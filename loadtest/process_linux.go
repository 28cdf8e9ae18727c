package loadtest

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// clockTick is the unit of CPU time in the process table (USER_HZ), the same on every
// architecture that Go supports.
const clockTick = 10 * time.Millisecond

// ReadUsage reads what a process has used from the process table (proc(5)).
func ReadUsage(pid int) (Usage, error) {
	name := "/proc/" + strconv.Itoa(pid) + "/stat"
	text, err := os.ReadFile(name)
	if err != nil {
		return Usage{}, fmt.Errorf("cannot read the process table: %w", err)
	}
	// The name in the second field may contain blanks and brackets.
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(f) < 22 {
		return Usage{}, fmt.Errorf("cannot read the process table: got %q in %s", text, name)
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(string(f[i]), 10, 64)
		return n
	}
	return Usage{User: time.Duration(number(11)) * clockTick, System: time.Duration(number(12)) * clockTick,
		Resident: number(21) * int64(os.Getpagesize())}, nil
}

// cpuSet is the mask of sched_setaffinity(2), for up to 1,024 cores.
type cpuSet [16]uint64

// pinThread confines the calling thread, and the processes that it starts, to one core.
// It returns a function that undoes that. The goroutine must be locked to its thread.
func pinThread(cpu int) (restore func(), err error) {
	var before, set cpuSet
	if err := affinity(syscall.SYS_SCHED_GETAFFINITY, &before); err != nil {
		return nil, fmt.Errorf("cannot read the cores of the thread: %w", err)
	}
	if cpu < 0 || cpu >= 64*len(set) {
		return nil, fmt.Errorf("cannot use core %d: want 0 to %d", cpu, runtime.NumCPU()-1)
	}
	set[cpu/64] = 1 << (cpu % 64)
	if err := affinity(syscall.SYS_SCHED_SETAFFINITY, &set); err != nil {
		return nil, fmt.Errorf("cannot use core %d: %w", cpu, err)
	}
	return func() { _ = affinity(syscall.SYS_SCHED_SETAFFINITY, &before) }, nil
}

func affinity(call uintptr, set *cpuSet) error {
	_, _, errno := syscall.RawSyscall(call, 0, unsafe.Sizeof(*set), uintptr(unsafe.Pointer(set)))
	if errno != 0 {
		return errno
	}
	return nil
}
