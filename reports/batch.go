package reports

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"rebound/rtb"
)

// Bids are remembered so that what becomes of them counts once, and with the impression
// that only the bid's record describes. A batch holds up to batchBids bids of one
// minute: their entries (a hash of the id, and the numbers of the impression's values),
// which never change, and a byte of flags each for what has been counted of them. A
// notice names the time of its bid, so that few batches need to be looked at. Bids are
// forgotten when no more notices about them are charged.

// batchBids bounds the bids of a batch.
const batchBids = 4096

// Limits of what is in memory: batches, of about 250 KB each; among them those whose bids
// have not been written yet; and flags that have not, of 4 KB for each batch.
const (
	maxLoaded  = 64
	maxGrown   = 48
	maxChanged = 2048
)

// timeSlack is by how many seconds the time of a bid in its notices may differ from the
// time of its record.
const timeSlack = 2

// hashBytes is the size of a bid id's hash in an entry. Ids are random, and a hash only
// needs to be unique among the bids of a few seconds.
const hashBytes = 8

// batch is some bids of one minute.
type batch struct {
	id, minute  int64
	first, last int64 // times of its bids, in seconds since 1970
	count       int
	orphans     int // bids without a record, whose notices were counted without an impression

	loaded  bool // all is in memory; otherwise flags are if they have changed
	entries []byte
	flags   []byte         // what has been counted of each bid
	starts  []int32        // of the entries
	index   map[uint64]int // of entries, by hash

	grown, changed bool // entries, or flags, have not been written yet
	used           bool // since the last commit
}

// bid is a bid of a batch.
type bid struct {
	s *batch
	n int
}

func (b bid) seen() int { return int(b.s.flags[b.n]) }

// setSeen notes what has been counted of a bid.
func (t *step) setSeen(b bid, seen int) {
	b.s.flags[b.n] = byte(seen)
	t.change(b.s)
}

// change notes that the flags of a batch must be written.
func (t *step) change(s *batch) {
	if !s.changed {
		s.changed = true
		t.changed++
	}
}

func hashOf(id rtb.BidID) uint64 {
	const odd = 0x9e3779b97f4a7c15
	return (binary.LittleEndian.Uint64(id[:8])*odd ^ bits.RotateLeft64(binary.LittleEndian.Uint64(id[8:]), 29)) * odd
}

// remember adds a bid with the impression of its record. What was counted of the bid before
// the record came stays counted.
func (t *step) remember(id rtb.BidID, o *observation) error {
	was, known, err := t.find(id, o.at, true)
	if err != nil {
		return err
	}
	entry := t.scratch[:0]
	for d := range slotDims {
		entry = binary.AppendUvarint(entry, uint64(o.dims[d]))
	}
	t.scratch = binary.AppendUvarint(entry, uint64(o.dims[dimFormat]))
	seen := 0
	if known {
		seen = was.seen()
	}
	b, err := t.insert(id, o.at, t.scratch)
	if err == nil && seen != 0 {
		t.setSeen(b, seen)
	}
	return err
}

// noImpression is the entry of a bid that has no record.
var noImpression = make([]byte, slotDims+1)

// orphan adds a bid without a record.
func (t *step) orphan(id rtb.BidID, at int64) (bid, error) {
	b, err := t.insert(id, at, noImpression)
	if err == nil {
		b.s.orphans++
	}
	return b, err
}

// insert adds a bid at a time.
func (t *step) insert(id rtb.BidID, at int64, entry []byte) (bid, error) {
	minute := at / 60
	list := t.st.batches[minute]
	if len(list) == 0 || list[len(list)-1].count >= batchBids {
		t.st.lastBatch++
		list = append(list, &batch{id: t.st.lastBatch, minute: minute, first: at, last: at, loaded: true, index: map[uint64]int{}})
		t.st.batches[minute] = list
		t.loaded++
	}
	s := list[len(list)-1]
	if err := t.load(s); err != nil {
		return bid{}, err
	}
	hash, n := hashOf(id), s.count
	s.starts = append(s.starts, int32(len(s.entries)))
	s.entries = append(binary.LittleEndian.AppendUint64(s.entries, hash), entry...)
	s.flags = append(s.flags, 0)
	s.index[hash] = n
	s.first, s.last, s.count = min(s.first, at), max(s.last, at), n+1
	if !s.grown {
		s.grown = true
		t.grown++
	}
	t.change(s)
	return bid{s, n}, nil
}

// find returns the bid with an id that was made at a time; with orphans set, it only looks
// where there are bids without a record.
func (t *step) find(id rtb.BidID, at int64, orphans bool) (b bid, ok bool, err error) {
	hash := hashOf(id)
	for minute := (at - timeSlack) / 60; minute <= (at+timeSlack)/60; minute++ {
		list := t.st.batches[minute]
		for i := len(list) - 1; i >= 0; i-- {
			s := list[i]
			if at < s.first-timeSlack || at > s.last+timeSlack || orphans && s.orphans == 0 {
				continue
			}
			if err := t.load(s); err != nil {
				return b, false, err
			}
			if n, ok := s.index[hash]; ok {
				return bid{s, n}, true, nil
			}
		}
	}
	return b, false, nil
}

