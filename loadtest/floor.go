package loadtest

import (
	"bytes"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// Floor is a bare HTTP server that answers bid requests without reading them: what it
// costs is the least that a bidder built on the same library can cost, and the control
// that the figures of a bidder are divided by.
type Floor struct {
	// BidPct is the percentage of requests that are answered with 200 and BidBytes
	// bytes; the others get 204. A path /floor/N overrides both: N bytes, or 204 for 0.
	BidPct   float64
	BidBytes int

	requests atomic.Uint64
	server   fasthttp.Server
	filler   []byte
}

// floorPath is the path whose last segment is the size of the response's body.
const floorPath = "/floor/"

// FloorPath returns a path of the given length for a response of n bytes, so that the
// floor receives as many bytes as the bidder.
func FloorPath(length, n int) string {
	return fmt.Sprintf("%s%0*d", floorPath, max(length-len(floorPath), 1), n)
}

// Serve answers the connections of a listener until Shutdown.
func (f *Floor) Serve(ln net.Listener) error {
	f.filler = floorBody(maxResponse)
	f.server = fasthttp.Server{Handler: f.handle, NoDefaultServerHeader: true}
	return f.server.Serve(ln)
}

// Shutdown closes the listener and the connections.
func (f *Floor) Shutdown() error { return f.server.Shutdown() }

// floorBody returns a bid response and blanks up to n bytes, any prefix of which that
// contains the response is a response too.
func floorBody(n int) []byte {
	const response = `{"id":"1","seatbid":[{"bid":[{"id":"1","impid":"1","price":1}]}]}`
	return append([]byte(response), bytes.Repeat([]byte(" "), max(n-len(response), 0))...)
}

func (f *Floor) handle(ctx *fasthttp.RequestCtx) {
	size, fixed := floorSize(ctx.Path())
	if !fixed {
		n := f.requests.Add(1)
		if uint64(float64(n)*f.BidPct/100) > uint64(float64(n-1)*f.BidPct/100) {
			size = f.BidBytes
		}
	}
	ctx.Response.Header.Set("X-Openrtb-Version", "2.6") // as a bidder has to
	if size == 0 {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(f.filler[:min(size, len(f.filler))])
}

// floorSize returns the size that a path asks for.
func floorSize(path []byte) (n int, ok bool) {
	digits, ok := bytes.CutPrefix(path, []byte(floorPath))
	if !ok || len(digits) == 0 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' || n > maxResponse {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
