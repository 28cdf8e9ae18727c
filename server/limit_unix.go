//go:build unix

package server

import "syscall"

// descriptorLimit returns how many file descriptors the process may open, or 0.
func descriptorLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || l.Cur > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
