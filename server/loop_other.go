//go:build !linux

package server

import "net"

// loops are the event loops of a listener, which exist on Linux only.
type loops struct{}

func startLoops(*Listener) (*loops, error) { return nil, nil }

func (*loops) take(net.Conn) bool { return false }

func (*loops) count() int64 { return 0 }

func (*loops) drain() {}

func (*loops) end() <-chan struct{} {
	ended := make(chan struct{})
	close(ended)
	return ended
}
