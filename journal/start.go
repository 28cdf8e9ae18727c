package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// startReport holds the findings of Open.
type startReport struct {
	began  time.Time
	files  []logFile
	clean  bool         // the log was closed cleanly before
	damage *DamageError // damage in the newest file
	noted  head         // the head that is on disk
}

// open reads the existing log. The order matters: nothing is changed before it
// is known whether the end of the newest file is torn or damaged.
func (l *Log) open(ctx context.Context) error {
	l.start.began = l.o.Now()
	if err := l.listFiles(); err != nil {
		return err
	}
	noted, known, err := readHead(l.files)
	if err != nil {
		return err
	}
	l.start.clean = known && noted.Clean
	if err := l.readBlind(&noted); err != nil {
		return err
	}
	if err := l.name(noted.Log); err != nil {
		return err
	}
	l.w = &writer{l: l, ids: newRecent(), grants: map[string]uint64{}}
	kept, err := l.newestCheckpoint()
	if err != nil {
		return err
	}
	l.seen = max(l.everSeen(&noted), kept)
	if err := l.readEnd(&noted); err != nil {
		return err
	}
	if l.w.last.Seq < kept && l.start.damage == nil {
		err := l.goBlind(fmt.Sprintf("a checkpoint holds facts up to %d, and the log in %s ends with fact %d", kept, l.o.FactsDir, l.w.last.Seq), nil)
		if err != nil {
			return err
		}
	}
	l.w.gap = max(l.seen, l.w.gap)
	l.setLast(l.w.last)
	l.sayClock()
	if err = l.join(ctx); err != nil {
		return err
	}
	if err = l.w.create(); err == nil {
		l.w.judge()
		err = l.writeHead(false)
	}
	if err != nil {
		l.fleet.close()
		return fmt.Errorf("cannot open log: %w", err)
	}
	return nil
}

// listFiles makes the catalog of the log's files, without what an earlier run left unfinished.
func (l *Log) listFiles() error {
	d := l.o.disk
	if err := l.refuseOldFormat(); err != nil {
		return err
	}
	if err := d.MkdirAll(l.o.FactsDir); err != nil {
		return fmt.Errorf("cannot make folder of the log: %w", err)
	}
	if err := removeTemporary(d, l.o.FactsDir); err != nil {
		return err
	}
	var err error
	if l.files, err = openCatalog(d, l.o.FactsDir); err != nil {
		return err
	}
	if err := l.files.removeSpare(); err != nil {
		return err
	}
	l.start.files, _ = l.files.snapshot()
	return nil
}

func (l *Log) refuseOldFormat() error {
	names, err := l.o.disk.List(l.o.Dir)
	if err != nil {
		return fmt.Errorf("cannot list data folder: %w", err)
	}
	if slices.Contains(names, "stream") {
		return &OldFormatError{filepath.Join(l.o.Dir, "stream")}
	}
	return nil
}

// removeTemporary removes files that were incomplete when the process ended.
func removeTemporary(d disk, dir string) error {
	names, err := d.List(dir)
	for _, name := range names {
		if err == nil && strings.HasSuffix(name, tmpEnd) {
			err = d.Remove(filepath.Join(dir, name))
		}
	}
	if err != nil {
		return fmt.Errorf("cannot remove unfinished file of the log: %w", err)
	}
	return nil
}

// name returns the name of the log, or assigns a new one.
func (l *Log) name(noted string) error {
	switch files := l.start.files; {
	case len(files) > 0 && noted != "" && files[0].header.Log != noted:
		return fmt.Errorf("cannot open log: got files of log %s in %s; want those of log %s: restore the folder from one backup", files[0].header.Log, l.o.FactsDir, noted)
	case len(files) > 0:
		l.id = files[0].header.Log
		if was := files[len(files)-1].header.Keys; was != "" && l.o.Keys != "" && was != l.o.Keys && !l.o.NewKeys {
			return fmt.Errorf("cannot open log: got keys.json with fingerprint %s; want the one with %s, under which the log was written: "+
				"restore keys.json from a backup, or start with --new-keys, which makes existing visitors unknown, and cookies and notices in flight invalid", l.o.Keys, was)
		}
	case noted != "":
		l.id = noted
	default:
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return fmt.Errorf("cannot name log: %w", err)
		}
		l.id = hex.EncodeToString(b[:])
	}
	return nil
}

// everSeen returns the highest sequence that is known to have been written to disk.
func (l *Log) everSeen(noted *head) uint64 {
	seen := max(noted.Seq, l.blind.seen())
	for _, v := range l.o.Views {
		seen = max(seen, v.Position().Seq)
	}
	return seen
}

// newestCheckpoint returns the highest sequence of any view's checkpoint.
func (l *Log) newestCheckpoint() (seq uint64, err error) {
	for _, v := range l.o.Views {
		list, err := checkpoints(l.o.disk, l.o.Dir, v.Name())
		if err != nil {
			return 0, err
		}
		if n := len(list); n > 0 {
			seq = max(seq, list[n-1].Seq)
		}
	}
	return seq, nil
}

