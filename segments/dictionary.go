package segments

import (
	"encoding/binary"
	"strings"
	"sync/atomic"

	"rebound/rtb"
)

// dictionary numbers the segments and advertisers of profiles, in the order in which the
// log names them, so that a profile has a byte or two for each instead of eight or more. It
// only grows. The fold adds entries; any goroutine reads those that a stored profile refers
// to.
type dictionary struct {
	ids   atomic.Pointer[[]rtb.SegmentID]
	names atomic.Pointer[[]string]

	// Of the folding goroutine:
	index   map[rtb.SegmentID]uint32
	byName  map[string]uint32
	unsaved bool // has entries that are not in the files
}

func newDictionary() *dictionary {
	d := &dictionary{index: map[rtb.SegmentID]uint32{}, byName: map[string]uint32{}}
	d.ids.Store(&[]rtb.SegmentID{})
	d.names.Store(&[]string{})
	return d
}

// segment returns the number of a segment, which it adds if it is new.
func (d *dictionary) segment(id rtb.SegmentID) uint32 {
	n, ok := d.index[id]
	if !ok {
		list := append(*d.ids.Load(), id)
		n = uint32(len(list) - 1)
		d.index[id], d.unsaved = n, true
		d.ids.Store(&list)
	}
	return n
}

// advertiser returns the number of an advertiser, which it adds if it is new.
func (d *dictionary) advertiser(name string) uint32 {
	n, ok := d.byName[name]
	if !ok {
		name = strings.Clone(name)
		list := append(*d.names.Load(), name)
		n = uint32(len(list) - 1)
		d.byName[name], d.unsaved = n, true
		d.names.Store(&list)
	}
	return n
}

// segmentAt returns the segment with a number; false if there is none.
func (d *dictionary) segmentAt(n uint64) (rtb.SegmentID, bool) {
	if list := *d.ids.Load(); n < uint64(len(list)) {
		return list[n], true
	}
	return 0, false
}

func (d *dictionary) advertiserAt(n uint64) string {
	if list := *d.names.Load(); n < uint64(len(list)) {
		return list[n]
	}
	return ""
}

func (d *dictionary) append(b []byte) []byte {
	ids, names := *d.ids.Load(), *d.names.Load()
	b = binary.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint64(b, uint64(id))
	}
	for _, name := range names {
		b = appendText(b, name)
	}
	return b
}

// load adds the entries that append wrote to an empty dictionary.
func (d *dictionary) load(b []byte) error {
	r := reader{b: b}
	for range r.count(1 << 30) {
		if d.segment(rtb.SegmentID(r.fixed64())); r.bad {
			return errProfile
		}
	}
	for len(r.b) > 0 {
		if d.advertiser(r.text(maxName)); r.bad {
			return errProfile
		}
	}
	d.unsaved = false
	return nil
}

// maxName bounds the names of advertisers and lists.
const maxName = 64
