// Package inventory normalizes the names of sites, apps and media types, so
// that they compare equal however a request, the configuration or a feed spells
// them. It holds no state. exchange, creatives, campaigns and config call it.
package inventory

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// lookup maps a host name the way browsers do (UTS #46), and accepts labels that
// only real host names in use have, such as those with an underscore.
var lookup = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// ASCIIHost returns a host name in lower case, in ASCII (punycode) and without
// dots and spaces around it. The name must come without scheme, port and path;
// percent-encoding is undone. A name that cannot be converted is returned in lower
// case, so it still equals itself.
func ASCIIHost(name string) string {
	if strings.Contains(name, "%") {
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
	}
	name = strings.Trim(name, around)
	if ascii, err := lookup.ToASCII(name); err == nil {
		name = strings.Trim(ascii, around)
	}
	return strings.ToLower(name)
}

// around holds the characters that are trimmed from a host name: white space,
// and dots of all scripts.
const around = " \t\r\n.\u3002\uff0e\uff61"

// UnicodeHost returns a host name in ASCII as people write it: xn--bcher-kva.example is
// bücher.example. A name that cannot be converted is returned as it is.
func UnicodeHost(name string) string {
	if !strings.Contains(name, "xn--") {
		return name
	}
	if text, err := lookup.ToUnicode(name); err == nil {
		return text
	}
	return name
}

// NeedsASCII reports whether a host name is anything but plain ASCII, so that
// [ASCIIHost] may change more than the case of its letters.
func NeedsASCII[T ~string | ~[]byte](name T) bool {
	for i := range len(name) {
		if name[i] >= 0x80 || name[i] == '%' {
			return true
		}
	}
	return false
}

// HostPart returns where the host name of a URL, of a URL without a scheme, or of
// a bare host name begins and ends. User, port, path and query do not belong to
// it.
func HostPart[T ~string | ~[]byte](text T) (start, end int) {
	for i := 0; i+2 < len(text); i++ {
		if text[i] == ':' && text[i+1] == '/' && text[i+2] == '/' {
			start = i + 3
			break
		}
		if text[i] == '/' || text[i] == '?' || text[i] == '#' {
			break
		}
	}
	if start == 0 && len(text) > 1 && text[0] == '/' && text[1] == '/' {
		start = 2
	}
	for end = start; end < len(text); end++ {
		switch text[end] {
		case '/', '?', '#', '\\':
			return start, portStart(text, start, end)
		case '@':
			start = end + 1
		}
	}
	return start, portStart(text, start, end)
}

// portStart returns where the port begins in text[start:end]; end without one.
func portStart[T ~string | ~[]byte](text T, start, end int) int {
	for i := start; i < end; i++ {
		if text[i] == ':' {
			return i
		}
	}
	return end
}

// Bundle returns the store id of an app: the package name or the number that
// identifies it in its store. Exchanges write it plainly, as id123456789, or as
// the address of the app's page in a store, perhaps percent-encoded. The result is
// empty for a page that names no app.
func Bundle(text []byte) []byte {
	for len(text) > 0 && quotes(text[0]) {
		text = text[1:]
	}
	for len(text) > 0 && quotes(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	if bytes.IndexByte(text, '%') >= 0 {
		if plain, err := url.PathUnescape(string(text)); err == nil {
			text = []byte(plain)
		}
	}
	if bytes.IndexByte(text, '/') < 0 && bytes.IndexByte(text, '?') < 0 {
		return appleNumber(text)
	}
	path, query, _ := bytes.Cut(text, []byte{'?'})
	query, _, _ = bytes.Cut(query, []byte{'#'})
	path, _, _ = bytes.Cut(path, []byte{'#'})
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		key, value, _ := bytes.Cut(pair, []byte{'='})
		if len(value) > 0 && isWord(key, "id", "p", "asin", "appid") {
			return appleNumber(value)
		}
	}
	return storePath(path)
}

// quotes reports whether a byte around the id of an app does not belong to it.
func quotes(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', '"', '\'':
		return true
	}
	return false
}

// isWord reports whether a text is one of some words, without regard to case.
func isWord(text []byte, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return len(text) == len(w) && strings.EqualFold(string(text), w) })
}

// storePath finds the store id in the path of an app's page: a segment id123456789
// (Apple), the one after /dp/ (Amazon) or /details/ (Roku, Samsung), or else the
// last.
func storePath(path []byte) []byte {
	if i := bytes.Index(path, []byte("://")); i >= 0 {
		path = path[i+3:]
	}
	_, path, _ = bytes.Cut(path, []byte{'/'})
	var last, before []byte
	for len(path) > 0 {
		var segment []byte
		segment, path, _ = bytes.Cut(path, []byte{'/'})
		if number := appleNumber(segment); len(number) < len(segment) {
			return number
		}
		if isWord(before, "dp", "details", "appdetail") {
			return segment
		}
		if len(segment) > 0 {
			last, before = segment, segment
		}
	}
	return last
}

// appleNumber returns the digits of id123456789, and any other text unchanged.
func appleNumber(text []byte) []byte {
	if len(text) > 2 && text[0]|0x20 == 'i' && text[1]|0x20 == 'd' && len(bytes.Trim(text[2:], "0123456789")) == 0 {
		return text[2:]
	}
	return text
}

// MediaType returns the name of a media type that Rebound compares, without
// parameters: image/jpeg for image/jpg. The case of other names is kept; they are
// compared without regard to it. The result may not be changed.
func MediaType(text []byte) []byte {
	if i := bytes.IndexByte(text, ';'); i >= 0 {
		text = bytes.TrimSpace(text[:i])
	}
	var low [32]byte
	if len(text) > len(low) {
		return text
	}
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		low[i] = c
	}
	switch string(low[:len(text)]) { // other names that senders use
	case "image/jpg", "image/pjpeg":
		return imageJPEG
	case "image/x-png":
		return imagePNG
	case "audio/mp3", "audio/x-mp3", "audio/mpg", "audio/x-mpeg":
		return audioMPEG
	case "audio/m4a", "audio/x-m4a":
		return audioMP4
	case "video/x-mp4", "video/m4v", "video/x-m4v":
		return videoMP4
	case "text/javascript", "application/x-javascript":
		return javaScript
	}
	return text
}

// The registered names of media types for which senders use others.
var (
	imageJPEG, imagePNG  = []byte("image/jpeg"), []byte("image/png")
	audioMPEG, audioMP4  = []byte("audio/mpeg"), []byte("audio/mp4")
	videoMP4, javaScript = []byte("video/mp4"), []byte("application/javascript")
)

// ASCIIURL returns an absolute URL in ASCII, as a Location header needs it (RFC 9110
// §10.2.2): the host in punycode, and every other byte beyond ASCII, space and control
// character percent-encoded. A URL in ASCII is returned as it is.
func ASCIIURL(u string) string {
	if !strings.ContainsFunc(u, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return u
	}
	var b strings.Builder
	if start, end := HostPart(u); NeedsASCII(u[start:end]) {
		escape(&b, u[:start])
		b.WriteString(ASCIIHost(u[start:end]))
		u = u[end:]
	}
	escape(&b, u)
	return b.String()
}

func escape(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if c > ' ' && c < 0x7f {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
}
