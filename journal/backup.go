package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rebound/events"
)

// CopyFacts copies a folder of facts, which may be in use, to a new folder:
// every file of the log, but first the head, so that the copy contains at least
// the facts up to it. A batch that was being written when its file was copied
// becomes a torn end of the copy.
func CopyFacts(from, to string) error { return copyFolder(osDisk{}, from, to) }

func copyFolder(d disk, from, to string) error {
	if names, err := d.List(to); err != nil || len(names) > 0 {
		return errors.Join(err, fmt.Errorf("cannot copy log: got files in %s; want an empty folder", to))
	}
	if err := d.MkdirAll(to); err != nil {
		return fmt.Errorf("cannot copy log: %w", err)
	}
	for range 10 { // files may be compressed or deleted during the copy
		err := copyFacts(d, from, to)
		if !isGone(err) {
			return err
		}
	}
	return fmt.Errorf("cannot copy log: the files in %s keep changing", from)
}

func copyFacts(d disk, from, to string) error {
	if err := copyFile(d, filepath.Join(from, headName), filepath.Join(to, headName)); err != nil && !isGone(err) {
		return fmt.Errorf("cannot copy %s: %w", headName, err)
	}
	names, err := d.List(from)
	if err != nil {
		return err
	}
	copied, err := d.List(to)
	if err != nil {
		return err
	}
	for _, name := range names {
		_, _, isFact := parseName(name)
		if !isFact && name != acceptedName && (!strings.HasPrefix(name, basePart) || strings.HasSuffix(name, tmpEnd)) {
			continue
		}
		err := copyFile(d, filepath.Join(from, name), filepath.Join(to, name))
		if other := strings.TrimSuffix(name, plainEnd) + packedEnd; isGone(err) && strings.HasSuffix(name, plainEnd) { // packed meanwhile
			err = copyFile(d, filepath.Join(from, other), filepath.Join(to, other))
		}
		if err != nil {
			return fmt.Errorf("cannot copy %s: %w", name, err)
		}
	}
	for _, name := range copied { // left by an earlier attempt; packed or deleted since
		if name != headName && !slices.Contains(names, name) {
			if err := d.Remove(filepath.Join(to, name)); err != nil {
				return err
			}
		}
	}
	return d.SyncDir(to)
}

func copyFile(d disk, from, to string) error {
	f, err := d.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return writeWhole(d, to, func(w io.Writer) error {
		_, err := io.Copy(struct{ io.Writer }{w}, io.NewSectionReader(f, 0, 1<<62))
		return err
	})
}

// CopyCheckpoints copies the newest complete checkpoint of each view from one data
// folder, which may be in use, to another.
func CopyCheckpoints(from, to string) error {
	d := osDisk{}
	names, err := d.List(filepath.Join(from, "checkpoints"))
	if err != nil {
		return fmt.Errorf("cannot list checkpoints: %w", err)
	}
	for _, view := range names {
		for range 10 { // a newer one may replace it in the meantime
			list, err := checkpoints(d, from, view)
			if err != nil || len(list) == 0 {
				break
			}
			seq := list[len(list)-1].Seq
			source, target := checkpointPath(from, view, seq), checkpointPath(to, view, seq)
			err = os.CopyFS(target, os.DirFS(source))
			if err == nil {
				err = copyFile(d, source+positionEnd, target+positionEnd)
			}
			if err == nil {
				break
			}
			if err := removeCheckpoint(target); err != nil {
				return err
			}
			if !isGone(err) {
				return fmt.Errorf("cannot copy checkpoint of %s: %w", view, err)
			}
		}
	}
	return nil
}

// Proven reports whether a log contains everything that had been seen according to blind.
func Proven(factsDir string, blind *Blind) (bool, error) { return proven(osDisk{}, factsDir, blind) }

func proven(d disk, factsDir string, blind *Blind) (bool, error) {
	if blind.Unknown {
		return false, nil
	}
	c, err := openCatalog(d, factsDir)
	if err != nil {
		return false, err
	}
	last := c.lastStated()
	if last < blind.Seen || c.firstDamage(last) != nil || c.skips(blind.Seen) {
		return false, nil
	}
	for _, v := range blind.Views {
		if v.Seq == 0 {
			continue
		}
		if h, ok := c.hashOf(v.Seq); !ok || h != v.H {
			return false, nil
		}
	}
	return true, nil
}

// skips reports whether the headers skip sequences that had been seen and whose
// loss was not accepted. A blind bidder's new facts continue above them.
func (c *catalog) skips(seen uint64) bool {
	files, _ := c.snapshot()
	for i := range files {
		h := &files[i].header
		if h.First > h.After+1 && h.After < seen && !c.isAccepted(h.After+1, h.First-1) {
			return true
		}
	}
	return false
}

// hashOf returns the hash that the log records for a fact.
func (c *catalog) hashOf(seq uint64) (events.Hash, bool) {
	files, _ := c.snapshot()
	for i := range files {
		if h := &files[i].header; h.After == seq {
			return h.Previous, true
		}
	}
	l, ok := c.stated(seq)
	return l.Hash, ok
}

// stated returns the line of a fact without verifying it.
func (c *catalog) stated(seq uint64) (events.Line, bool) {
	files, _ := c.snapshot()
	for i := len(files) - 1; i >= 0; i-- {
		f := &files[i]
		if f.header.First > seq {
			continue
		}
		r, err := c.open(f.name(), 0)
		if err != nil {
			return events.Line{}, false
		}
		defer r.close()
		for {
			text, err := r.next()
			if err != nil && !errors.Is(err, errTooLong) {
				return events.Line{}, false
			}
			if l, err := events.ParseLine(text); err == nil && l.Seq == seq {
				return l, true
			}
		}
	}
	return events.Line{}, false
}
