//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreBrokenPipes keeps the process alive when the reader of its logs has
// exited: by default a write to a broken standard error ends a Go program.
func ignoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }
