package reports

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"rebound/events"
	"rebound/rtb"
)

// step is one transaction of the build. What it adds is collected in memory first; then
// all of it is written, unless another process has written in the meantime.
type step struct {
	s       *Store
	st      *state
	find    *sql.Stmt
	tallies []tally
	bids    map[rtb.BidID]*bidState

	newWords   []uint64
	newOrphans map[rtb.BidID][]observation
	adopted    []rtb.BidID // bids whose orphans now have a record
	files      map[string]fileState
	orders     map[string]int64
	currencies map[string]string
	caps       map[string]events.Fact
	adjusted   []events.Fact
	broken     int64
	size       int // records and facts
}

// stepSize is the number of records and facts that one step counts.
const stepSize = 20_000

func (s *Store) newStep(ctx context.Context) (*step, error) {
	t := &step{s: s, st: &s.s, bids: map[rtb.BidID]*bidState{}, newOrphans: map[rtb.BidID][]observation{}, files: map[string]fileState{},
		orders: map[string]int64{}, currencies: map[string]string{}, caps: map[string]events.Fact{}}
	for i := range s.cubes {
		c := &s.cubes[i]
		grain := c.grain
		if grain == 0 {
			grain = s.grain
		}
		t.tallies = append(t.tallies, tally{cube: c, grain: grain, rows: map[cell]*[measures]int64{}})
	}
	var err error
	t.find, err = s.db.PrepareContext(ctx, "SELECT at, seen, slot FROM bids WHERE id = ?")
	return t, err
}

func (t *step) close() { t.find.Close() } //nolint:errcheck // it only frees memory

func (t *step) add(o *observation, sign int64) {
	for i := range t.tallies {
		t.tallies[i].add(o, sign)
	}
}

// record counts a bid record. Outcomes of its bids that came before it are moved to their
// impression.
func (t *step) record(ctx context.Context, r *record) (err error) {
	t.size++
	r.observe(func(o *observation, id *rtb.BidID) {
		if err != nil {
			return
		}
		t.add(o, 1)
		if id == nil || id.IsZero() {
			return
		}
		var b *bidState
		if b, err = t.bid(ctx, *id); err != nil || b.slot != nil {
			return
		}
		b.slot, b.at, b.dirty = t.encodeSlot(o), o.at, true
		if b.seen != 0 {
			err = t.adopt(ctx, *id, b)
		}
	})
	return err
}

// adopt moves what was counted of a bid without a record to the record's impression.
func (t *step) adopt(ctx context.Context, id rtb.BidID, b *bidState) error {
	list := t.newOrphans[id]
	delete(t.newOrphans, id)
	err := each(ctx, t.s.db, "SELECT text FROM orphans WHERE bid = ?", []any{id[:]}, func(rows *sql.Rows) error {
		var text []byte
		var saved orphan
		err := rows.Scan(&text)
		if err == nil {
			err = json.Unmarshal(text, &saved)
		}
		list = append(list, observation{ofNotice, saved.At, saved.Dims, saved.Sum})
		return err
	})
	for i := range list {
		t.add(&list[i], -1)
		t.decodeSlot(&list[i], b.slot)
		t.add(&list[i], 1)
	}
	t.adopted = append(t.adopted, id)
	return err
}

// orphan is an outcome of a bid whose record is not known.
type orphan struct {
	At   int64           `json:"at"`
	Dims [dims]string    `json:"dims"`
	Sum  [measures]int64 `json:"sum"`
}

// fact counts a fact.
func (t *step) fact(ctx context.Context, f *events.Fact) error {
	t.size++
	switch {
	case f.Grant != nil:
		t.caps[f.Grant.Budget.String()] = *f
		t.currency(f.Grant.Budget.Advertiser, f.Currency)
	case f.Adjustment != nil:
		t.adjusted = append(t.adjusted, *f)
	case f.Event != nil:
		return t.order(ctx, f)
	case f.Notice != nil && !f.Notice.BidID.IsZero():
		t.currency(f.Advertiser, f.Currency)
		return t.notice(ctx, f)
	}
	return nil
}

