package loadtest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// ClosedLoop sends requests over a fixed number of connections, each of which sends its
// next request when the response to the one before has arrived. It finds out what a
// server can do and what a request costs it; latency under a given rate needs an
// [Attack], whose schedule does not wait for the server.
//
// The sender polls its connections without sleeping, so that the server's writes never
// have to wake an idle core: otherwise a slow server would pay for that, and a fast one
// would not.
type ClosedLoop struct {
	Target   string        // http URL of an address, not a name
	Bodies   [][]byte      // sent in rotation, each with ids of its own where it was generated
	Conns    int           // number of connections; zero means 32
	Duration time.Duration // how long requests are sent
	// Paths, if not nil, holds the request path of each body, instead of the target's.
	Paths []string
	// CPU is the core on which the sender runs; negative: any.
	CPU int
	// Check, if not nil, is called with every CheckEvery-th pair of request and response
	// and returns what is wrong with the response. It must not keep the slices.
	Check      func(request []byte, status int, response []byte) error
	CheckEvery int
	// Observe, if not nil, is called for every response. It must not keep the slice.
	Observe func(body int, status int, response []byte)
	// First is the index of the first body, so that rounds go on where others ended.
	First int
	// Now is the clock.
	Now func() time.Time
}

// ClosedLoopResult is what a closed loop saw.
type ClosedLoopResult struct {
	Requests  int           // answered
	Bids      int           // with status 200
	Statuses  map[int]int   // responses by status
	Elapsed   time.Duration // from the first request to the last response
	BytesSent int64         // header and body
	BytesRead int64
	Checked   int      // responses that were checked
	Invalid   []string // what was wrong with them, at most 10
	Broken    int      // connections that the server closed or answered with something else than HTTP
	BrokenBy  string   // the last of these faults
	Next      int      // index of the body after the last one
}

// Limits of a closed loop.
const (
	maxConns       = 20_000
	hangTime       = 5 * time.Second // without any response, after which the loop gives up
	maxReconnects  = 100
	maxResponse    = 1 << 20
	maxInvalidKept = 10
)

// validate returns an error if the loop cannot run.
func (l *ClosedLoop) validate() (netip.AddrPort, error) {
	u, err := url.Parse(l.Target)
	if err != nil || u.Scheme != "http" {
		return netip.AddrPort{}, fmt.Errorf("cannot send requests: got the target %q; want an http URL", Redact(l.Target))
	}
	at, err := netip.ParseAddrPort(u.Host)
	switch {
	case err != nil:
		return at, fmt.Errorf("cannot send requests: got the host %q; want an address and a port", u.Host)
	case l.Now == nil || len(l.Bodies) == 0:
		return at, errors.New("cannot send requests: want a clock and at least one body")
	case l.Conns < 0 || l.Conns > maxConns:
		return at, fmt.Errorf("cannot send requests: got %d connections; want 1 to %d", l.Conns, maxConns)
	case l.Paths != nil && len(l.Paths) != len(l.Bodies):
		return at, fmt.Errorf("cannot send requests: got %d paths for %d bodies", len(l.Paths), len(l.Bodies))
	}
	return at, nil
}

// rendered is a request as it is written to a connection.
type rendered struct {
	bytes []byte
	body  int   // offset of the body
	ids   []int // offsets of the digits that make the request and its impressions unique
}

// render returns the requests of the loop as bytes.
func (l *ClosedLoop) render() []rendered {
	u, _ := url.Parse(l.Target) // validate has parsed it
	out := make([]rendered, len(l.Bodies))
	for i, body := range l.Bodies {
		path := u.RequestURI()
		if l.Paths != nil {
			path = l.Paths[i]
		}
		out[i] = render(u.Host, path, "", body)
	}
	return out
}

