package server

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// certCheck is how often the files of a certificate are looked at, while there are
// handshakes.
const certCheck = time.Second

// Certificate is a certificate and its key in two files. It follows them: a handshake
// that finds them changed uses the new ones, and the last good ones if the new ones
// cannot be read. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	now               func() time.Time
	log               *zap.Logger

	mu      sync.Mutex // guards the following fields
	pair    *tls.Certificate
	seen    [2]fileStamp
	checked time.Time
}

// fileStamp shows that a file has changed.
type fileStamp struct {
	size int64
	mod  time.Time
}

// LoadCertificate reads a certificate chain and its key, both in PEM.
func LoadCertificate(certFile, keyFile string, now func() time.Time, log *zap.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, now: now, log: log}
	c.seen = c.stamps()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("cannot load certificate %s with key %s: %w", certFile, keyFile, err)
	}
	c.pair, c.checked = &pair, now()
	return c, nil
}

// Config returns the configuration of a TLS listener: version 1.2 at least, HTTP/1.1.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil },
	}
}

func (c *Certificate) stamps() (s [2]fileStamp) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			s[i] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	return s
}

// current returns the certificate, read again if its files have changed. Files that do
// not fit yet, because only one of them was replaced, are tried again when they change.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if d := now.Sub(c.checked); d >= 0 && d < certCheck {
		return c.pair
	}
	c.checked = now
	seen := c.stamps()
	if seen == c.seen {
		return c.pair
	}
	c.seen = seen
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Error("cannot read the changed certificate; the last good one stays in use", zap.String("cert", c.certFile), zap.String("key", c.keyFile), zap.Error(err))
		return c.pair
	}
	c.pair = &pair
	c.log.Info("certificate reloaded", zap.String("cert", c.certFile))
	return c.pair
}
