package server

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

var (
	contentLength    = []byte("content-length")
	transferEncoding = []byte("transfer-encoding")
)

// ambiguousLength tells whether a request gives its length twice: by chunks and
// by Content-Length (RFC 9112 §6.1). The HTTP library prefers the chunks, forgets
// the number, and says 0 when the chunks were empty, so the raw header lines are
// read; a request with an ordinary body does not pay for it. Doubled
// Content-Length or Transfer-Encoding lines are refused by the library itself.
func ambiguousLength(h *fasthttp.RequestHeader) bool {
	if h.ContentLength() > 0 {
		return false
	}
	length, coding := false, false
	for line := range bytes.Lines(h.RawHeaders()) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		name = bytes.TrimSpace(name)
		length = length || bytes.EqualFold(name, contentLength)
		coding = coding || bytes.EqualFold(name, transferEncoding)
	}
	return length && coding
}
