package segments

import (
	"bytes"
	"context"

	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// surveyStep is the number of profiles that are read at once.
const surveyStep = 1000

// Survey calls fn for every visitor who has a profile, with the identifiers that are linked
// to the visitor. Both are valid during the call only. It reads the files, while facts are
// applied; a visitor who changes meanwhile is seen before or after the change.
func (s *Store) Survey(ctx context.Context, fn func(v *rtb.Visitor, links []events.LinkKey) error) error {
	var v rtb.Visitor
	for from := []byte{profileSpace}; from != nil; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, next, err := s.surveyPage(from)
		if err != nil {
			return err
		}
		for i := range page {
			p := &page[i]
			if s.isOut(&p.key) {
				continue
			}
			if err := s.decode(p.profile, s.dict.Load(), &v); err != nil {
				return err
			}
			v.Key = p.key
			if err := fn(&v, p.links); err != nil {
				return err
			}
		}
		from = next
	}
	return nil
}

type surveyed struct {
	key     rtb.Key
	profile []byte
	links   []events.LinkKey
}

// surveyPage reads some profiles and their links, and returns where to go on.
func (s *Store) surveyPage(from []byte) (page []surveyed, next []byte, err error) {
	err = s.db.Scan(from, []byte{profileSpace + 1}, func(key, value []byte) error {
		if len(key) != 17 {
			return nil
		}
		if len(page) == surveyStep {
			next = bytes.Clone(key)
			return view.ErrStop
		}
		page = append(page, surveyed{key: rtb.Key(key[1:]), profile: bytes.Clone(value)})
		return nil
	})
	if err != nil || len(page) == 0 {
		return page, next, err
	}
	first, last := reverseKey(page[0].key, rtb.Key{}), reverseKey(page[len(page)-1].key, rtb.Key{})
	for i := 17; i < len(last); i++ {
		last[i] = 0xff
	}
	i := 0
	err = s.db.Scan(first[:], append(last[:], 0), func(key, value []byte) error {
		if len(key) != len(first) {
			return nil
		}
		for i < len(page) && bytes.Compare(page[i].key[:], key[1:17]) < 0 {
			i++
		}
		if i < len(page) && bytes.Equal(page[i].key[:], key[1:17]) {
			page[i].links = append(page[i].links, events.LinkKey{KeyKind: string(value), Key: rtb.Key(key[17:])})
		}
		return nil
	})
	return page, next, err
}

// ReachableBy returns the exchange of an identifier's kind, or ifa or eid; empty for an
// identifier that is in no bid request.
func ReachableBy(kind string) string {
	switch {
	case !reachable(kind):
		return ""
	case len(kind) > 2 && kind[:2] == "b:":
		return kind[2:]
	case kind == "ifa":
		return kind
	}
	return "eid"
}

// Before makes v the visitor of an earlier time: without the events that came later, as far
// as the profile tells them. Values of days stay.
func Before(v *rtb.Visitor, at rtb.Second) {
	kept := v.Segments[:0]
	for _, s := range v.Segments {
		if s.First > at {
			continue
		}
		n := 0
		for n < len(s.Recent) && s.Recent[n] > at {
			n++
		}
		s.Recent, s.Count = s.Recent[n:], s.Count-uint32(n)
		s.Last = s.First
		if len(s.Recent) > 0 {
			s.Last = s.Recent[0]
		}
		kept = append(kept, s)
	}
	v.Segments = kept
}
