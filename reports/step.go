package reports

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// step is what has been counted since the last commit. It is collected in memory, over
// several updates; then all of it is written in one transaction, unless another process has
// written in the meantime.
type step struct {
	s       *Store
	st      *state
	ctx     context.Context // of the present update
	tallies []tally
	byKind  [kinds][]*tally // those whose cubes have a kind, without those that are summed up from another
	loaded  int             // batches in memory
	grown   int             // batches whose bids must be written
	changed int             // batches whose flags must be

	began      time.Time       // when the first of it was counted
	now        time.Time       // of the present update
	complete   time.Time       // the records of bids before it have been counted, if they exist
	facts      events.Position // of the last fact that was counted
	files      map[string]fileState
	words      int // texts that are stored already
	orders     map[string]int64
	currencies map[string]string
	caps       map[string]events.Fact
	adjusted   []events.Fact
	broken     int64
	records    int // that were counted
	counted    int // facts that were counted

	waiting       [kinds][]observation // that are not in the tallies yet, by kind
	request, part observation          // of the present record; scratch memory
	scratch       []byte
	converted     []byte
	agents        map[string]uint32 // browsers by user agent
}

func (s *Store) newStep(st *state) *step {
	t := &step{s: s, st: st, facts: st.facts, files: map[string]fileState{}, words: len(st.texts), orders: map[string]int64{}, currencies: map[string]string{},
		caps: map[string]events.Fact{}, agents: map[string]uint32{}}
	t.tallies = make([]tally, len(s.cubes))
	for i := range s.cubes {
		t.tallies[i] = newTally(&s.cubes[i], s.grainOf(i))
		for k := range t.byKind {
			if s.cubes[i].kinds&(1<<k) != 0 && s.sourceOf(i) == i {
				t.byKind[k] = append(t.byKind[k], &t.tallies[i])
			}
		}
	}
	return t
}

// maxWaiting is the number of observations of a kind that are counted together.
const maxWaiting = 64

// add counts an observation.
func (t *step) add(o *observation) {
	k := o.kind.index()
	if t.waiting[k] = append(t.waiting[k], *o); len(t.waiting[k]) == maxWaiting {
		t.sumUp(k)
	}
}

// sumUp adds the waiting observations of a kind to one tally after the other, so that the
// memory of each stays in the processor's caches meanwhile.
func (t *step) sumUp(k int) {
	for _, tally := range t.byKind[k] {
		tally.add(t.waiting[k])
	}
	t.waiting[k] = t.waiting[k][:0]
}

// full reports whether the step needs too much memory to go on.
func (t *step) full() bool {
	cells := 0
	for i := range t.tallies {
		cells += t.tallies[i].rows
	}
	return cells >= t.s.o.cells || t.grown >= maxGrown || t.changed >= maxChanged
}

// empty reports whether the step has nothing to commit.
func (t *step) empty() bool {
	return t.records+t.counted == 0 && t.broken == 0 && len(t.files) == 0
}

// fact counts a fact. It returns false if the fact must be counted later.
func (t *step) fact(f *events.Fact) (bool, error) {
	switch {
	case f.Grant != nil:
		t.caps[f.Grant.Budget.String()] = *f
		t.currency(f.Grant.Budget.Advertiser, f.Currency)
	case f.Adjustment != nil:
		t.adjusted = append(t.adjusted, *f)
	case f.Event != nil:
		return true, t.order(f)
	case f.Notice != nil && !f.Notice.BidID.IsZero():
		t.currency(f.Advertiser, f.Currency)
		return t.notice(f)
	}
	return true, nil
}

func (t *step) currency(advertiser string, c rtb.Currency) {
	if !c.IsZero() && advertiser != "" {
		t.currencies[advertiser] = c.String()
	}
}

// oldest returns the first minute whose bids are remembered: notices about earlier ones are
// not charged any more. A fact with a time in the future, from a clock that was wrong, must
// not make all be forgotten.
func (t *step) oldest() int64 {
	at := t.facts.Time
	if at.After(t.now) {
		at = t.now
	}
	return max(at.Add(-t.s.o.Keep).Unix()/60, 0)
}

