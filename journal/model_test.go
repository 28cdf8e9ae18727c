package journal

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/events"
)

// packed waits until every file but the newest is packed, or could not be.
func packed(t testing.TB, l *Log) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		names, err := l.o.disk.List(l.o.FactsDir)
		if err != nil {
			t.Fatal(err)
		}
		files, _ := l.files.snapshot()
		plain := slices.IndexFunc(names, func(name string) bool {
			_, isPacked, ok := parseName(name)
			return ok && !isPacked && name != files[len(files)-1].name()
		})
		if plain < 0 || l.meter.sealErrors.Load() > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not packed", names[plain])
		}
	}
}

// world is a data folder to which things happen, and what is known about it by
// other means.
type world struct {
	t    testing.TB
	rnd  *rand.Rand
	o    Options
	now  *clock
	disk mixedDisk
	view *tape

	all    []known // every fact that was ever acknowledged, in order
	gone   []known // those that are lost although nothing could show it
	named  []events.AcceptLoss
	forked bool   // the log was replaced with one that has other facts at the same sequences
	blow   bool   // something was done that may have lost facts
	copied image  // a copy of the log with every fact up to then
	older  image  // the log at an earlier time
	olderV *tape  // the view at an earlier time
	head   []byte // an older head
	story  []string
}

// known is a fact that was acknowledged.
type known struct {
	seq   uint64
	id    string
	maybe bool // no remaining record shows that it existed
}

func newWorld(t testing.TB, seed uint64) *world {
	r := newRig(t)
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), now: r.now, disk: mixedDisk{newMemDisk()}, view: newTape("v"), o: r.o}
	if err := w.disk.MkdirAll(w.o.Dir); err != nil {
		t.Fatal(err)
	}
	w.o.FactsDir = filepath.Join(w.o.Dir, "log", "facts")
	w.o.FileBytes, w.o.FileAge = 2_000, 10_000*time.Hour
	return w
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter:\n  %s", fmt.Sprintf(format, args...), strings.Join(w.story, "\n  "))
}

// place is how a message names a place in the log.
var place = regexp.MustCompile(`(\.ndjson|\.zst)(:[1-9][0-9]*)?`)

// run opens the log, lets the view catch up, appends, and stops in some way. It
// reports whether the log said that something is wrong.
func (w *world) run() (wrong bool) {
	w.t.Helper()
	w.o.disk, w.o.Views = w.disk, []View{w.view}
	l, err := Open(ctxOf(w.t), w.o)
	if err != nil {
		if !w.blow || !strings.Contains(err.Error(), w.o.Dir) {
			w.fatal("open: %v", err)
		}
		w.tell("open refused: %v", err)
		return true
	}
	wrong = w.follow(l)
	for range w.rnd.IntN(4) {
		w.append(l, 1+w.rnd.IntN(5))
	}
	if w.rnd.IntN(3) == 0 {
		w.now.add(2 * time.Hour) // a checkpoint is due
		w.tell("checkpoint due")
	}
	wrong = w.follow(l) || wrong
	if w.rnd.IntN(2) == 0 {
		w.append(l, 1+w.rnd.IntN(3)) // the view does not see these
	}
	wrong = wrong || l.BlindReason() != ""
	w.stop(l)
	return wrong
}

// follow lets the view catch up and compares it with what is known.
func (w *world) follow(l *Log) (wrong bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(ctxOf(w.t))
	defer cancel()
	err := l.Follow(ctx, w.view, cancel)
	why := l.BlindReason()
	switch {
	case err != nil:
		if !w.blow || !place.MatchString(err.Error()) {
			w.fatal("follow: %v", err)
		}
		w.tell("follow stops: %v", err)
		return true
	case why != "":
		if !w.blow {
			w.fatal("blind: %s", why)
		}
		w.tell("blind: %s", why)
		return true
	}
	w.compare()
	return false
}