func (t *step) currency(advertiser string, c rtb.Currency) {
	if !c.IsZero() && advertiser != "" {
		t.currencies[advertiser] = c.String()
	}
}

func (t *step) notice(ctx context.Context, f *events.Fact) error {
	id := f.Notice.BidID
	b, err := t.bid(ctx, id)
	if err != nil {
		return err
	}
	o, seen := observeNotice(f, b.seen)
	if o == nil {
		return nil
	}
	if b.seen, b.dirty = seen, true; b.slot == nil {
		b.at = o.at
		t.newOrphans[id] = append(t.newOrphans[id], *o)
	} else {
		t.decodeSlot(o, b.slot)
	}
	t.add(o, 1)
	return nil
}

// order counts an order once by its message id.
func (t *step) order(ctx context.Context, f *events.Fact) error {
	o := observeOrder(f)
	if o == nil {
		return nil
	}
	if _, again := t.orders[f.ID]; again {
		return nil
	}
	var at int64
	err := t.s.db.QueryRowContext(ctx, "SELECT at FROM orders WHERE id = ?", f.ID).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		t.orders[f.ID] = o.at
		t.add(o, 1)
		return nil
	}
	return err
}

// errMoved means that another process has built in the meantime.
var errMoved = errors.New("another process has built the rollups further")

// commit writes the step with the position that the store then reflects.
func (t *step) commit(ctx context.Context, facts events.Position) error {
	tx, err := t.s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var generation int64
	if err := tx.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'generation'").Scan(&generation); err != nil {
		return err
	}
	if generation != t.st.generation {
		return errMoved
	}
	w := &writer{ctx: ctx, tx: tx}
	position, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	w.exec("INSERT OR REPLACE INTO meta VALUES ('generation', ?), ('position', ?), ('broken', ?)", generation+1, string(position), t.st.broken+t.broken)
	for name, f := range t.files {
		w.exec("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", name, f.records, f.bytes, f.packed)
	}
	for _, id := range t.newWords {
		w.exec("INSERT INTO words VALUES (?, ?)", id, t.st.texts[id])
	}
	t.writeBids(w)
	t.writeSmall(w)
	for i := range t.tallies {
		t.writeTally(w, i)
	}
	if w.err == nil {
		w.err = tx.Commit()
	}
	if w.err != nil {
		return w.err
	}
	t.st.generation, t.st.facts = generation+1, facts
	t.st.broken += t.broken
	for name, f := range t.files {
		t.st.files[name] = f
	}
	return nil
}

func (t *step) writeBids(w *writer) {
	for _, id := range t.adopted {
		w.exec("DELETE FROM orphans WHERE bid = ?", id[:])
	}
	var rows [][]any
	for id, b := range t.bids {
		if b.dirty {
			rows = append(rows, []any{append([]byte(nil), id[:]...), b.at, b.seen, b.slot})
		}
	}
	w.many("INSERT OR REPLACE INTO bids VALUES ", "", 4, rows)
	for id, list := range t.newOrphans {
		for i := range list {
			text, err := json.Marshal(orphan{list[i].at, list[i].dims, list[i].sum})
			if w.err == nil {
				w.err = err
			}
			w.exec("INSERT INTO orphans SELECT ?1, COALESCE(MAX(n), 0) + 1, ?2 FROM orphans WHERE bid = ?1", id[:], string(text))
		}
	}
}

func (t *step) writeSmall(w *writer) {
	for id, at := range t.orders {
		w.exec("INSERT OR IGNORE INTO orders VALUES (?, ?)", id, at)
	}
	for advertiser, c := range t.currencies {
		w.exec("INSERT OR REPLACE INTO currencies VALUES (?, ?)", advertiser, c)
	}
	for budget, f := range t.caps {
		w.exec("INSERT OR REPLACE INTO caps VALUES (?, ?, ?)", budget, int64(f.Grant.Cap), f.Currency.String())
	}
	for i := range t.adjusted {
		f := &t.adjusted[i]
		a := f.Adjustment
		w.exec("INSERT OR IGNORE INTO adjustments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", a.Budget.String(), a.Exchange, a.Day.String(), int64(a.Amount), int64(a.LateSpend),
			f.Currency.String(), a.Reason, f.Seq)
	}
}

