package collect

import (
	"bytes"
	"encoding/json"
)

// maxTrials bounds how often decodeLenient tries to decode a part of one event.
const maxTrials = 500

// decodeLenient decodes the event of a browser, which would not be sent again:
// a field of the wrong type is left out and reported to bad, and the event is
// kept. An event whose consent cannot be read is refused.
func decodeLenient(raw []byte, bad func(Reject)) (*wireEvent, *Problem) {
	w, p := decodeEvent(raw)
	if p == nil || !json.Valid(raw) || bytes.TrimLeft(raw, " \t\r\n")[0] != '{' {
		return w, p
	}
	l := lenient{bad: bad}
	kept, ok := l.prune(raw, func(v []byte) bool { return json.Unmarshal(v, new(wireEvent)) == nil })
	if !ok || l.trials > maxTrials {
		return nil, p
	}
	return decodeEvent(kept)
}

// lenient removes the parts of a JSON value that cannot be decoded.
type lenient struct {
	bad    func(Reject)
	trials int
}

// prune returns a value without those members and elements that decodes refuses, at any
// depth. It returns false if nothing of the value can be kept.
func (l *lenient) prune(v []byte, decodes func([]byte) bool) ([]byte, bool) {
	if l.trials++; l.trials > maxTrials {
		return nil, false
	}
	if decodes(v) {
		return v, true
	}
	var out []byte
	var ok bool
	switch v = bytes.TrimSpace(v); v[0] {
	case '{':
		out, ok = l.pruneObject(v, decodes)
	case '[':
		out, ok = l.pruneList(v, decodes)
	}
	if !ok || !decodes(out) {
		l.bad(RejectJSON)
		return nil, false
	}
	return out, true
}

func (l *lenient) pruneObject(v []byte, decodes func([]byte) bool) ([]byte, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(v, &members) != nil {
		return nil, false
	}
	kept := make(map[string]json.RawMessage, len(members))
	for name, m := range members {
		one := func(x []byte) bool {
			b, err := json.Marshal(map[string]json.RawMessage{name: x})
			return err == nil && decodes(b)
		}
		if bytes.EqualFold([]byte(name), []byte("consent")) && !one(m) {
			return nil, false // a restriction that cannot be read restricts
		}
		if x, ok := l.prune(m, one); ok {
			kept[name] = x
		}
	}
	b, err := json.Marshal(kept)
	return b, err == nil
}

func (l *lenient) pruneList(v []byte, decodes func([]byte) bool) ([]byte, bool) {
	var list, kept []json.RawMessage
	if json.Unmarshal(v, &list) != nil {
		return nil, false
	}
	for _, x := range list {
		one := func(x []byte) bool {
			b, err := json.Marshal([]json.RawMessage{x})
			return err == nil && decodes(b)
		}
		if x, ok := l.prune(x, one); ok {
			kept = append(kept, x)
		}
	}
	b, err := json.Marshal(kept)
	return b, err == nil && len(kept) > 0
}