// readEnd verifies the newest file, cuts off a torn end, and determines where
// the log continues.
func (l *Log) readEnd(noted *head) error {
	if len(l.start.files) == 0 {
		return l.checkHead(noted, nil)
	}
	i := len(l.start.files) - 1
	f := &l.start.files[i]
	e, err := l.files.readEnd(f, noted.Seq, nil)
	if err != nil {
		return err
	}
	l.w.last, l.w.sum = e.good, e.sum
	l.w.gap = f.header.First - 1 // the gap before this file remains as long as the file is empty
	for _, id := range e.ids {
		l.w.ids.add(id)
	}
	l.files.change(func(files []logFile) []logFile {
		files[i].marks = e.marks
		return files
	})
	if e.bad != nil && (f.packed || max(e.synced, l.seen) >= e.bad.Seq) { // a packed file was complete once
		l.start.damage = e.bad
		l.w.last, l.w.sum, l.w.gap = e.end, events.Digest{}, max(e.highest, e.synced, l.w.gap)
		l.o.Logger.Error("the newest file of the log is damaged; bidding stops", zap.Error(e.bad))
		l.seen = max(l.seen, e.highest, e.synced)
		if lost := l.seen; lost > e.end.Seq { // nothing continues the chain there, so no reader would detect it
			if err := l.goBlind(fmt.Sprintf("facts %d to %d were on disk and cannot be read: %s:%d: %s", e.end.Seq+1, lost, e.bad.File, e.bad.Line, e.bad.Why), nil); err != nil {
				return err
			}
		}
	}
	if err := l.tidyEnd(f, e); err != nil {
		return err
	}
	l.refillIDs(l.start.files)
	return l.checkHead(noted, e)
}

// refillIDs remembers the ids of older files until there are enough: each start
// creates a file, so the newest ones may contain few facts. Ids only save work,
// so damage is left to the readers that need the facts.
func (l *Log) refillIDs(files []logFile) {
	newest := l.w.ids
	n := len(newest.ring)
	var older [][]factID // ids of the files before the newest one, newest first
	for i := len(files) - 1; i > 0 && n < recentIDs/10; i-- {
		var ids []factID
		l.files.verifyFile(&files[i-1], &files[i].header, func(line *events.Line) error { //nolint:errcheck // see above
			ids = append(ids, bodyID(line.Body))
			return nil
		})
		older, n = append(older, ids), n+len(ids)
	}
	if len(older) == 0 {
		return
	}
	l.w.ids = newRecent()
	for _, ids := range slices.Backward(append([][]factID{newest.ring}, older...)) {
		for _, id := range ids {
			l.w.ids.add(id)
		}
	}
}

// checkHead compares the end of the log with the recorded one. Facts that were
// on disk and are now missing or different make the bidder blind for money.
func (l *Log) checkHead(noted *head, e *endOfFile) error {
	switch last := l.w.last.Seq; {
	case noted.Seq == 0 || l.start.damage != nil:
		return nil
	case noted.Seq > last:
		return l.goBlind(fmt.Sprintf("facts %d to %d were on disk and are gone from %s", last+1, noted.Seq, l.o.FactsDir), nil)
	case e != nil && noted.Seq >= e.first && e.noted != noted.H && !l.files.isAccepted(noted.Seq, noted.Seq):
		return l.goBlind(fmt.Sprintf("fact %d in %s is not the one that the head recorded: the log was exchanged", noted.Seq, l.o.FactsDir), nil)
	}
	return nil
}

func (l *Log) sayClock() {
	if ts, now := l.w.last.Time, l.o.Now(); ts.Sub(now) > time.Second {
		l.o.Logger.Warn("the clock is behind the log: facts get the time of the last one until the clock has caught up",
			zap.Time("clock", now.UTC()), zap.Time("last_fact", ts), zap.String("remedy", "correct the clock"))
	}
}

// tidyEnd cuts off a torn end, and after an unclean stop copies the file,
// because data that was read may be in the page cache only and is on disk once
// the copy is synced. Nothing is cut off a damaged file.
func (l *Log) tidyEnd(f *logFile, e *endOfFile) error {
	torn := e.rest > 0 && l.start.damage == nil
	if f.packed || !torn && l.start.clean {
		return nil
	}
	path := l.files.path(f.name())
	from, err := l.o.disk.Open(path)
	if err != nil {
		return fmt.Errorf("cannot open log file: %w", err)
	}
	defer from.Close()
	part := func(at, n int64) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(from, at, n), make([]byte, 1<<20))
			return err
		}
	}
	size := e.size
	if !torn {
		size += e.rest
	} else {
		cut := l.files.path(fmt.Sprintf("%s%020d", cutPart, e.bad.Seq))
		if err := writeWhole(l.o.disk, cut, part(e.size, e.rest)); err != nil {
			return err
		}
		l.o.Logger.Warn("the end of the log was half written when the process ended; it was never acknowledged, and is kept in a separate file",
			zap.Uint64("last_seq", e.good.Seq), zap.Int64("bytes", e.rest), zap.String("kept", cut))
	}
	return writeWhole(l.o.disk, path, part(0, size))
}