// maxKeys bounds the keys of a cube that are kept in memory.
const maxKeys = 200_000

// writeTally adds a step's sums to the two tables of a cube.
func (t *step) writeTally(w *writer, i int) {
	c := t.tallies[i].cube
	list := c.measures()
	if len(t.st.keys[i]) > maxKeys {
		clear(t.st.keys[i])
	}
	var set []string
	for _, m := range list {
		set = append(set, fmt.Sprintf("%[1]s = %[1]s + excluded.%[1]s", measureNames[m]))
	}
	conflict := " ON CONFLICT (at, key) DO UPDATE SET " + strings.Join(set, ", ")
	type place struct{ at, key int64 }
	days := map[place]*[measures]int64{}
	var rows [][]any
	for at, sum := range t.tallies[i].rows {
		key := w.key(c, t.st.keys[i], at.key)
		rows = append(rows, sumRow(at.at, key, list, sum))
		day := place{at.at - at.at%dayGrain, key}
		if days[day] == nil {
			days[day] = new([measures]int64)
		}
		for m := range sum {
			days[day][m] += sum[m]
		}
	}
	w.many("INSERT INTO "+c.name+"_fine VALUES ", conflict, 2+len(list), rows)
	rows = rows[:0]
	for at, sum := range days {
		rows = append(rows, sumRow(at.at, at.key, list, sum))
	}
	w.many("INSERT INTO "+c.name+"_days VALUES ", conflict, 2+len(list), rows)
}

func sumRow(at, key int64, list []measure, sum *[measures]int64) []any {
	row := append(make([]any, 0, 2+len(list)), at, key)
	for _, m := range list {
		row = append(row, sum[m])
	}
	return row
}

// writer executes statements until one fails.
type writer struct {
	ctx context.Context
	tx  *sql.Tx
	err error
}

func (w *writer) exec(text string, args ...any) {
	if w.err == nil {
		_, w.err = w.tx.ExecContext(w.ctx, text, args...)
	}
}

// batch is the number of rows of one statement.
const batch = 50

// many inserts rows of n columns, many with one statement.
func (w *writer) many(insert, end string, n int, rows [][]any) {
	if len(rows) == 0 || w.err != nil {
		return
	}
	values := "(?" + strings.Repeat(", ?", n-1) + ")"
	full, err := w.tx.PrepareContext(w.ctx, insert+values+strings.Repeat(", "+values, batch-1)+end)
	if err != nil {
		w.err = err
		return
	}
	defer full.Close() //nolint:errcheck // it only frees memory
	args := make([]any, 0, batch*n)
	for ; len(rows) >= batch && w.err == nil; rows = rows[batch:] {
		args = args[:0]
		for _, r := range rows[:batch] {
			args = append(args, r...)
		}
		_, w.err = full.ExecContext(w.ctx, args...)
	}
	for _, r := range rows {
		w.exec(insert+values+end, r...)
	}
}

// key returns the id of a key of a cube, which is inserted if it is new.
func (w *writer) key(c *cube, known map[string]int64, text string) int64 {
	if id, ok := known[text]; ok || w.err != nil {
		return id
	}
	var names, marks []string
	var args []any
	for i, v := range strings.Split(strings.TrimSuffix(text, string(rune(separator))), string(rune(separator))) {
		names, marks, args = append(names, dimNames[c.dims[i]]), append(marks, "?"), append(args, v)
	}
	columns := strings.Join(names, ", ")
	w.exec("INSERT OR IGNORE INTO "+c.name+"_keys ("+columns+") VALUES ("+strings.Join(marks, ", ")+")", args...)
	var id int64
	if w.err == nil {
		w.err = w.tx.QueryRowContext(w.ctx, "SELECT id FROM "+c.name+"_keys WHERE ("+columns+") = ("+strings.Join(marks, ", ")+")", args...).Scan(&id)
	}
	if w.err == nil {
		known[text] = id
	}
	return id
}
