//go:build !linux

package loadtest

import (
	"context"
	"errors"
)

// Run is not available here: the loop polls sockets through Linux system calls.
func (l *ClosedLoop) Run(context.Context) (*ClosedLoopResult, error) {
	return nil, errors.New("cannot send requests in a closed loop: it is available on Linux only; use attack")
}
