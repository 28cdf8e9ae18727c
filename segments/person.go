package segments

import (
	"context"
	"slices"

	"rebound/events"
	"rebound/rtb"
)

// Person is what the view knows of who is behind some identifiers.
type Person struct {
	// Visitors are those that were named, and those to which a named identifier is
	// linked.
	Visitors []rtb.Key
	// Links are the named identifiers and those of the visitors.
	Links []events.LinkKey
	// Profiles is how many of the visitors have a profile.
	Profiles int
}

// Person returns who is behind identifiers; the kind of a visitor's own key is
// [events.VisitorKind]. It does not go on from the linked identifiers to further visitors,
// because an e-mail address may be that of a family.
func (s *Store) Person(ids []events.LinkKey) (Person, error) {
	var p Person
	add := func(k rtb.Key) {
		if !k.IsZero() && !slices.Contains(p.Visitors, k) {
			p.Visitors = append(p.Visitors, k)
		}
	}
	for _, id := range ids {
		if id.KeyKind == events.VisitorKind {
			add(id.Key)
			continue
		}
		p.link(id)
		e, _, err := s.edge(id.Key)
		if err != nil {
			return p, err
		}
		for _, d := range e.devices {
			add(d.visitor)
		}
	}
	for _, v := range p.Visitors {
		ids, err := s.Links(v)
		if err != nil {
			return p, err
		}
		for _, id := range ids {
			p.link(id)
		}
		key := spaceKey(profileSpace, v)
		_, exists, err := s.db.Get(key[:])
		if err != nil {
			return p, err
		}
		if exists {
			p.Profiles++
		}
	}
	return p, nil
}

func (p *Person) link(id events.LinkKey) {
	if !slices.Contains(p.Links, id) {
		p.Links = append(p.Links, id)
	}
}

// Keys returns the keys whose traces are the person's alone: those of the visitors, and
// of the identifiers that are linked to no one else.
func (s *Store) Keys(p Person) ([]rtb.Key, error) {
	keys := slices.Clone(p.Visitors)
	for _, id := range p.Links {
		e, _, err := s.edge(id.Key)
		if err != nil {
			return nil, err
		}
		alone := !slices.ContainsFunc(e.devices, func(d device) bool { return !slices.Contains(p.Visitors, d.visitor) })
		if alone {
			keys = append(keys, id.Key)
		}
	}
	return keys, nil
}

func (s *Store) edge(k rtb.Key) (e edge, exists bool, err error) {
	key := spaceKey(edgeSpace, k)
	value, exists, err := s.db.Get(key[:])
	if !exists || err != nil {
		return edge{}, false, err
	}
	e, err = decodeEdge(value)
	return e, err == nil, err
}

// Scrub removes everything that was deleted from the view's files, and the schedule of
// keys that were erased. It may run while facts are applied.
func (s *Store) Scrub(ctx context.Context, keys events.KeySet) error {
	var stale [][]byte
	err := s.db.Scan([]byte{dueSpace}, []byte{dueSpace + 1}, func(key, _ []byte) error {
		if len(key) == 22 {
			if _, ok := keys[rtb.Key(key[6:])]; ok {
				stale = append(stale, slices.Clone(key))
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for _, key := range stale {
		what := spaceKey(key[5], rtb.Key(key[6:]))
		_, exists, err := s.db.Get(what[:])
		if err == nil && !exists { // otherwise the visitor came back, and the profile must expire
			err = s.db.Remove(key)
		}
		if err != nil {
			return err
		}
	}
	return s.db.Scrub(ctx)
}
