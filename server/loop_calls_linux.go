package server

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of the loops return at once, because their descriptors do not block. They
// bypass the Go scheduler, which would otherwise prepare for a call that blocks.

// epollWait writes the events that are ready to events, which is not empty.
func epollWait(fd int, events []unix.EpollEvent) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// readSocket reads into b, which is not empty.
func readSocket(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// writeSocket writes b, which is not empty.
func writeSocket(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// drainCounter resets an eventfd or timerfd.
func drainCounter(fd int) {
	var b [8]byte
	_, _ = readSocket(fd, b[:])
}
