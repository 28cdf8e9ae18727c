package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"

	"rebound/config"
	"rebound/server"
)

// probePorts fails before anything is opened where a port is taken.
func (a *app) probePorts(context.Context) error {
	l := &a.bound.Listen
	for _, x := range []struct{ name, addr string }{{"bid", l.Bid}, {"edge", l.Edge}, {"admin", l.Admin}} {
		ln, err := bind(x.name, x.addr)
		if err != nil {
			return err
		}
		if err := ln.Close(); err != nil {
			return fmt.Errorf("cannot try address %s: %w", x.addr, err)
		}
	}
	return nil
}

// bind takes the address of a listener; its name is that of the flag that moves
// it.
func bind(name, addr string) (net.Listener, error) {
	ln, err := server.Bind(name, addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; stop the other process, or choose another address with --%s", err, name)
	}
	return ln, err
}

// publicURL is the base of notice links. Where the configured one is this
// machine at the port of the edge, the port is the one that the edge really has:
// a flag may have moved it, and port 0 takes any.
func publicURL(l config.Listen, configuredEdge string, edge net.Addr) string {
	u, err := url.Parse(l.PublicURL)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) {
		return l.PublicURL
	}
	_, was, err := net.SplitHostPort(configuredEdge)
	if err != nil || (u.Port() != was && u.Port() != "0") {
		return l.PublicURL
	}
	_, port, err := net.SplitHostPort(edge.String())
	if err != nil {
		return l.PublicURL
	}
	return "http://" + net.JoinHostPort(u.Hostname(), port)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
