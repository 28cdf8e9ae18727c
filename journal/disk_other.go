//go:build !linux

package journal

import (
	"errors"
	"os"
	"syscall"
)

func reserve(*os.File, int64, int64) error { return errUnsupported }

func syncData(f *os.File) error { return f.Sync() }

func diskSpace(string) (free, all uint64) { return 0, 0 }

// isFull reports whether an error means that there is no space left.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