// compare checks that the view holds what is known, and nothing else.
func (w *world) compare() {
	w.t.Helper()
	at := map[string]int{}
	for i := range w.all {
		at[w.all[i].id] = i
	}
	back := map[string]bool{} // facts that were not missed may be restored from a copy
	for _, k := range w.gone {
		back[k.id] = true
	}
	last, held := -1, map[string]bool{}
	for _, id := range w.view.ids {
		if id == "base" || back[id] { // base only states where a view continues after a beginning that was given up
			continue
		}
		i, ok := at[id]
		if !ok || i <= last {
			w.fatal("view holds %s after fact number %d, which is not the order of the facts", id, last)
		}
		last, held[id] = i, true
	}
	kept := w.all[:0:0]
	for _, k := range w.all {
		switch {
		case held[k.id]:
			k.maybe = false
		case w.givenUp(k.seq):
		case k.maybe:
			w.gone = append(w.gone, k)
			continue
		default:
			w.fatal("fact %s (%d) is missing from the view without a word; it holds %d facts up to %d", k.id, k.seq, len(w.view.ids), w.view.pos.Seq)
		}
		kept = append(kept, k)
	}
	w.all = kept
}

func (w *world) givenUp(seq uint64) bool {
	return slices.ContainsFunc(w.named, func(a events.AcceptLoss) bool { return a.From <= seq && seq <= a.To })
}

// append adds facts, whose sequences must be above every one that was seen.
func (w *world) append(l *Log, n int) {
	w.t.Helper()
	facts := make([]events.Fact, n)
	for i := range facts {
		facts[i] = event(fmt.Sprintf("f%d", len(w.all)+i))
		facts[i].ID += fmt.Sprintf("-%d", w.rnd.IntN(1_000_000))
	}
	if err := l.Append(ctxOf(w.t), facts...); err != nil {
		w.fatal("append: %v", err)
	}
	seen := w.seen()
	last := l.Last().Seq
	for i := range facts {
		seq := last - uint64(n-1-i)
		if seq <= seen {
			w.fatal("fact %s got sequence %d; want one above %d", facts[i].ID, seq, seen)
		}
		w.all = append(w.all, known{seq: seq, id: facts[i].ID})
	}
	w.tell("append up to %d", last)
}

// seen is the highest sequence of a fact that must not have been lost.
func (w *world) seen() (seq uint64) {
	for _, k := range w.all {
		if !k.maybe {
			seq = max(seq, k.seq)
		}
	}
	return seq
}

// stop ends a run: cleanly, by a kill, or by a power cut.
func (w *world) stop(l *Log) {
	w.t.Helper()
	if w.rnd.IntN(3) > 0 {
		packed(w.t, l)
	}
	switch w.rnd.IntN(4) {
	case 0:
		after := w.disk.cut(w.rnd, 100)
		closeLog(w.t, l)
		w.disk = mixedDisk{after}
		w.tell("killed")
	case 1:
		after := w.disk.cut(w.rnd, w.rnd.IntN(101))
		closeLog(w.t, l)
		w.disk = mixedDisk{after}
		w.tell("power cut")
	default:
		closeLog(w.t, l)
		w.tell("closed")
	}
}

// evidence returns the highest sequence recorded anywhere but in the log's own lines.
func (w *world) evidence() (seq uint64) {
	seq = w.view.pos.Seq
	c := &catalog{d: w.disk, dir: w.o.FactsDir}
	if h, ok, _ := readHead(c); ok {
		seq = max(seq, h.Seq)
	}
	list, err := checkpoints(w.disk, w.o.Dir, "v")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range list {
		seq = max(seq, p.Seq)
	}
	if b, err := readBlindFile(w.disk, w.o.Dir); err == nil && b != nil {
		seq = max(seq, b.Seen)
	}
	return seq
}

