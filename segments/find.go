package segments

import (
	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// maxCandidates bounds the number of known identifiers of one request that are looked
// up.
const maxCandidates = 64

// usualCandidates is up to how many of them Find does not allocate.
const usualCandidates = 8

// candidate is an identifier of a request that passes the filter.
type candidate struct {
	kind rtb.IDKind
	key  rtb.Key
	mm   int // match method; -1 if absent
	at   int // index in the list of identifiers
}

// Find fills v with the visitor that one of ids identifies. The order is our own id,
// listed eids, ifa, then the exchange's user.id through the match table. It returns
// NoBidNone (v is filled), NoBidNoID, NoBidUnknownVisitor, NoBidPrivacyOptedOut when
// any of the ids or the visitor opted out, or NoBidError when the view cannot be
// read. A visitor that is known by a link alone, without a profile, is unknown. The
// content of v is valid until v is used again. Find does not allocate for unknown
// visitors, nor on a cache hit where up to [usualCandidates] identifiers are known. It
// calls beforeRead, if not nil, before it reads from disk.
func (s *Store) Find(exchange string, ids []rtb.ExternalID, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	usable := false
	for i := range ids {
		k, ok := s.keyOf(exchange, &ids[i])
		if ok && s.known.Load().has(&k) {
			return s.findKnown(exchange, ids, candidate{ids[i].Kind, k, ids[i].MM, i}, v, beforeRead)
		}
		usable = usable || ok
	}
	if !usable {
		return rtb.NoBidNoID
	}
	return rtb.NoBidUnknownVisitor
}

// findKnown is Find where an identifier passes the filter: first is the first one.
func (s *Store) findKnown(exchange string, ids []rtb.ExternalID, first candidate, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	list := append(make([]candidate, 0, usualCandidates), first)
	for i := first.at + 1; i < len(ids) && len(list) < maxCandidates; i++ {
		if k, ok := s.keyOf(exchange, &ids[i]); ok && s.known.Load().has(&k) {
			list = append(list, candidate{ids[i].Kind, k, ids[i].MM, i})
		}
	}
	return s.lookupFirst(list, v, beforeRead)
}

// keyOf returns the key of an identifier; false if it identifies no one.
func (s *Store) keyOf(exchange string, id *rtb.ExternalID) (rtb.Key, bool) {
	if len(id.Value) > 400 || rtb.Nobody(id.Value) {
		return rtb.Key{}, false
	}
	switch id.Kind {
	case rtb.IDVisitor:
		return s.keyring.Key(rtb.IDVisitor, "", id.Value), true
	case rtb.IDEID:
		var stack [64]byte
		scope := append(stack[:0], id.Scope...)
		return s.keyring.Key(rtb.IDEID, string(scope), id.Value), len(scope) <= 64
	case rtb.IDIFA:
		return s.keyring.Key(rtb.IDIFA, "", id.Value), true
	case rtb.IDExchange:
		return s.keyring.Key(rtb.IDExchange, exchange, id.Value), true
	}
	return rtb.Key{}, false
}

// lookupFirst looks up the identifiers that passed the filter, until one has a visitor.
func (s *Store) lookupFirst(list []candidate, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	for i := range list {
		if s.isOut(&list[i].key) {
			return rtb.NoBidPrivacyOptedOut
		}
	}
	for kind := rtb.IDVisitor; kind <= rtb.IDExchange; kind++ {
		for i := range list {
			if list[i].kind != kind {
				continue
			}
			if r := s.lookup(list[i], v, beforeRead); r != rtb.NoBidUnknownVisitor {
				return r
			}
		}
	}
	return rtb.NoBidUnknownVisitor
}

// lookup fills v with the visitor of one identifier.
func (s *Store) lookup(c candidate, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	visitor := c.key
	if c.kind != rtb.IDVisitor {
		e, err := s.read(&c.key, edgeSpace, beforeRead)
		if err != nil {
			return rtb.NoBidError
		}
		var ok bool
		if e.kind() != entryEdge {
			return rtb.NoBidUnknownVisitor
		}
		if visitor, ok = latestDevice(e.value(), s.now()); !ok || visitor.IsZero() {
			return rtb.NoBidUnknownVisitor
		}
		if s.isOut(&visitor) {
			return rtb.NoBidPrivacyOptedOut
		}
	}
	if r := s.readProfile(visitor, v, beforeRead); r != rtb.NoBidNone {
		return r
	}
	v.Key, v.Match, v.Found = visitor, c.mm+1, c.at+1
	return rtb.NoBidNone
}

// readProfile fills v with the profile of a visitor. While the files are replaced, the
// dictionary that belongs to the profile's bytes is not known: it reads again.
func (s *Store) readProfile(visitor rtb.Key, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	for range 3 {
		d := s.dict.Load()
		e, err := s.read(&visitor, profileSpace, beforeRead)
		switch {
		case err != nil:
			return rtb.NoBidError
		case s.dict.Load() != d:
			continue
		case e.kind() != entryProfile:
			return rtb.NoBidUnknownVisitor
		}
		if err = s.decode(e.value(), d, v); err == nil {
			return rtb.NoBidNone
		}
		if s.dict.Load() == d {
			break
		}
	}
	s.count.errors.Add(1)
	return rtb.NoBidError
}

// decode fills v with a stored profile, whose memory v shares.
func (s *Store) decode(b []byte, d *dictionary, v *rtb.Visitor) error {
	r := s.scratch.Get().(*record)
	r.v, *v = *v, r.v // r decodes into the memory of v
	err := r.decode(b, d)
	r.v, *v = *v, r.v
	if len(r.members)+len(r.shared) > 0 {
		r.visitor(v, *s.lists.Load(), s.now())
	}
	s.scratch.Put(r)
	return err
}

// read returns the entry of a key, from the cache or from disk.
func (s *Store) read(k *rtb.Key, space byte, beforeRead func()) (entry, error) {
	if e, ok := s.cache.get(k); ok {
		return e, nil
	}
	if beforeRead != nil {
		beforeRead()
	}
	position := s.cache.position.Load() // before the read, so that the data read is at least as new
	e, err := s.readFile(k, space, position)
	if err != nil {
		s.count.errors.Add(1)
		return nil, err
	}
	if s.afterRead != nil {
		s.afterRead()
	}
	s.cache.put(e)
	return e, nil
}

func (s *Store) readFile(k *rtb.Key, space byte, position uint64) (entry, error) {
	kind := entryProfile
	if space == edgeSpace {
		kind = entryEdge
	}
	key := spaceKey(space, *k)
	value, exists, err := s.db.Append(makeEntry(k, position, kind, nil), key[:])
	if err != nil {
		return nil, err
	}
	if !exists {
		return makeEntry(k, position, entryNone, nil), nil
	}
	return value, nil
}

// Profile reads one visitor from disk, bypassing the cache. It returns false if the key
// has neither a profile nor an opt-out.
func (s *Store) Profile(k rtb.Key, v *rtb.Visitor) (bool, error) {
	v.Reset()
	key := spaceKey(profileSpace, k)
	value, exists, err := s.db.Get(key[:])
	if err != nil {
		return false, err
	}
	if exists {
		if err := s.decode(value, s.dict.Load(), v); err != nil {
			return false, err
		}
	}
	v.Key, v.OptedOut = k, s.isOut(&k)
	return exists || v.OptedOut, nil
}

// Linked returns the visitor that an external identifier was last seen with. It is the
// zero key, and true, if too many visitors claimed the identifier: it is linked to none
// of them and must not be linked again.
func (s *Store) Linked(k rtb.Key) (rtb.Key, bool) {
	if !s.known.Load().has(&k) {
		return rtb.Key{}, false
	}
	e, err := s.read(&k, edgeSpace, nil)
	if err != nil || e.kind() != entryEdge {
		return rtb.Key{}, false
	}
	return latestDevice(e.value(), s.now())
}

// Links lists the external identifiers of a visitor.
func (s *Store) Links(visitor rtb.Key) ([]events.LinkKey, error) { return readLinked(s.db, visitor) }

func readLinked(r view.Reader, visitor rtb.Key) ([]events.LinkKey, error) {
	from, to := reverseKey(visitor, rtb.Key{}), [33]byte{}
	to = from
	for i := 17; i < len(to); i++ {
		to[i] = 0xff
	}
	var out []events.LinkKey
	err := r.Scan(from[:], append(to[:], 0), func(key, value []byte) error {
		if len(key) == len(from) {
			out = append(out, events.LinkKey{KeyKind: string(value), Key: rtb.Key(key[17:])})
		}
		return nil
	})
	return out, err
}
