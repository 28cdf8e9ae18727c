//go:build !linux

package bidder_test

import "time"

// threadCPU returns 0: the processor time of a thread is measured on Linux only.
func threadCPU() time.Duration { return 0 }
