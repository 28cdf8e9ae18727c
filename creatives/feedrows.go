package creatives

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// maxJoined is how many lines a field in quotes may span.
const maxJoined = 200

// rowReader reads the rows of a file of tab-separated values: lines that end with
// LF, CR LF or CR, of limited length, in which a field may be in quotes.
type rowReader struct {
	r       *bufio.Reader
	line    int  // of the row that was read last, from 1
	columns int  // of the header; 0 until it is known
	cr      bool // lines end with CR, as the header does
	ended   bool // the line that was read last has an end

	ahead []rawLine // lines that were read to look for the end of a field
	next  int       // the number of the line that is read next
}

// rawLine is one line without its end.
type rawLine struct {
	text    []byte // owned
	number  int
	ended   bool
	tooLong bool
}

func newRowReader(r io.Reader) *rowReader {
	return &rowReader{r: bufio.NewReaderSize(r, MaxRowBytes), next: 1}
}

// row returns the fields of the next row. tooLong is set if its line was cut off.
// The error is io.EOF at the end.
func (rd *rowReader) row() (fields []string, tooLong bool, err error) {
	l, err := rd.take()
	if err != nil {
		return nil, false, err
	}
	rd.line, rd.ended = l.number, l.ended
	if l.tooLong {
		return nil, true, nil
	}
	text := string(l.text)
	if !strings.Contains(text, `"`) {
		return strings.Split(text, "\t"), false, nil
	}
	fields, open := splitQuoted(text)
	for open {
		if text, open = rd.join(text); open {
			fields, open = splitQuoted(text)
		}
	}
	// A tab inside quotes belongs to the field only if the row has too many
	// fields otherwise: the quotes may as well be part of two texts.
	if raw := strings.Count(text, "\t") + 1; len(fields) < raw && raw <= rd.columns {
		fields = strings.Split(text, "\t")
		for i := range fields {
			fields[i] = unquote(fields[i])
		}
	}
	return fields, false, nil
}

// splitQuoted splits a row into fields, and removes the quotes around a field and
// the doubling of quotes in it. A field whose quotes are not written like that has
// quotes as part of its text. open is set if the last field begins with a quote and
// has no end.
func splitQuoted(text string) (fields []string, open bool) {
	for {
		if strings.HasPrefix(text, `"`) {
			end := closing(text)
			switch {
			case end > 0:
				fields = append(fields, strings.ReplaceAll(text[1:end], `""`, `"`))
				if end+1 == len(text) {
					return fields, false
				}
				text = text[end+2:]
				continue
			case end == 0 && !strings.Contains(text, "\t"):
				return append(fields, text), true
			}
		}
		field, rest, more := strings.Cut(text, "\t")
		fields = append(fields, field)
		if !more {
			return fields, false
		}
		text = rest
	}
}

// closing returns the index of the quote that ends the field at the start of text,
// which begins with a quote: 0 if the text ends before the field does, and -1 if
// the field is not in quotes, because one of them is neither doubled nor its end.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		switch {
		case i+1 == len(text) || text[i+1] == '\t':
			return i
		case text[i+1] != '"':
			return -1
		}
		i++
	}
	return 0
}

// join appends the following lines to a row whose last field has an opening quote
// only, up to the line that closes it. If a line shows that the quote is a part of
// the text, for instance because it is a whole row, join returns the row as it is.
func (rd *rowReader) join(text string) (longer string, joined bool) {
	var b strings.Builder
	b.WriteString(text)
	for n := range maxJoined {
		l, err := rd.peek(n)
		if err != nil || l.tooLong || b.Len()+1+len(l.text) > MaxRowBytes {
			return text, false
		}
		b.WriteByte('\n')
		b.Write(l.text)
		// The quote is searched as if this line began the field.
		switch end, tab := closing(`"`+string(l.text)), bytes.IndexByte(l.text, '\t'); {
		case end < 0, end == 0 && tab >= 0, end > 0 && tab >= 0 && tab < end-1:
			return text, false
		case end > 0:
			rd.ended = l.ended
			rd.ahead = slices.Delete(rd.ahead, 0, n+1)
			return b.String(), true
		}
	}
	return text, false
}

// peek returns the line after n others without taking it.
func (rd *rowReader) peek(n int) (*rawLine, error) {
	for len(rd.ahead) <= n {
		l, err := rd.read()
		if err != nil {
			return nil, err
		}
		rd.ahead = append(rd.ahead, l)
	}
	return &rd.ahead[n], nil
}

// take returns the next line.
func (rd *rowReader) take() (rawLine, error) {
	if len(rd.ahead) == 0 {
		return rd.read()
	}
	l := rd.ahead[0]
	rd.ahead = slices.Delete(rd.ahead, 0, 1)
	return l, nil
}

// read reads one line. The first line decides whether lines end with CR.
func (rd *rowReader) read() (rawLine, error) {
	l := rawLine{number: rd.next}
	rd.next++
	for {
		chunk, err := rd.r.Peek(max(1, rd.r.Buffered()))
		if len(chunk) == 0 {
			if len(l.text) > 0 || l.tooLong {
				return l, nil
			}
			if err == nil || errors.Is(err, bufio.ErrBufferFull) {
				err = io.ErrNoProgress
			}
			return l, err
		}
		end := rd.lineEnd(chunk)
		part := chunk
		if end >= 0 {
			part = chunk[:end]
		}
		if room := MaxRowBytes - len(l.text); len(part) > room {
			part, l.tooLong = part[:room], true
		}
		l.text = append(l.text, part...)
		if end < 0 {
			_, _ = rd.r.Discard(len(chunk)) // that many are buffered
			continue
		}
		l.ended = true
		rd.skipEnd(chunk[end], end)
		l.text = bytes.TrimSuffix(l.text, []byte{'\r'})
		return l, nil
	}
}

// lineEnd returns the index of the end of the line in chunk, or -1.
func (rd *rowReader) lineEnd(chunk []byte) int {
	if rd.next == 2 || rd.cr {
		return bytes.IndexAny(chunk, "\r\n")
	}
	return bytes.IndexByte(chunk, '\n')
}

// skipEnd discards a line and its end, which is one character or CR LF.
func (rd *rowReader) skipEnd(end byte, at int) {
	_, _ = rd.r.Discard(at + 1) // that many are buffered
	if end != '\r' {
		return
	}
	if after, _ := rd.r.Peek(1); len(after) == 1 && after[0] == '\n' {
		_, _ = rd.r.Discard(1)
	} else if rd.next == 2 {
		rd.cr = true
	}
}

// unquote removes the quotes around a field.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && closing(s) == len(s)-1 {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}
