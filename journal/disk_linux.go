package journal

import (
	"errors"
	"os"
	"syscall"
)

// keepSize is FALLOC_FL_KEEP_SIZE: reserved space is beyond the end of the file
// and never reads as zero bytes inside it.
const keepSize = 1

func reserve(f *os.File, from, n int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), keepSize, from, n)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return errUnsupported
		}
		return err
	}
}

// syncData syncs everything that is needed to read the file back, including its size.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func diskSpace(dir string) (free, all uint64) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0
	}
	return max(st.Bavail*uint64(st.Bsize), 1), st.Blocks * uint64(st.Bsize)
}

// isFull reports whether an error means that there is no space left, or that a limit on
// file sizes was reached: both may be temporary.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