// errMoved means that another process has built in the meantime.
var errMoved = errors.New("another process has built the rollups further")

// commit writes the step with the position that the store then reflects, and begins the
// next one.
func (t *step) commit(ctx context.Context) error {
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
	for k := range t.waiting {
		t.sumUp(k)
	}
	w := &writer{ctx: ctx, tx: tx, rest: t.s.rest}
	oldest := t.oldest()
	t.writeSmall(w, generation+1)
	t.writeBatches(w, oldest)
	for i := range t.tallies {
		t.writeTally(w, i)
	}
	if w.err == nil {
		w.err = tx.Commit()
	}
	if w.err != nil {
		return w.err
	}
	t.st.generation, t.st.facts = generation+1, t.facts
	t.st.broken += t.broken
	for name, f := range t.files {
		t.st.files[name] = f
	}
	t.written(oldest)
	t.reset()
	return nil
}

// reset begins the next step with the memory of the last one.
func (t *step) reset() {
	for i := range t.tallies {
		t.tallies[i].clear()
	}
	for k := range t.waiting {
		t.waiting[k] = t.waiting[k][:0]
	}
	clear(t.files)
	clear(t.orders)
	clear(t.currencies)
	clear(t.caps)
	t.adjusted, t.broken, t.records, t.counted, t.words, t.began = nil, 0, 0, 0, len(t.st.texts), time.Time{}
}

// writeSmall writes everything but bids and sums.
func (t *step) writeSmall(w *writer, generation int64) {
	position, err := json.Marshal(t.facts)
	if err != nil {
		w.err = err
	}
	w.exec("INSERT OR REPLACE INTO meta VALUES ('generation', ?), ('position', ?), ('broken', ?)", generation, string(position), t.st.broken+t.broken)
	for name, f := range t.files {
		w.exec("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", name, f.records, f.bytes, f.packed)
	}
	for id := t.words; id < len(t.st.texts); id++ {
		w.exec("INSERT INTO words VALUES (?, ?)", id, t.st.texts[id])
	}
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

// writeTally adds a step's sums to the two tables of a cube.
func (t *step) writeTally(w *writer, i int) {
	fine, c := &t.tallies[i], &t.s.cubes[i]
	if n := t.s.sourceOf(i); n != i {
		fine = t.tallies[n].by(c, fine.grain)
	}
	var set []string
	for _, m := range fine.list {
		set = append(set, fmt.Sprintf("%[1]s = %[1]s + excluded.%[1]s", measureNames[m]))
	}
	conflict := " ON CONFLICT DO UPDATE SET " + strings.Join(set, ", ")
	for end, of := range map[string]*tally{"_fine": fine, "_days": fine.by(c, dayGrain)} {
		list := of.sorted()
		w.many("INSERT INTO "+c.name+end+" VALUES ", conflict, len(list), func(n int, numbers []int64) []int64 { return of.numbers(list[n], numbers) })
	}
}

// writer executes statements until one fails. It rests between them.
type writer struct {
	ctx  context.Context
	tx   *sql.Tx
	rest func(context.Context) error
	err  error
}

func (w *writer) exec(text string, args ...any) {
	if w.err == nil {
		_, w.err = w.tx.ExecContext(w.ctx, text, args...)
	}
	if w.err == nil {
		w.err = w.rest(w.ctx)
	}
}

// rowsAtOnce is the number of rows of a statement: writing them takes a millisecond or so.
const rowsAtOnce = 100

// many inserts n rows of whole numbers, which row appends. They are literals of the statement, because
// the driver parses a statement each time and binds many arguments slowly.
func (w *writer) many(insert, end string, n int, row func(i int, numbers []int64) []int64) {
	var text []byte
	var numbers []int64
	for i := 0; i < n && w.err == nil; {
		text = append(text[:0], insert...)
		for first := i; i < n && i < first+rowsAtOnce; i++ {
			next := byte('(')
			if i > first {
				text = append(text, ',')
			}
			numbers = row(i, numbers[:0])
			for _, v := range numbers {
				text = strconv.AppendInt(append(text, next), v, 10)
				next = ','
			}
			text = append(text, ')')
		}
		w.exec(string(append(text, end...)))
	}
}
