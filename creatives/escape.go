package creatives

const hexDigits = "0123456789ABCDEF"

// entities are the bytes that HTML text and quoted attributes cannot hold as they are,
// with what replaces them.
var entities = [256]string{
	'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&#34;", '\'': "&#39;", '`': "&#96;", 0: "\uFFFD",
}

// needsEntity is 1 for the bytes that have an entity.
var needsEntity = func() (t [256]uint8) {
	for c, entity := range entities {
		if entity != "" {
			t[c] = 1
		}
	}
	return t
}()

// appendHTML appends s for HTML text and quoted attributes. It leaves exchange
// macros as they are, and is for our own URLs and texts of the configuration.
func appendHTML[T ~string | ~[]byte](dst []byte, s T) []byte {
	from := 0
	for i := 0; i < len(s); {
		if t := &needsEntity; len(s)-i >= 8 && t[s[i]]|t[s[i+1]]|t[s[i+2]]|t[s[i+3]]|t[s[i+4]]|t[s[i+5]]|t[s[i+6]]|t[s[i+7]] == 0 {
			i += 8 // few bytes need one
			continue
		}
		for end := min(i+8, len(s)); i < end; i++ {
			if needsEntity[s[i]] != 0 {
				dst = append(append(dst, s[from:i]...), entities[s[i]]...)
				from = i + 1
			}
		}
	}
	return append(dst, s[from:]...)
}

// appendUntrustedHTML is appendHTML for untrusted texts: nothing in them may
// look like one of our macros or an exchange's (${X}, {x}, %%X%%).
func appendUntrustedHTML[T ~string | ~[]byte](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		var entity string
		switch s[i] {
		case '$':
			entity = "&#36;"
		case '{':
			entity = "&#123;"
		case '%':
			if i+1 < len(s) && s[i+1] != '%' {
				continue
			}
			entity = "&#37;"
		default:
			continue
		}
		dst = appendHTML(dst, s[from:i])
		dst = append(dst, entity...)
		from = i + 1
	}
	return appendHTML(dst, s[from:])
}

// unreserved marks the bytes that need no escaping anywhere in a URL (RFC 3986 §2.3).
var unreserved = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~'
	}
	return t
}()

// appendURL appends s percent-encoded. The result is safe in a part of a URL
// and, having only unreserved bytes and %, in HTML and scripts too.
func appendURL[T ~string | ~[]byte](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		if c := s[i]; !unreserved[c] {
			dst = append(append(dst, s[from:i]...), '%', hexDigits[c>>4], hexDigits[c&15])
			from = i + 1
		}
	}
	return append(dst, s[from:]...)
}

// appendURL2 is appendURL applied twice, for a URL in a URL in a URL.
func appendURL2[T ~string | ~[]byte](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		if c := s[i]; !unreserved[c] {
			dst = append(append(dst, s[from:i]...), '%', '2', '5', hexDigits[c>>4], hexDigits[c&15])
			from = i + 1
		}
	}
	return append(dst, s[from:]...)
}

// appendJS appends s for a string in a script, in either kind of quotes.
// Nothing in it can end the string, the script or a comment around it. It
// leaves exchange macros as they are.
func appendJS[T ~string | ~[]byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c < ' ', c == '\'', c == '"', c == '`', c == '\\', c == '<', c == '>', c == '&', c == '/', c == '=', c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c == 0xE2 && i+2 < len(s) && s[i+1] == 0x80 && s[i+2]&0xFE == 0xA8:
			// U+2028 and U+2029 end lines in scripts unless they are escaped.
			dst = append(append(dst, "\\u202"...), hexDigits[s[i+2]&15])
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendUntrustedJS is appendJS for untrusted texts: nothing in them may look
// like a macro.
func appendUntrustedJS[T ~string | ~[]byte](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		if c := s[i]; c == '$' || c == '{' || c == '%' {
			dst = appendJS(dst, s[from:i])
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			from = i + 1
		}
	}
	return appendJS(dst, s[from:])
}

// newText escapes an untrusted text once. Forms that need no escaping share its
// memory.
func newText(s string) Text {
	t := Text{Raw: s}
	share := func(b []byte) string {
		if string(b) == s {
			return s
		}
		return string(b)
	}
	t.HTML = share(appendUntrustedHTML(nil, s))
	t.URL = share(appendURL(nil, s))
	t.JS = share(appendUntrustedJS(nil, s))
	return t
}

// appendHost appends the characters of s that host names may have. The result
// is safe everywhere, whatever a request gives as its site.
func appendHost(dst, s []byte) []byte {
	for _, c := range s[:min(len(s), 253)] {
		if unreserved[c] && c != '~' {
			dst = append(dst, c)
		}
	}
	return dst
}
