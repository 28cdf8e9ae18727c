//go:build unix

package journal

import "syscall"

// freeBytes is the disk space that an ordinary user may still fill.
func freeBytes(dir string) (uint64, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), true //nolint:unconvert // differs by system
}
