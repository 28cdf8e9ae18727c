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

// probePorts fails, before anything is opened, if a port is already in use.
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

// bind opens the address of a listener. name is the flag that changes the
// address.
func bind(name, addr string) (net.Listener, error) {
	ln, err := server.Bind(name, addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; stop the other process, or choose another address with --%s", err, name)
	}
	return ln, err
}

// publicURL returns the base of notice links. If the configured URL is this
// machine at the edge's port, it gets the port on which the edge really
// listens: a flag may have changed it, and port 0 means any free port.
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
