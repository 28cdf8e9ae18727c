package view

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"
)

// Checkpoint writes a copy of the view, position included, to dir, which must not
// exist. It takes as long as copying the view's files.
func (d *DB) Checkpoint(dir string) error {
	h, err := d.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	if err = d.writable(h); err == nil {
		err = d.flush(h)
	}
	if err == nil {
		err = h.db.Checkpoint(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot write checkpoint of view %s: %w", d.c.Name, err)
	}
	return nil
}

// Restore replaces the view by the checkpoint in dir, which stays as it is. If
// that fails, the view is empty and its position is zero. Reads that begin
// during the call fail.
func (d *DB) Restore(dir string) error {
	d.discard()
	err := d.removeFiles()
	if err == nil {
		err = d.copyFiles(dir)
	}
	if err == nil {
		err = d.open()
	}
	if err != nil {
		return fmt.Errorf("cannot restore view %s from %s: %w", d.c.Name, dir, errors.Join(err, d.Reset()))
	}
	return nil
}

// Reset empties the view and sets it to the zero position. If that fails, no other
// method works until Reset or Restore succeeds.
func (d *DB) Reset() error {
	d.discard()
	return d.empty()
}

// discard closes files whose content is not needed any more.
func (d *DB) discard() {
	if err := d.closeFiles(); err != nil {
		d.c.Logger.Warn("a view was not closed cleanly before it was replaced", zap.String("view", d.c.Name), zap.Error(err))
	}
}

// copyFiles copies the files of a checkpoint. The markers are copied last, because the
// other files mean nothing without them.
func (d *DB) copyFiles(from string) error {
	names, err := d.fs.List(from)
	if err != nil {
		return err
	}
	marked := false
	for _, markers := range []bool{false, true} {
		for _, name := range names {
			if name == lockName || isMarker(name) != markers {
				continue
			}
			marked = marked || markers
			if err := vfs.Copy(d.fs, d.fs.PathJoin(from, name), d.fs.PathJoin(d.c.Dir, name)); err != nil {
				return err
			}
		}
		if err := d.syncDir(); err != nil {
			return err
		}
	}
	if !marked {
		return fmt.Errorf("cannot use checkpoint: got a folder of %d files; want one that names its manifest: %w", len(names), ErrDamaged)
	}
	return nil
}
