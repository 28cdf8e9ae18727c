package server

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

var (
	foldBlank        = []byte("\n ")
	foldTab          = []byte("\n\t")
	contentLength    = []byte("content-length")
	transferEncoding = []byte("transfer-encoding")
)

// folded tells whether a header goes on in a line that begins with a blank
// (obs-fold, RFC 9112 §5.2). Who joins such lines and who does not read different
// headers, so the request is refused.
func folded(h *fasthttp.RequestHeader) bool {
	raw := h.RawHeaders()
	if len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') {
		return true
	}
	return bytes.Contains(raw, foldBlank) || bytes.Contains(raw, foldTab)
}

// codedTwice tells whether Content-Encoding comes more than once: the body would
// be coded twice over, or one of the lines is somebody else's.
func codedTwice(h *fasthttp.RequestHeader) bool {
	return len(h.PeekAll(fasthttp.HeaderContentEncoding)) > 1
}

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
