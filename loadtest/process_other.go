//go:build !linux

package loadtest

import "errors"

// errNoUsage is returned where the process table is not readable.
var errNoUsage = errors.New("the CPU time of other processes is not available on this operating system; use Linux")

// ReadUsage is not available here.
func ReadUsage(int) (Usage, error) { return Usage{}, errNoUsage }

// pinThread does nothing here.
func pinThread(int) (restore func(), err error) { return func() {}, nil }
