package server

import "bytes"

// Verdicts of scan.
const (
	plain      = iota // a complete request that a loop serves
	incomplete        // the beginning of one
	unusual           // anything else: the HTTP library serves the connection from here on
)

// framing is the extent of a plain request in bytes: of its head, with the empty line, and
// of its body. Both are 0 as long as the head is incomplete.
type framing struct {
	head, body int
	closes     bool // the client asks for the connection to be closed
	forwarded  bool // the head has an X-Forwarded header, which the listener may change
	from, to   int  // the digits of Content-Length in the head
	overdue    bool // the request has waited for too long
}

func (f framing) size() int { return f.head + f.body }

const plainMethod = "POST "

var (
	expect          = []byte("expect")
	trailer         = []byte("trailer")
	upgrade         = []byte("upgrade")
	contentEncoding = []byte("content-encoding")
	host            = []byte("host")
	closeToken      = []byte("close")
	keepAlive       = []byte("keep-alive")
	forwardedStart  = []byte("x-forwarded-")
)

// scan reads the framing of the request at the beginning of b, which is not empty. Plain is
// a POST by HTTP/1.1 with an ordinary target, one Host and one Content-Length, whose
// length and limits nobody can dispute: no Transfer-Encoding, Expect, Upgrade, Trailer or
// Content-Encoding, no folded lines, no bare line feeds. header and body are the limits.
func scan(b []byte, header, body int) (rq framing, verdict int) {
	if len(b) < len(plainMethod) {
		if string(b) == plainMethod[:len(b)] {
			return rq, incomplete
		}
		return rq, unusual
	}
	line, rest, ok := cutLine(b)
	switch {
	case string(b[:len(plainMethod)]) != plainMethod:
		return rq, unusual
	case !ok:
		return rq, short(b, header)
	case !plainTarget(line):
		return rq, unusual
	}
	s := fields{body: -1}
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return rq, short(b, header)
		}
		if len(line) == 0 {
			break
		}
		if !s.read(line) {
			return rq, unusual
		}
	}
	from := cap(b) - cap(s.digits)
	rq = framing{head: len(b) - len(rest), body: s.body, closes: s.closes, forwarded: s.forwarded, from: from, to: from + len(s.digits)}
	switch {
	case rq.head > header || s.body < 0 || s.body > body || s.hosts != 1:
		return framing{}, unusual
	case len(rest) < s.body:
		return rq, incomplete
	}
	return rq, plain
}

// short returns the verdict on a head that does not end in b.
func short(b []byte, header int) int {
	if len(b) >= header {
		return unusual
	}
	return incomplete
}

// cutLine returns the line at the beginning of b, and what follows it. A line that does not
// end in CR LF is returned with its last byte, which no caller accepts in a line; ok is
// false if there is no end.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	switch {
	case i < 0:
		return nil, nil, false
	case i == 0 || b[i-1] != '\r':
		return b[:i+1], b[i+1:], true
	}
	return b[:i-1], b[i+1:], true
}

// plainTarget reports whether a request line names a path in visible ASCII, without a
// fragment or another scheme, and HTTP/1.1.
func plainTarget(line []byte) bool {
	target, ok := bytes.CutSuffix(line[len(plainMethod):], []byte(" HTTP/1.1"))
	if !ok || len(target) == 0 || target[0] != '/' {
		return false
	}
	for i, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' || c == ':' && bytes.HasPrefix(target[i:], []byte("://")) {
			return false
		}
	}
	return true
}

// fields collects what the header lines say about the framing.
type fields struct {
	body      int // -1: unknown
	digits    []byte
	hosts     int
	closes    bool
	forwarded bool
}

// read reads a header line. It returns false if the request is not plain.
func (s *fields) read(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || line[len(line)-1] == '\n' {
		return false
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	for _, c := range name {
		if !tokenByte[c] {
			return false
		}
	}
	if len(name) > len(forwardedStart) && bytes.EqualFold(name[:len(forwardedStart)], forwardedStart) {
		s.forwarded = true
	}
	switch len(name) {
	case len(host):
		if bytes.EqualFold(name, host) {
			s.hosts++
			return plainHost(value)
		}
	case len(expect):
		return !bytes.EqualFold(name, expect)
	case len(upgrade):
		return !bytes.EqualFold(name, upgrade) && !bytes.EqualFold(name, trailer)
	case len(connection):
		if bytes.EqualFold(name, connection) {
			closes := bytes.EqualFold(value, closeToken)
			s.closes = s.closes || closes
			return closes || bytes.EqualFold(value, keepAlive)
		}
	case len(contentLength):
		if bytes.EqualFold(name, contentLength) {
			known := s.body >= 0
			s.body, s.digits = decimal(value), value
			return !known && s.body >= 0
		}
	case len(contentEncoding):
		return !bytes.EqualFold(name, contentEncoding)
	case len(transferEncoding):
		return !bytes.EqualFold(name, transferEncoding)
	}
	return true
}

// plainHost reports whether a Host is a name or an IPv4 address, with or without a port.
func plainHost(v []byte) bool {
	name, port, _ := bytes.Cut(v, []byte{':'})
	for _, c := range name {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '.' && c != '-' {
				return false
			}
		}
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(name) > 0
}

// decimal returns a number of at most nine digits, or -1.
func decimal(v []byte) int {
	if len(v) == 0 || len(v) > 9 {
		return -1
	}
	n := 0
	for _, c := range v {
		if c < '0' || c > '9' {
			return -1
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// tokenByte marks the bytes of a header name (RFC 9110 §5.6.2).
var tokenByte = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()
