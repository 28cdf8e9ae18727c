package server

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

var contentLength = []byte("content-length")

// ambiguousLength tells whether a request gives its length twice: by chunks and
// by Content-Length (RFC 9112 §6.1). The HTTP library prefers the chunks and
// forgets the number, so the raw header lines are read; only chunked requests
// pay for it. Doubled Content-Length or Transfer-Encoding lines are refused by
// the library itself.
func ambiguousLength(h *fasthttp.RequestHeader) bool {
	if h.ContentLength() != -1 {
		return false
	}
	for line := range bytes.Lines(h.RawHeaders()) {
		name, _, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(bytes.TrimSpace(name), contentLength) {
			return true
		}
	}
	return false
}
