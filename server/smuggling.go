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

// folded reports whether a header continues on a line that begins with white space
// (obs-fold, RFC 9112 §5.2). Servers that join such lines and servers that do not see
// different headers, so the request is refused.
func folded(h *fasthttp.RequestHeader) bool {
	raw := h.RawHeaders()
	if len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') {
		return true
	}
	return bytes.Contains(raw, foldBlank) || bytes.Contains(raw, foldTab)
}

// codedTwice reports whether there is more than one Content-Encoding line: the body is
// encoded twice, or one of the lines was injected.
func codedTwice(h *fasthttp.RequestHeader) bool {
	return len(h.PeekAll(fasthttp.HeaderContentEncoding)) > 1
}

// ambiguousLength reports whether a request has both Transfer-Encoding and
// Content-Length (RFC 9112 §6.1). The HTTP library prefers the former, drops the latter,
// and reports length 0 for an empty chunked body, so this function reads the raw header
// lines, but only when the length is not positive. The library itself refuses repeated
// Content-Length and Transfer-Encoding lines.
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
