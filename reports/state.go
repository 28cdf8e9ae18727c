package reports

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"

	"rebound/events"
)

// fileState is how far a file of the bid log has been counted. Records stay in order when
// the file is packed or data in it is erased; bytes apply to the plain file only.
type fileState struct {
	records, bytes int64
	packed         bool // it was counted to its end, and never grows again
}

// state is what the builder knows of the store.
type state struct {
	generation int64 // changes with every commit of any process
	facts      events.Position
	files      map[string]fileState
	words      map[string]uint32
	texts      []string // of the words, by number
	batches    map[int64][]*batch
	lastBatch  int64
	broken     int64
}

// readState reads the state of the store.
func (s *Store) readState(ctx context.Context) (*state, error) {
	st := &state{files: map[string]fileState{}, words: map[string]uint32{}, batches: map[int64][]*batch{}}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
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
		return nil, err
	}
	err = each(ctx, tx, "SELECT name, records, bytes, packed FROM files", nil, func(r *sql.Rows) error {
		var name string
		var f fileState
		err := r.Scan(&name, &f.records, &f.bytes, &f.packed)
		st.files[name] = f
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, tx, "SELECT text FROM words ORDER BY id", nil, func(r *sql.Rows) error {
		var text string
		err := r.Scan(&text)
		st.words[text] = uint32(len(st.texts))
		st.texts = append(st.texts, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	return st, st.loadBatches(ctx, tx)
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
