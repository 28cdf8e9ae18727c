package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"rebound/events"
)

// Report is the result of Verify.
type Report struct {
	Log    string
	Files  int
	Facts  uint64
	First  uint64          // first sequence of the log
	Last   events.Position // position of the newest fact
	Damage []DamageError
	// Lost lists sequences that no file has, because facts were lost and later facts
	// were given higher sequences.
	Lost []events.AcceptLoss
	// Accepted are losses that were accepted; they no longer count as damage.
	Accepted []events.AcceptLoss
	Torn     int64 // bytes of an incomplete line at the end: a process is writing, or was killed
	Erased   uint64
}

// OK reports whether no fact is missing or damaged.
func (r *Report) OK() bool { return len(r.Damage) == 0 && len(r.Lost) == 0 }

// Verify reads the whole log of a folder against its chain, files in parallel. The
// folder may be in use. anchor, unless it is zero, is a head noted earlier, which
// the log must still contain. progress, which may be nil, gets the bytes read of
// each file when it is done.
func Verify(factsDir string, anchor events.Position, progress func(done, all int64)) (*Report, error) {
	return verify(osDisk{}, factsDir, anchor, progress)
}

func verify(d disk, factsDir string, anchor events.Position, progress func(done, all int64)) (r *Report, err error) {
	for range 10 {
		changed := false
		if r, changed, err = verifyOnce(d, factsDir, anchor, progress); !changed {
			break
		}
	}
	return r, err
}

// verifyOnce reads the log once. If it found damage, changed reports whether files
// were packed or deleted meanwhile, so that the damage may be none.
func verifyOnce(d disk, factsDir string, anchor events.Position, progress func(done, all int64)) (report *Report, changed bool, err error) {
	before, err := d.List(factsDir)
	if err != nil {
		return nil, false, fmt.Errorf("cannot list log files: %w", err)
	}
	r, err := verifyFiles(d, factsDir, anchor, progress)
	if err != nil || r.OK() {
		return r, false, err
	}
	after, err := d.List(factsDir)
	for _, name := range before {
		if _, _, ok := parseName(name); ok && !slices.Contains(after, name) {
			changed = true
		}
	}
	return r, changed, err
}

func verifyFiles(d disk, factsDir string, anchor events.Position, progress func(done, all int64)) (*Report, error) {
	// The head is read first, so that facts that are written meanwhile are above it.
	noted, known, err := readHead(&catalog{d: d, dir: factsDir})
	if err != nil {
		return nil, err
	}
	c, err := openCatalog(d, factsDir)
	if err != nil {
		return nil, err
	}
	files, accepted := c.snapshot()
	r := &Report{Files: len(files)}
	for _, s := range accepted {
		r.Accepted = append(r.Accepted, events.AcceptLoss{From: s.From, To: s.To})
	}
	if len(files) == 0 {
		return r, nil
	}
	r.Log, r.First = files[0].header.Log, files[0].header.After+1
	v := &verifier{c: c, files: files, noted: noted.Seq, anchor: anchor, report: r, progress: progress}
	v.run()
	if why := c.beginning(); why != "" {
		r.Damage = append(r.Damage, DamageError{File: c.path(files[0].name()), Line: 1, Seq: files[0].header.After, Why: why})
	}
	if known && noted.Seq > r.Last.Seq && len(r.Damage) == 0 && !c.isAccepted(r.Last.Seq+1, noted.Seq) {
		r.Lost = append(r.Lost, events.AcceptLoss{From: r.Last.Seq + 1, To: noted.Seq})
	}
	if anchor.Seq > 0 && !v.anchored {
		return r, fmt.Errorf("cannot find anchor %d:%s: the log holds a different fact there, or none: it was rewritten after the anchor was recorded", anchor.Seq, anchor.Hash)
	}
	return r, nil
}

// verifier checks files in parallel.
type verifier struct {
	c        *catalog
	files    []logFile
	noted    uint64 // recorded end of the log
	anchor   events.Position
	progress func(done, all int64)

	mu       sync.Mutex // protects the fields below
	report   *Report
	anchored bool
	done     int64
}

// verifyWorkers is the number of files that are verified at once.
const verifyWorkers = 4