// impression sets the dimensions that the record of a bid describes. It changes nothing if
// the bid has no record.
func (b bid) impression(o *observation) error {
	rest := b.s.entries[int(b.s.starts[b.n])+hashBytes:]
	next := func() (uint32, bool) {
		v, n := binary.Uvarint(rest)
		rest = rest[max(n, 0):]
		return uint32(v), n > 0
	}
	for d := range slotDims {
		o.dims[d], _ = next()
	}
	format, ok := next()
	if !ok {
		return errBatch
	}
	if format != 0 {
		o.dims[dimFormat] = format
	}
	return nil
}

// errBatch means that the database was not written by this program.
var errBatch = errors.New("malformed batch of bids; delete the file, and it is built again from the logs")

// load reads a batch into memory.
func (t *step) load(s *batch) error {
	s.used = true
	if s.loaded {
		return nil
	}
	if t.loaded >= maxLoaded {
		t.unload(func(s *batch) bool { return !s.grown })
	}
	ctx := context.WithoutCancel(t.ctx) // half of a notice must not be counted
	var count int
	var flags []byte
	err := t.s.db.QueryRowContext(ctx, "SELECT count, entries, flags FROM bids JOIN flags USING (id) WHERE id = ?", s.id).Scan(&count, &s.entries, &flags)
	if errors.Is(err, sql.ErrNoRows) || err == nil && count != s.count {
		return errMoved
	}
	if err != nil {
		return fmt.Errorf("cannot read bids: %w", err)
	}
	if !s.changed {
		s.flags = flags
	}
	s.index, s.starts = make(map[uint64]int, s.count), s.starts[:0]
	for n, i := 0, 0; n < s.count; n++ {
		if len(s.entries)-i < hashBytes || len(s.flags) != s.count {
			return errBatch
		}
		s.starts = append(s.starts, int32(i))
		s.index[binary.LittleEndian.Uint64(s.entries[i:])] = n
		i += hashBytes
		for range slotDims + 1 {
			_, size := binary.Uvarint(s.entries[i:])
			if size <= 0 {
				return errBatch
			}
			i += size
		}
	}
	s.loaded = true
	t.loaded++
	return nil
}

// unload frees the memory of the batches for which which returns true, but for flags that
// have not been written.
func (t *step) unload(which func(*batch) bool) {
	t.loaded = 0
	for _, list := range t.st.batches {
		for _, s := range list {
			if s.loaded && which(s) {
				s.loaded, s.entries, s.starts, s.index = false, nil, nil, nil
				if !s.changed {
					s.flags = nil
				}
			}
			if s.loaded {
				t.loaded++
			}
		}
	}
}

// writeBatches writes the bids that have changed, and deletes those that are too old.
func (t *step) writeBatches(w *writer, oldest int64) {
	for minute, list := range t.st.batches {
		if minute < oldest {
			continue
		}
		for _, s := range list {
			if s.grown {
				w.exec("INSERT OR REPLACE INTO bids VALUES (?, ?, ?, ?, ?, ?, ?)", s.id, s.minute, s.first, s.last, s.count, s.orphans, s.entries)
			}
			if s.changed {
				w.exec("INSERT OR REPLACE INTO flags VALUES (?, ?)", s.id, s.flags)
			}
		}
	}
	w.exec("DELETE FROM flags WHERE id IN (SELECT id FROM bids WHERE minute < ?)", oldest)
	w.exec("DELETE FROM bids WHERE minute < ?", oldest)
}

// written notes that the batches are on disk, and frees those that are idle.
func (t *step) written(oldest int64) {
	for minute := range t.st.batches {
		if minute < oldest {
			delete(t.st.batches, minute)
		}
	}
	for _, list := range t.st.batches {
		for _, s := range list {
			s.grown, s.changed = false, false
			if !s.loaded {
				s.flags = nil
			}
		}
	}
	t.grown, t.changed = 0, 0
	t.unload(func(s *batch) bool { return !s.used })
	for _, list := range t.st.batches {
		for _, s := range list {
			s.used = false
		}
	}
}

// loadBatches reads which batches the store has.
func (st *state) loadBatches(ctx context.Context, q querier) error {
	return each(ctx, q, "SELECT id, minute, first, last, count, orphans FROM bids ORDER BY id", nil, func(r *sql.Rows) error {
		s := &batch{}
		err := r.Scan(&s.id, &s.minute, &s.first, &s.last, &s.count, &s.orphans)
		st.batches[s.minute] = append(st.batches[s.minute], s)
		st.lastBatch = max(st.lastBatch, s.id)
		return err
	})
}
