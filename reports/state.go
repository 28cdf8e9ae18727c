package reports

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strconv"

	"rebound/events"
	"rebound/rtb"
)

// fileState is how far a file of the bid log has been counted. Records stay in order when
// the file is packed or data in it is erased; bytes apply to the plain file only.
type fileState struct {
	records, bytes int64
	packed         bool // it was counted to its end, and never grows again
}

// state is what the builder knows of the store between two steps.
type state struct {
	generation int64 // changes with every step of any process; -1: not loaded
	facts      events.Position
	files      map[string]fileState
	words      map[string]uint64
	texts      []string // of the words, by id
	keys       []map[string]int64
	broken     int64
	orphans    int64 // number of outcomes whose bid has no record yet
	loaded     bool
}

// bidState is what has been counted of one bid.
type bidState struct {
	at    int64
	seen  int
	slot  []byte // the words of its impression; nil if its record is unknown
	dirty bool
}

// load reads the state of the store.
func (s *Store) load(ctx context.Context) error {
	st := state{files: map[string]fileState{}, words: map[string]uint64{"": 0}, texts: []string{""}, keys: make([]map[string]int64, len(s.cubes)), loaded: true}
	for i := range st.keys {
		st.keys[i] = map[string]int64{}
	}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	err = each(ctx, tx, "SELECT name, value FROM meta", nil, func(r *sql.Rows) error {
		var name, value string
		if err := r.Scan(&name, &value); err != nil {
			return err
		}
		return st.meta(name, value)
	})
	if err != nil {
		return err
	}
	err = each(ctx, tx, "SELECT name, records, bytes, packed FROM files", nil, func(r *sql.Rows) error {
		var name string
		var f fileState
		err := r.Scan(&name, &f.records, &f.bytes, &f.packed)
		st.files[name] = f
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, tx, "SELECT id, text FROM words ORDER BY id", nil, func(r *sql.Rows) error {
		var id uint64
		var text string
		err := r.Scan(&id, &text)
		st.words[text] = id
		st.texts = append(st.texts, text)
		return err
	})
	if err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM orphans").Scan(&st.orphans); err != nil {
		return err
	}
	s.s = st
	return nil
}

func (st *state) meta(name, value string) (err error) {
	switch name {
	case "generation":
		st.generation, err = strconv.ParseInt(value, 10, 64)
	case "broken":
		st.broken, err = strconv.ParseInt(value, 10, 64)
	case "position":
		err = json.Unmarshal([]byte(value), &st.facts)
	}
	return err
}

// bid returns the state of a bid; of a new one if the store does not know it.
func (t *step) bid(ctx context.Context, id rtb.BidID) (*bidState, error) {
	if b := t.bids[id]; b != nil {
		return b, nil
	}
	b := &bidState{}
	err := t.find.QueryRowContext(ctx, id[:]).Scan(&b.at, &b.seen, &b.slot)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	t.bids[id] = b
	return b, nil
}

// encodeSlot returns the words of an observation's impression.
func (t *step) encodeSlot(o *observation) []byte {
	b := make([]byte, 0, 2*int(slotDims))
	for d := range slotDims {
		b = binary.AppendUvarint(b, t.word(o.dims[d]))
	}
	return binary.AppendUvarint(b, t.word(o.dims[dimFormat]))
}

// decodeSlot sets the dimensions of an impression.
func (t *step) decodeSlot(o *observation, slot []byte) {
	for d := range slotDims {
		id, n := binary.Uvarint(slot)
		o.dims[d], slot = t.st.texts[id], slot[n:]
	}
	if id, _ := binary.Uvarint(slot); t.st.texts[id] != "" {
		o.dims[dimFormat] = t.st.texts[id]
	}
}

func (t *step) word(text string) uint64 {
	id, ok := t.st.words[text]
	if !ok {
		id = uint64(len(t.st.texts))
		t.st.words[text] = id
		t.st.texts = append(t.st.texts, text)
		t.newWords = append(t.newWords, id)
	}
	return id
}
