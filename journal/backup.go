package journal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// CopyFacts copies a folder of facts, which may be in use, to a new folder: every
// file of the log, and first the note of where it ended, so that the copy holds at
// least that much. What the writer was about to write when its file was copied is
// a torn end of the copy.
func CopyFacts(from, to string) error {
	d := osDisk{}
	if names, err := d.List(to); err != nil || len(names) > 0 {
		return errors.Join(err, fmt.Errorf("cannot copy log: got files in %s; want an empty folder", to))
	}
	if err := d.MkdirAll(to); err != nil {
		return fmt.Errorf("cannot copy log: %w", err)
	}
	for range 10 { // files are packed and deleted meanwhile
		err := copyFacts(d, from, to)
		if !isGone(err) {
			return err
		}
	}
	return fmt.Errorf("cannot copy log: the files in %s change all the time", from)
}

func copyFacts(d disk, from, to string) error {
	names, err := d.List(from)
	if err != nil {
		return err
	}
	copied, err := d.List(to)
	if err != nil {
		return err
	}
	for _, name := range append([]string{headName}, names...) {
		_, _, isFact := parseName(name)
		if !isFact && name != headName && name != acceptedName && !strings.HasPrefix(name, basePart) || strings.HasSuffix(name, tmpEnd) {
			continue
		}
		if err := copyFile(d, filepath.Join(from, name), filepath.Join(to, name)); err != nil && (name != headName || !isGone(err)) {
			return fmt.Errorf("cannot copy %s: %w", name, err)
		}
	}
	for _, name := range copied { // of a try before: they were packed since
		if _, err := d.Open(filepath.Join(from, name)); isGone(err) {
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
