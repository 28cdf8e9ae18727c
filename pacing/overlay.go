package pacing

import (
	"bytes"
	"maps"
	"slices"

	"rebound/internal/view"
)

// overlay holds the writes of the current Apply, so that the fold reads them before they
// are committed. Its memory is bounded by the size of an Apply.
type overlay struct {
	db     view.Reader
	writes map[string][]byte // by key; nil: deleted
}

func newOverlay(db view.Reader) *overlay { return &overlay{db: db, writes: map[string][]byte{}} }

// get returns the value of a key; nil if there is none.
func (o *overlay) get(key []byte) ([]byte, error) {
	if value, written := o.writes[string(key)]; written {
		return value, nil
	}
	value, exists, err := o.db.Get(key)
	if !exists {
		return nil, err
	}
	return value, err
}

// put keeps value, which must not change. It is not empty.
func (o *overlay) put(key, value []byte) { o.writes[string(key)] = value }

func (o *overlay) delete(key []byte) { o.writes[string(key)] = nil }

// stored is one key with its value.
type stored struct{ key, value []byte }

// list returns the keys from lower up to, but not including, upper, in order.
func (o *overlay) list(lower, upper []byte) ([]stored, error) {
	var found []stored
	err := o.db.Scan(lower, upper, func(key, value []byte) error {
		if _, written := o.writes[string(key)]; !written {
			found = append(found, stored{bytes.Clone(key), bytes.Clone(value)})
		}
		return nil
	})
	for key, value := range o.writes {
		if value != nil && key >= string(lower) && key < string(upper) {
			found = append(found, stored{[]byte(key), value})
		}
	}
	slices.SortFunc(found, func(a, b stored) int { return bytes.Compare(a.key, b.key) })
	return found, err
}

// commit writes the changes to a batch, in the order of their keys.
func (o *overlay) commit(b *view.Batch) error {
	for _, key := range slices.Sorted(maps.Keys(o.writes)) {
		value := o.writes[key]
		var err error
		if value == nil {
			err = b.Delete([]byte(key))
		} else {
			err = b.Set([]byte(key), value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// committed forgets the changes, which are on disk or were given up.
func (o *overlay) committed() { clear(o.writes) }