// render returns a request as bytes. secret is sent in a header; empty: none.
func render(host, path, secret string, body []byte) rendered {
	b := make([]byte, 0, len(body)+200)
	b = fmt.Appendf(b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Openrtb-Version: 2.6\r\n", path, host)
	if secret != "" {
		b = fmt.Appendf(b, "%s: %s\r\n", SecretHeader, secret)
	}
	b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n", len(body))
	r := rendered{body: len(b), bytes: append(b, body...)}
	if bytes.HasPrefix(body, []byte(requestIDPrefix)) && len(body) > len(requestIDPrefix)+requestIDDigits {
		r.findIDs()
	}
	return r
}

// findIDs finds the digits of a generated request.
func (r *rendered) findIDs() {
	r.ids = append(r.ids, r.body+len(requestIDPrefix))
	for at := r.body; ; {
		i := bytes.Index(r.bytes[at:], []byte(placementPrefix))
		if at += i + len(placementPrefix); i < 0 || at+requestIDDigits > len(r.bytes) {
			return
		}
		r.ids = append(r.ids, at)
	}
}

// stamp makes the ids of a request and its impressions unique.
func (r *rendered) stamp(n uint64) {
	const hex = "0123456789abcdef"
	for _, at := range r.ids {
		for i, n := requestIDDigits-1, n; i >= 0; i-- {
			r.bytes[at+i] = hex[n&15]
			n >>= 4
		}
	}
}

// errNotHTTP is returned for bytes that are not a response as bidders send them.
var errNotHTTP = errors.New("not an HTTP/1.1 response with Content-Length")

// parseResponse reads a response at the beginning of b. It returns its size in bytes,
// or 0 if it is not complete yet, and the offset of its body.
func parseResponse(b []byte) (size, body, status int, err error) {
	if len(b) < 12 {
		return 0, 0, 0, nil
	}
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) {
		return 0, 0, 0, errNotHTTP
	}
	status, err = strconv.Atoi(string(b[9:12]))
	if err != nil || status < 200 || status > 599 {
		return 0, 0, 0, errNotHTTP
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > 16<<10 {
			return 0, 0, 0, errNotHTTP
		}
		return 0, 0, 0, nil
	}
	length, found := contentLength(b[:end+2])
	if !found && status != 204 && status != 304 {
		return 0, 0, 0, errNotHTTP
	}
	if length < 0 || length > maxResponse {
		return 0, 0, 0, errNotHTTP
	}
	body = end + 4
	if size = body + length; size > len(b) {
		return 0, body, status, nil
	}
	return size, body, status, nil
}

var lengthHeader = []byte("\r\ncontent-length:")

// contentLength finds the header Content-Length in a response's head, whose lines end
// with CRLF.
func contentLength(head []byte) (n int, found bool) {
	for i := 0; i+len(lengthHeader) < len(head); i++ {
		if head[i] != '\r' || !bytes.EqualFold(head[i:i+len(lengthHeader)], lengthHeader) {
			continue
		}
		value := head[i+len(lengthHeader):]
		if end := bytes.IndexByte(value, '\r'); end >= 0 {
			value = value[:end]
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		return n, err == nil
	}
	return 0, false
}

// loopState counts what a running loop sees.
type loopState struct {
	*ClosedLoop
	requests []rendered
	res      ClosedLoopResult
	next     int
	unique   uint64
}

// nextRequest returns the next request to send.
func (s *loopState) nextRequest() int {
	i := s.next % len(s.requests)
	s.next++
	s.unique++
	s.requests[i].stamp(s.unique)
	s.res.BytesSent += int64(len(s.requests[i].bytes))
	return i
}

// record counts one response.
func (s *loopState) record(request, status int, response, body []byte) {
	s.res.Requests++
	s.res.BytesRead += int64(len(response))
	s.res.Statuses[status]++
	if status == 200 {
		s.res.Bids++
	}
	if s.Observe != nil {
		s.Observe(request, status, response)
	}
	if s.Check == nil || s.CheckEvery < 1 || s.res.Requests%s.CheckEvery != 0 {
		return
	}
	s.res.Checked++
	r := &s.requests[request]
	if err := s.Check(r.bytes[r.body:], status, body); err != nil && len(s.res.Invalid) < maxInvalidKept {
		s.res.Invalid = append(s.res.Invalid, err.Error())
	}
}

// broke counts a connection that ended without a response. It returns an error once
// there were too many.
func (s *loopState) broke(why error) error {
	s.res.Broken++
	s.res.BrokenBy = why.Error()
	if s.res.Broken > maxReconnects {
		return fmt.Errorf("cannot go on: %d connections broke, the last because of: %s", s.res.Broken, s.res.BrokenBy)
	}
	return nil
}