func (v *verifier) run() {
	all := int64(0)
	for i := range v.files {
		all += v.files[i].bytes
	}
	next := make(chan int)
	var wg sync.WaitGroup
	damage := make([][]DamageError, len(v.files))
	for range verifyWorkers {
		wg.Go(func() {
			for i := range next {
				damage[i] = v.file(i)
				v.mu.Lock()
				v.done += v.files[i].bytes
				if v.progress != nil {
					v.progress(v.done, all)
				}
				v.mu.Unlock()
			}
		})
	}
	for i := range v.files {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, list := range damage {
		v.report.Damage = append(v.report.Damage, list...)
	}
	v.gaps()
}

// file checks one file and returns the places that break the chain.
func (v *verifier) file(i int) []DamageError {
	n, erased, anchored := uint64(0), uint64(0), false
	f := &v.files[i]
	if v.anchor.Seq > 0 && v.anchor.Seq == f.header.After && v.anchor.Hash == f.header.Previous {
		anchored = true
	}
	count := func(l *events.Line) error {
		n++
		if l.Erased() {
			erased++
		}
		if l.Seq == v.anchor.Seq && l.Hash == v.anchor.Hash {
			anchored = true
		}
		return nil
	}
	var damage []DamageError
	if i+1 < len(v.files) {
		damage = v.sealed(f, &v.files[i+1].header, count)
	} else {
		damage = v.newest(f, count)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Facts += n
	v.report.Erased += erased
	v.anchored = v.anchored || anchored
	return damage
}

// sealed checks a file that another one follows. After a damaged place it
// continues where the chain is valid again.
func (v *verifier) sealed(f *logFile, next *events.Header, count func(*events.Line) error) (damage []DamageError) {
	from := events.Position{Seq: f.header.After, Hash: f.header.Previous}
	c := &catalog{d: v.c.d, dir: v.c.dir, files: []logFile{*f, {header: *next}}, accepted: v.c.acceptedNow()}
	note := func(seq uint64, why string) {
		damage = append(damage, DamageError{File: v.c.path(f.name()), Line: int(seq + 2 - f.header.First), Seq: seq, Why: why})
	}
	end := from
	for from.Seq < next.After {
		err := c.walk(from, next.After, func(l *events.Line) error {
			end = events.Position{Seq: l.Seq, Hash: l.Hash}
			return count(l)
		})
		var bad *DamageError
		if err == nil {
			break
		}
		if !errors.As(err, &bad) {
			note(from.Seq+1, err.Error())
			return damage
		}
		damage = append(damage, *bad)
		to, h, ok := v.c.fitsAgain(f, bad.Seq)
		if !ok || to <= from.Seq || len(damage) == maxDamage {
			return damage
		}
		from = events.Position{Seq: to, Hash: h}
	}
	if end.Seq == next.After && end.Hash != next.Previous {
		note(end.Seq, "the next file does not continue after this fact: a file was exchanged")
	}
	return damage
}

// maxDamage bounds the number of places that are listed for one file.
const maxDamage = 100

// newest checks the file that is, or was, being written.
func (v *verifier) newest(f *logFile, count func(*events.Line) error) []DamageError {
	e, err := v.c.readEnd(f, 0, func(l *events.Line) { count(l) }) //nolint:errcheck // it only counts
	if err != nil {
		return []DamageError{{File: v.c.path(f.name()), Line: 1, Seq: f.header.First, Why: err.Error()}}
	}
	v.mu.Lock()
	v.report.Last = e.good
	v.mu.Unlock()
	if e.bad == nil {
		return nil
	}
	if !f.packed && max(e.synced, v.noted) < e.bad.Seq {
		v.report.Torn = e.rest
		return nil
	}
	return []DamageError{*e.bad}
}

// gaps lists the sequences that the headers skip.
func (v *verifier) gaps() {
	for i := range v.files {
		if h := &v.files[i].header; h.First > h.After+1 && !v.c.isAccepted(h.After+1, h.First-1) {
			v.report.Lost = append(v.report.Lost, events.AcceptLoss{From: h.After + 1, To: h.First - 1})
		}
	}
}
