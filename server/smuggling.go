package server

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

var (
	foldBlank        = []byte("\n ")
	foldTab          = []byte("\n\t")
	connection       = []byte("connection")
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

// lines holds the information in the raw header lines of a request that the
// HTTP library does not expose.
type lines struct {
	badName        bool // white space in a name or before its colon (RFC 9112 §5.1)
	length, coding bool // Content-Length and Transfer-Encoding are present (RFC 9112 §6.1)
	closes         bool // an option of Connection is close, in any case (RFC 9110 §7.6.1)
}

// readLines reads the raw header lines. The library prefers Transfer-Encoding over
// Content-Length, which it drops, and knows only the exact value "close" of the last
// Connection line. It refuses repeated Content-Length and Transfer-Encoding lines itself.
func readLines(h *fasthttp.RequestHeader) (l lines) {
	raw := h.RawHeaders()
	for len(raw) > 0 {
		line := raw
		if end := bytes.IndexByte(raw, '\n'); end >= 0 {
			line, raw = raw[:end], raw[end+1:]
		} else {
			raw = nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			continue
		}
		name := line[:colon]
		if bytes.IndexByte(name, ' ') >= 0 || bytes.IndexByte(name, '\t') >= 0 {
			l.badName = true
		}
		switch len(name) {
		case len(connection):
			l.closes = l.closes || bytes.EqualFold(name, connection) && listed(line[colon+1:], "close")
		case len(contentLength):
			l.length = l.length || bytes.EqualFold(name, contentLength)
		case len(transferEncoding):
			l.coding = l.coding || bytes.EqualFold(name, transferEncoding)
		}
	}
	return l
}

// listed reports whether a comma-separated list contains a token, in any case.
func listed(list []byte, token string) bool {
	for len(list) > 0 {
		var part []byte
		part, list, _ = bytes.Cut(list, []byte{','})
		if bytes.EqualFold(bytes.TrimSpace(part), []byte(token)) {
			return true
		}
	}
	return false
}
