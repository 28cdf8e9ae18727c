package creatives

import (
	"strings"

	"rebound/rtb"
)

// place is the kind of position of a macro in a document. It decides the
// escaping.
type place uint8

const (
	inText     place = iota // between tags
	inAttr                  // in a quoted attribute that is not a URL
	inURLStart              // at the start of a quoted attribute that is a URL
	inURL                   // later in such an attribute
	inJS                    // in a quoted string of a script
	inNowhere               // where only numbers are safe
)

// scanner follows HTML as far as is needed to know the position of a macro. It
// is meant for markup that an advertiser wrote, is not a full HTML parser, and
// treats a position as unsafe if in doubt.
type scanner struct {
	state scanState
	quote byte   // of the attribute or of the script's string
	tag   string // name of the open tag, lower case
	attr  string // name of the open attribute, lower case
	value bool   // the attribute has a value already
	raw   string // script, style, textarea or title, whose content ends only with their end tag
	tail  []byte // the last bytes of raw text or of a comment, lower case, to find the end
	esc   bool   // the last byte of the script's string was a backslash
	line  bool   // in a // comment of the script
	block bool   // in a /* comment of the script
	prev  byte   // the last byte of the script
}

type scanState uint8

const (
	scanText scanState = iota
	scanTagName
	scanTag       // in a tag, outside names and values
	scanAttrName  // in an attribute's name
	scanAfterAttr // after the equals sign
	scanQuoted    // in a quoted value
	scanBare      // in an unquoted value
	scanComment
	scanRaw // in script, style, textarea or title
)

var urlAttrs = map[string]bool{"href": true, "src": true, "action": true, "formaction": true, "poster": true, "data": true,
	"cite": true, "background": true, "xlink:href": true, "ping": true, "longdesc": true}

// place returns the position of the next byte.
func (s *scanner) place() place {
	switch s.state {
	case scanText:
		return inText
	case scanQuoted:
		switch {
		case s.attr == "style" || s.attr == "srcdoc" || s.attr == "srcset" || strings.HasPrefix(s.attr, "on"):
			return inNowhere
		case !urlAttrs[s.attr]:
			return inAttr
		case s.value:
			return inURL
		}
		return inURLStart
	case scanRaw:
		switch {
		case s.raw == "textarea" || s.raw == "title":
			return inText
		case s.raw == "script" && (s.quote == '"' || s.quote == '\'') && !s.esc:
			return inJS
		}
	}
	return inNowhere
}

// macro advances the scanner over a macro.
func (s *scanner) macro() {
	if s.state == scanQuoted {
		s.value = true
	}
	s.esc, s.prev = false, 'x'
}

// literal advances the scanner over text of the template.
func (s *scanner) literal(text string) {
	for i := range len(text) {
		s.next(text[i])
	}
}

// grow appends a byte to a name in lower case. Names that matter are short.
func grow(name string, c byte) string {
	if len(name) > 32 {
		return name
	}
	if c >= 0x80 {
		c = '?'
	}
	return name + string(rune(rtb.Lower(c)))
}

// remember keeps the last bytes, to find the end of raw text or of a comment.
func (s *scanner) remember(c byte) {
	if len(s.tail) >= 64 {
		s.tail = append(s.tail[:0], s.tail[len(s.tail)-16:]...)
	}
	s.tail = append(s.tail, c)
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

func (s *scanner) next(c byte) {
	switch s.state {
	case scanText:
		if c == '<' {
			s.state, s.tag = scanTagName, ""
		}
	case scanTagName:
		s.tagName(c)
	case scanTag, scanAttrName, scanAfterAttr:
		s.inTag(c)
	case scanQuoted:
		if c == s.quote {
			s.state, s.attr = scanTag, ""
		} else if !blank(c) {
			s.value = true
		}
	case scanBare:
		if c == '>' {
			s.endTag()
		} else if blank(c) {
			s.state, s.attr = scanTag, ""
		}
	case scanComment:
		s.remember(c)
		if n := len(s.tail); n >= 3 && string(s.tail[n-3:]) == "-->" {
			s.state, s.tail = scanText, s.tail[:0]
		}
	case scanRaw:
		s.inRaw(c)
	}
}

func (s *scanner) tagName(c byte) {
	switch {
	case c == '>':
		s.endTag()
	case blank(c) || c == '/' && s.tag != "":
		if s.tag == "" {
			s.state = scanText // "< " does not begin a tag
			return
		}
		s.state = scanTag
	default:
		s.tag = grow(s.tag, c)
		if s.tag == "!--" {
			s.state, s.tail = scanComment, s.tail[:0]
		}
	}
}

func (s *scanner) inTag(c byte) {
	switch {
	case c == '>':
		s.endTag()
	case s.state == scanAfterAttr:
		switch {
		case c == '"' || c == '\'':
			s.state, s.quote, s.value = scanQuoted, c, false
		case !blank(c):
			s.state = scanBare
		}
	case c == '=' && s.attr != "":
		s.state = scanAfterAttr
	case blank(c) || c == '/':
		if s.state == scanAttrName {
			s.state = scanTag
		}
	default:
		if s.state == scanTag {
			s.state, s.attr = scanAttrName, ""
		}
		s.attr = grow(s.attr, c)
	}
}

func (s *scanner) endTag() {
	s.state, s.attr, s.quote = scanText, "", 0
	switch s.tag {
	case "script", "style", "textarea", "title":
		s.state, s.raw, s.tail = scanRaw, s.tag, s.tail[:0]
		s.esc, s.line, s.block, s.prev = false, false, false, 0
	}
}

func (s *scanner) inRaw(c byte) {
	s.remember(rtb.Lower(c))
	end := "</" + s.raw
	if n := len(s.tail); n > len(end) && string(s.tail[n-1-len(end):n-1]) == end && (blank(c) || c == '>' || c == '/') {
		s.tag, s.state, s.quote = "/"+s.raw, scanTag, 0
		if c == '>' {
			s.endTag()
		}
		s.tail = s.tail[:0]
		return
	}
	if s.raw == "script" {
		s.script(c)
	}
}

// script follows the quotes and comments of a script.
func (s *scanner) script(c byte) {
	prev := s.prev
	s.prev = c
	switch {
	case s.line:
		s.line = c != '\n'
	case s.block:
		s.block = prev != '*' || c != '/'
	case s.quote != 0:
		switch {
		case s.esc:
			s.esc = false
		case c == '\\':
			s.esc = true
		case c == s.quote || c == '\n' && s.quote != '`':
			s.quote = 0
		}
	case c == '"' || c == '\'' || c == '`':
		s.quote = c
	case prev == '/' && c == '/':
		s.line = true
	case prev == '/' && c == '*':
		s.block, s.prev = true, 0
	}
}
