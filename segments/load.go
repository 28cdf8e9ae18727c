package segments

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"rebound/internal/view"
	"rebound/rtb"
)

// load reads the state that the store keeps in memory: the time of the log, the
// rules and the filters.
func (s *Store) load() error {
	now, err := s.loadSecond(metaNow)
	if err != nil {
		return err
	}
	s.logTime.Store(uint32(now))
	if s.swept, err = s.loadSecond(metaSwept); err != nil {
		return err
	}
	patrolled, err := s.loadSecond(metaPatrolled)
	if err != nil {
		return err
	}
	s.patrolled = uint32(patrolled)
	rules, _, err := s.db.Get([]byte(metaRules))
	if err != nil {
		return err
	}
	if err := s.loadDictionary(); err != nil {
		return err
	}
	if err := s.loadLists(); err != nil {
		return err
	}
	pending, _, err := s.db.Get([]byte(metaPending))
	if err != nil {
		return err
	}
	s.pendingRules.Store(&[]string{})
	if len(pending) > 0 {
		list := strings.Split(string(pending), "\n")
		s.pendingRules.Store(&list)
	}
	var bad []string
	s.matcher, bad = readableRules(strings.Split(string(rules), "\n"))
	s.reportBadRules(bad)
	return s.loadFilters()
}

// loadSecond reads a time from the meta space; 0 if there is none.
func (s *Store) loadSecond(name string) (rtb.Second, error) {
	value, exists, err := s.db.Get([]byte(name))
	if err != nil || !exists {
		return 0, err
	}
	if len(value) != 4 {
		return 0, fmt.Errorf("cannot read %s of view segments: got %d bytes; want 4: %w", name[1:], len(value), view.ErrDamaged)
	}
	return rtb.Second(binary.BigEndian.Uint32(value)), nil
}

// leastKeys is for how many keys a filter has room at first: 32 KiB.
const leastKeys = 1 << 14

// filterParts is the number of parts of each key space that are read in parallel.
const filterParts = 4

// loadFilters builds the filters from all keys and counts visitors and opt-outs. Key
// spaces are read in parallel parts, because most of the time is spent on decoding the
// blocks.
func (s *Store) loadFilters() error {
	value, _, err := s.db.Get([]byte(metaVisitors))
	if err != nil {
		return err
	}
	visitors := uint64(0)
	if len(value) == 8 {
		visitors = binary.BigEndian.Uint64(value)
	}
	known, gone := newFilter(int(max(leastKeys, min(visitors, 1<<28)*4))), newFilter(leastKeys)
	s.count.outs.Store(0)
	var g errgroup.Group
	for _, space := range []byte{profileSpace, edgeSpace, tombSpace} {
		for part := range filterParts {
			g.Go(func() error {
				return s.eachKey(space, part, func(k rtb.Key) {
					known.add(k)
					if space == tombSpace {
						gone.add(k)
						s.count.outs.Add(1)
					}
				})
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.known.Store(known)
	s.gone.Store(gone)
	for k := range s.pending.all() {
		known.add(k)
	}
	s.count.visitors.Store(int64(visitors))
	return nil
}

// eachKey calls fn for the keys in one part of a space. Keys are hashes, so the parts
// have about the same size.
func (s *Store) eachKey(space byte, part int, fn func(rtb.Key)) error {
	lower, upper := []byte{space, byte(part * 256 / filterParts)}, []byte{space + 1}
	if part < filterParts-1 {
		upper = []byte{space, byte((part + 1) * 256 / filterParts)}
	}
	return s.db.Scan(lower, upper, func(key, _ []byte) error {
		if len(key) == 17 {
			fn(rtb.Key(key[1:]))
		}
		return nil
	})
}

// loadDictionary reads the numbers of segments and advertisers.
func (s *Store) loadDictionary() error {
	value, exists, err := s.db.Get([]byte(metaDict))
	if err != nil {
		return err
	}
	if !exists {
		value = newDictionary().append(nil)
	}
	d := newDictionary()
	if err := d.load(value); err != nil {
		return fmt.Errorf("cannot read dictionary of view segments: %w: %w", view.ErrDamaged, err)
	}
	s.dict.Store(d)
	return nil
}
