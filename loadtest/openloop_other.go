//go:build !linux

package loadtest

import (
	"context"
	"fmt"
)

// poll is not available here: it uses Linux system calls.
func (a *Attack) poll(context.Context) (*Report, error) {
	return nil, fmt.Errorf("cannot attack: the sender %s is available on Linux only; use %s", Poll, Vegeta)
}