// happen changes the data folder in some way while no process uses it.
func (w *world) happen() {
	w.t.Helper()
	now := imageOf(w.t, w.disk, w.o.FactsDir)
	if !w.blow {
		w.copied = now
	}
	if w.rnd.IntN(3) == 0 {
		w.older, w.head = now, now[headName]
		w.olderV = &tape{name: "v", ids: slices.Clone(w.view.ids), pos: w.view.pos, moved: make(chan struct{}, 1)}
	}
	if w.rnd.IntN(2) == 0 {
		w.harmless()
	}
	if w.rnd.IntN(3) == 0 {
		w.harmful(now)
	}
	e := w.evidence()
	for i := range w.all {
		w.all[i].maybe = w.all[i].maybe || w.blow && w.all[i].seq > e
	}
}

// harmless makes a change that must not affect the final state of the view.
func (w *world) harmless() {
	switch w.rnd.IntN(5) {
	case 0:
		w.tell("view lost")
		w.view = newTape("v")
	case 1:
		if w.olderV != nil && !w.blow {
			w.tell("older view, at %d", w.olderV.pos.Seq)
			w.view, w.olderV = w.olderV, nil
		}
	case 2:
		w.tell("checkpoints lost")
		if err := os.RemoveAll(filepath.Join(w.o.Dir, "checkpoints")); err != nil {
			w.t.Fatal(err)
		}
	case 3:
		w.tell("head deleted")
		remove(w.t, w.disk, filepath.Join(w.o.FactsDir, headName))
	case 4:
		if w.head != nil && !w.blow {
			w.tell("older head: %s", w.head)
			put(w.t, w.disk, filepath.Join(w.o.FactsDir, headName), w.head)
		}
	}
}

// harmful makes a change that may lose facts.
func (w *world) harmful(now image) {
	names := now.logs()
	path := func(name string) string { return filepath.Join(w.o.FactsDir, name) }
	if len(names) == 0 {
		return
	}
	w.blow = true
	i := w.rnd.IntN(len(names))
	switch w.rnd.IntN(8) {
	case 0:
		if w.older != nil {
			w.tell("older copy of the log: %v", w.older.logs())
			w.older.restore(w.t, w.disk, w.o.FactsDir)
			w.forked = w.forked || len(w.gone) > 0 || slices.ContainsFunc(w.all, func(k known) bool { return k.maybe })
		}
	case 1:
		w.tell("newest file deleted: %s", names[len(names)-1])
		remove(w.t, w.disk, path(names[len(names)-1]))
	case 2:
		w.tell("file deleted: %s", names[i])
		remove(w.t, w.disk, path(names[i]))
	case 3:
		w.tell("first file deleted: %s", names[0])
		remove(w.t, w.disk, path(names[0]))
	case 4, 5:
		b := bytes.Clone(now[names[i]])
		at := w.rnd.IntN(len(b))
		b[at] ^= 1 << w.rnd.IntN(8)
		w.tell("bit flipped in %s at %d of %d", names[i], at, len(b))
		put(w.t, w.disk, path(names[i]), b)
	case 6:
		b := now[names[i]]
		n := w.rnd.IntN(len(b))
		w.tell("%s cut to %d of %d", names[i], n, len(b))
		put(w.t, w.disk, path(names[i]), b[:n])
	case 7:
		j := w.rnd.IntN(len(names))
		w.tell("%s and %s swapped", names[i], names[j])
		put(w.t, w.disk, path(names[i]), now[names[j]])
		put(w.t, w.disk, path(names[j]), now[names[i]])
	}
}

