package events

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Line is one line of the log in its parts. A line reads
//
//	{"v":1,"seq":N,"ts":T,"synced":M,body,"who":{...},"h":H}
//
// where synced is on the first line of a batch only and who is left out if a fact
// has no personal part. Body and Who are kept as they were first written and are
// never encoded again, so that every copy of the log has the same hashes.
type Line struct {
	Seq uint64
	TS  time.Time
	// Synced, if not zero, states that all facts up to it were on disk before this
	// line was written. It is not covered by the hash.
	Synced uint64
	Body   []byte // members of an object, without braces
	Who    []byte // an object, or the quoted hash of an erased one; nil if there is none
	Hash   Hash
}

// lineTS has one width, so that every line of a fact has the same bytes.
const lineTS = "2006-01-02T15:04:05.000000000Z"

const (
	lineStart = `{"v":1,"seq":`
	tsStart   = `,"ts":"`
	syncStart = `,"synced":`
	whoStart  = `,"who":`
	hashStart = `,"h":"`
	hashEnd   = `"}`
)

// Append appends the line without a newline.
func (l *Line) Append(dst []byte) []byte {
	dst = strconv.AppendUint(append(dst, lineStart...), l.Seq, 10)
	dst = append(dst, tsStart...)
	dst = append(l.TS.UTC().AppendFormat(dst, lineTS), '"')
	if l.Synced > 0 {
		dst = strconv.AppendUint(append(dst, syncStart...), l.Synced, 10)
	}
	dst = append(append(dst, ','), l.Body...)
	if len(l.Who) > 0 {
		dst = append(append(dst, whoStart...), l.Who...)
	}
	dst = hex.AppendEncode(append(dst, hashStart...), l.Hash[:])
	return append(dst, hashEnd...)
}

// ErrNoLine means that a text is not a line of the log.
var ErrNoLine = errors.New("not a line of the log")

// ParseLine reads the parts of a line without a newline. Body and Who point into
// b. It does not check the hash, and does not look inside Body and Who.
func ParseLine(b []byte) (l Line, err error) {
	bad := func(want string) (Line, error) {
		return Line{}, fmt.Errorf("%w: got %.60q; want %s", ErrNoLine, b, want)
	}
	rest, ok := bytes.CutPrefix(b, []byte(lineStart))
	if !ok {
		return bad("v and seq first")
	}
	if l.Seq, rest, ok = cutUint(rest); !ok || l.Seq == 0 {
		return bad("a sequence from 1")
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(tsStart)); !ok || len(rest) < len(lineTS)+1 || rest[len(lineTS)] != '"' {
		return bad("ts after seq, with nanoseconds")
	}
	if l.TS, ok = parseTS(rest[:len(lineTS)]); !ok {
		return bad("a UTC time with nanoseconds in ts")
	}
	rest = rest[len(lineTS)+1:]
	if after, found := bytes.CutPrefix(rest, []byte(syncStart)); found {
		if l.Synced, rest, ok = cutUint(after); !ok || l.Synced == 0 || l.Synced >= l.Seq {
			return bad("synced below seq")
		}
	}
	tail := len(rest) - len(hashStart) - 2*len(l.Hash) - len(hashEnd)
	if tail < 1 || rest[0] != ',' || !bytes.HasPrefix(rest[tail:], []byte(hashStart)) || !bytes.HasSuffix(rest, []byte(hashEnd)) {
		return bad("h last")
	}
	digits := rest[tail+len(hashStart) : len(rest)-len(hashEnd)]
	if err := l.Hash.UnmarshalText(digits); err != nil || bytes.ContainsAny(digits, "ABCDEF") {
		return bad("32 lower-case hex digits in h")
	}
	split := SplitBody(rest[1:tail])
	if l.Body, l.Who = split.Body, split.Who; l.Who != nil && len(l.Who) == 0 {
		return bad("an object or a hash in who")
	}
	return l, nil
}

// SplitBody splits the members of a fact into body and personal part; the other fields
// of the line are zero. Both parts point into b.
func SplitBody(b []byte) Line {
	// Inside a string a quote is escaped, and no other member of a body is named who.
	if i := bytes.Index(b, []byte(whoStart)); i >= 0 {
		return Line{Body: b[:i], Who: b[i+len(whoStart):]}
	}
	return Line{Body: b}
}

// cutUint reads a decimal number as AppendUint writes it.
func cutUint(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < 19 && b[i] >= '0' && b[i] <= '9' {
		n = 10*n + uint64(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0 && (b[0] != '0' || i == 1)
}

// parseTS reads a time in a fixed layout, several times faster than the
// standard library's parser.
func parseTS(b []byte) (time.Time, bool) {
	if b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] != '.' || b[29] != 'Z' {
		return time.Time{}, false
	}
	ok := true
	num := func(i, j int) (n int) {
		for _, c := range b[i:j] {
			ok = ok && c >= '0' && c <= '9'
			n = 10*n + int(c-'0')
		}
		return n
	}
	y, mo, d, h, mi, s, ns := num(0, 4), num(5, 7), num(8, 10), num(11, 13), num(14, 16), num(17, 19), num(20, 29)
	t := time.Date(y, time.Month(mo), d, h, mi, s, ns, time.UTC)
	return t, ok && t.Month() == time.Month(mo) && t.Day() == d && h < 24 && mi < 60 && s < 60
}

// Erased reports whether the personal part was replaced by its hash.
func (l *Line) Erased() bool { return len(l.Who) > 0 && l.Who[0] == '"' }

// Digest returns the digest of the line's fact, which the chain covers. It fails if an erased
// personal part is not a hash.
func (l *Line) Digest() (Digest, error) {
	if !l.Erased() {
		return DigestOf(l.Body, WhoHash(l.Who)), nil
	}
	var who Digest
	if len(l.Who) != 2*len(who)+2 {
		return who, fmt.Errorf("%w: got who %.80q; want an object or a hash", ErrNoLine, l.Who)
	}
	if _, err := hex.Decode(who[:], l.Who[1:len(l.Who)-1]); err != nil {
		return who, fmt.Errorf("%w: got who %.80q; want an object or a hash: %w", ErrNoLine, l.Who, err)
	}
	return DigestOf(l.Body, who), nil
}

// Follows reports whether the line's hash continues its predecessor's.
func (l *Line) Follows(previous Hash) bool {
	d, err := l.Digest()
	return err == nil && Chain(previous, l.Seq, l.TS, d) == l.Hash
}

// Erase replaces the personal part with its hash, so that the chain remains valid.
func (l *Line) Erase() {
	if len(l.Who) == 0 || l.Erased() {
		return
	}
	sum := WhoHash(l.Who)
	l.Who = append(hex.AppendEncode([]byte{'"'}, sum[:]), '"')
}

// Decode reads the fact of the line into f, overwriting it. The fact shares memory with
// the line.
func (l *Line) Decode(f *Fact) error {
	*f = Fact{V: 1, Seq: l.Seq, TS: l.TS, LineHash: l.Hash, Erased: l.Erased()}
	if err := decodeMembers(l.Body, f); err != nil {
		return fmt.Errorf("cannot read fact %d: %w", l.Seq, err)
	}
	switch n := len(l.Who); {
	case n == 0:
	case f.Erased:
		if _, err := l.Digest(); err != nil {
			return err
		}
	case n < 2 || l.Who[0] != '{' || l.Who[n-1] != '}':
		return fmt.Errorf("%w: got who %.80q; want an object or a hash", ErrNoLine, l.Who)
	default:
		if err := decodeMembers(l.Who[1:len(l.Who)-1], f); err != nil {
			return fmt.Errorf("cannot read personal part of fact %d: %w", l.Seq, err)
		}
	}
	if f.ID == "" || f.Kind == "" {
		return fmt.Errorf("cannot read fact %d: got no id or no kind; want both", l.Seq)
	}
	return nil
}

// Header is the first line of every file of the log.
type Header struct {
	V   int    `json:"v"`
	Log string `json:"log"` // id of the log, the same in all its files
	// First is the sequence of the file's first fact.
	First uint64 `json:"first_seq"`
	// After and Previous are the sequence and hash of the fact before First. After is
	// below First-1 where sequences were skipped because lost facts had used them.
	After    uint64 `json:"after_seq"`
	Previous Hash   `json:"previous_h,omitzero"`
	// Base marks a base file, which holds the facts that outlive deleted files
	// rather than the facts from First on; see package journal.
	Base bool `json:"base,omitempty"`
	// At is the TS of the fact at After.
	At time.Time `json:"ts,omitzero"`
	// Keys is a fingerprint of the secrets under which identifiers were stored.
	Keys string `json:"keys,omitempty"`
	// Facts is the number of facts in a base file.
	Facts int `json:"facts,omitempty"`
	// Sum is a checksum of the header, which the chain does not cover, against a changed
	// digit.
	Sum string `json:"sum"`
}

// sum returns the value of Sum: the first 64 bits of the SHA-256 of the header without Sum.
func (h Header) sum() string {
	h.Sum = ""
	return Checksum(h)
}

// ParseHeader reads a header without a newline.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if !bytes.HasPrefix(b, []byte(`{"v":1,"log":`)) {
		return h, errors.New("cannot read header of a log file: got none; want a file that this version of the log has written")
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("cannot read header of a log file: %w", err)
	}
	if h.Log == "" || h.First == 0 || h.After >= h.First {
		return h, fmt.Errorf("cannot read header of a log file: got %.200q; want log, first_seq and a lower after_seq", b)
	}
	if h.Sum != h.sum() {
		return h, fmt.Errorf("cannot read header of a log file: got sum %q; want %q: the header was changed", h.Sum, h.sum())
	}
	return h, nil
}

// Append appends the header with a newline.
func (h Header) Append(dst []byte) []byte {
	h.V = 1
	h.Sum = h.sum()
	b, err := json.Marshal(h)
	if err != nil { // a struct of plain values cannot fail to encode
		return dst
	}
	return append(append(dst, b...), '\n')
}