// resolve handles a loss as an operator would: it repairs the log from the
// copy, or accepts the loss.
func (w *world) resolve() {
	w.t.Helper()
	if w.copied != nil && w.rnd.IntN(2) == 0 && w.repair() {
		return
	}
	if w.forked { // nothing can say where the two logs parted
		lines := strings.Join(imageOf(w.t, w.disk, w.o.FactsDir).lines(w.t), "\n")
		for i := range w.all {
			w.all[i].maybe = w.all[i].maybe || !strings.Contains(lines, `"id":"`+w.all[i].id+`"`)
		}
		w.forked = false
	}
	for range 2 { // what the start notices is accepted the second time
		given, err := acceptDamage(w.disk, w.o.FactsDir)
		w.tell("accept: %v, %v", given, err)
		if err != nil {
			w.fatal("accept: %v", err)
		}
		w.named = append(w.named, given...)
		w.o.disk, w.o.Views = w.disk, []View{w.view}
		l, err := Open(ctxOf(w.t), w.o)
		if err != nil {
			w.fatal("open after acceptance: %v", err)
		}
		ctx, cancel := context.WithCancel(ctxOf(w.t))
		err = l.Follow(ctx, w.view, cancel)
		cancel()
		if err != nil {
			w.fatal("follow after acceptance: %v", err)
		}
		w.append(l, 1)
		closeLog(w.t, l)
		if err := clearBlind(w.disk, w.o.Dir, w.o.FactsDir); err != nil {
			w.fatal("clear blind.json: %v", err)
		}
	}
	r, err := verify(w.disk, w.o.FactsDir, events.Position{}, nil)
	if err != nil || !r.OK() {
		w.fatal("verify after acceptance: %+v, %v", r, err)
	}
	w.blow, w.olderV, w.head = false, nil, nil
	w.tell("accepted")
}

// repair reports whether everything could be repaired from the copy.
func (w *world) repair() bool {
	w.t.Helper()
	from := filepath.Join(w.o.Dir, "copy")
	w.copied.restore(w.t, w.disk, from)
	before := w.copied.lines(w.t)
	mended, err := repair(w.disk, w.o.FactsDir, from)
	w.tell("repair: %v, %v", mended, err)
	if err != nil {
		return false
	}
	r, err := verify(w.disk, w.o.FactsDir, events.Position{}, nil)
	if err != nil || !r.OK() {
		w.fatal("verify after repair: %+v, %v", r, err)
	}
	if r.Last.Seq < w.seen() {
		w.tell("the copy ends before %d", w.seen())
		return false
	}
	b, err := readBlindFile(w.disk, w.o.Dir)
	if err != nil {
		w.fatal("%v", err)
	}
	if b != nil {
		ok, err := proven(w.disk, w.o.FactsDir, b)
		if err != nil {
			w.fatal("proven: %v", err)
		}
		if !ok {
			w.tell("not proven: %+v", b)
			return false
		}
		if err := clearBlind(w.disk, w.o.Dir, w.o.FactsDir); err != nil {
			w.fatal("clear blind.json: %v", err)
		}
	}
	after := map[string]bool{}
	for _, line := range imageOf(w.t, w.disk, w.o.FactsDir).lines(w.t) {
		after[line] = true
	}
	for _, line := range before {
		isKnown := func(k known) bool { return !k.maybe && strings.Contains(line, `"id":"`+k.id+`"`) }
		if slices.ContainsFunc(w.all, isKnown) && !after[line] {
			w.fatal("this line is not there after repair: %s", line)
		}
	}
	w.blow = false
	w.tell("repaired")
	return true
}

// Whatever happens to the files of a data folder, a view ends with exactly the facts
// that were acknowledged, or the log says that something is missing; new facts are
// numbered above all that were seen.
func TestModel(t *testing.T) { model(t, 0, 15) }

// The same with more seeds.
func TestProveModel(t *testing.T) {
	prove(t)
	model(t, 15, 2000)
}

func model(t *testing.T, from, to uint64) {
	for seed := from; seed < to; seed++ {
		w := newWorld(t, seed)
		w.tell("seed %d", seed)
		for range 12 {
			if w.run() || w.blow && w.rnd.IntN(4) == 0 {
				w.resolve()
			}
			w.happen()
		}
		if t.Failed() {
			t.Fatalf("after:\n  %s", strings.Join(w.story, "\n  "))
		}
	}
}
