package view

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"rebound/events"
)

// Reader reads keys. A DB reads committed data; a Batch also reads its own writes.
type Reader interface {
	// Get returns a copy of a key's value, and whether the key exists.
	Get(key []byte) (value []byte, exists bool, err error)
	// Scan calls fn for the keys from lower up to, but not including, upper, in
	// order; a nil bound is open. key and value are valid during the call only. An
	// error of fn ends the scan and is returned, except for [ErrStop].
	Scan(lower, upper []byte, fn func(key, value []byte) error) error
}

var (
	_ Reader = (*DB)(nil)
	_ Reader = (*Batch)(nil)
)

// ErrStop ends a scan early, without an error.
var ErrStop = errors.New("stop")

// Get implements [Reader].
func (d *DB) Get(key []byte) (value []byte, exists bool, err error) {
	return d.get(key, nil)
}

// Append is Get with the value appended to dst, where the key exists.
func (d *DB) Append(dst, key []byte) (value []byte, exists bool, err error) { return d.get(key, dst) }

func (d *DB) get(key, dst []byte) ([]byte, bool, error) {
	h, err := d.acquire()
	if err != nil {
		return nil, false, err
	}
	defer h.release()
	if err := h.usable(); err != nil {
		return nil, false, d.fault(h, err)
	}
	value, closer, err := h.db.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return dst, false, nil
	case err != nil:
		return nil, false, d.fault(h, err)
	}
	dst = append(dst, value...)
	return dst, true, closer.Close()
}

// Scan implements [Reader].
func (d *DB) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	h, err := d.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.usable(); err != nil {
		return d.fault(h, err)
	}
	return d.scan(h, h.db, lower, upper, fn)
}

// scan distinguishes errors of fn, which are returned unchanged, from those of Pebble.
func (d *DB) scan(h *handle, r pebble.Reader, lower, upper []byte, fn func(key, value []byte) error) error {
	var own error
	err := scan(r, lower, upper, func(key, value []byte) error {
		own = fn(key, value)
		return own
	})
	switch {
	case err == nil:
		return nil
	case own != nil:
		return own
	}
	return d.fault(h, err)
}

// Put writes one key outside the fold of facts: it does not move the position.
// The write reaches the disk with the next flush.
func (d *DB) Put(key, value []byte) error {
	h, err := d.acquireWritable()
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.db.Set(key, value, pebble.NoSync); err != nil {
		return fmt.Errorf("cannot write view %s: %w", d.c.Name, err)
	}
	return nil
}

// Remove deletes one key outside the fold of facts, like [DB.Put].
func (d *DB) Remove(key []byte) error {
	h, err := d.acquireWritable()
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.db.Delete(key, pebble.NoSync); err != nil {
		return fmt.Errorf("cannot write view %s: %w", d.c.Name, err)
	}
	return nil
}

// StartFlush begins to write everything to disk, without waiting for the end.
func (d *DB) StartFlush() error {
	h, err := d.acquireWritable()
	if err != nil {
		return err
	}
	defer h.release()
	if _, err := h.db.AsyncFlush(); err != nil {
		return fmt.Errorf("cannot flush view %s: %w", d.c.Name, err)
	}
	return nil
}

// acquireWritable is acquire for a caller that writes.
func (d *DB) acquireWritable() (*handle, error) {
	h, err := d.acquire()
	if err != nil {
		return nil, err
	}
	if err := d.writable(h); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// writable returns why nothing can be written: the files are damaged, or the last flush
// failed, for instance because the disk is full.
func (d *DB) writable(h *handle) error {
	err := h.usable()
	if cause := h.failing.Load(); err == nil && cause != nil {
		err = *cause
	}
	if err != nil {
		return fmt.Errorf("cannot write view %s: %w", d.c.Name, err)
	}
	return nil
}

// Batch collects the changes of one Apply. It reads its own writes.
type Batch struct {
	d *DB
	h *handle
	b *pebble.Batch
}

// NewBatch returns an empty batch. Close must be called, even after Commit.
func (d *DB) NewBatch() (*Batch, error) {
	h, err := d.acquireWritable()
	if err != nil {
		return nil, err
	}
	return &Batch{d: d, h: h, b: h.db.NewIndexedBatch()}, nil
}

// Close releases the batch.
func (b *Batch) Close() {
	if b.h == nil {
		return
	}
	b.b.Close() // fails only for a batch in use
	b.h.release()
	b.h = nil
}

// Set writes a key. The batch copies key and value.
func (b *Batch) Set(key, value []byte) error { return b.b.Set(key, value, nil) }

// Delete deletes a key.
func (b *Batch) Delete(key []byte) error { return b.b.Delete(key, nil) }

// Get implements [Reader].
func (b *Batch) Get(key []byte) (value []byte, exists bool, err error) {
	if value, exists, err = get(b.b, key); err != nil {
		err = b.d.fault(b.h, err)
	}
	return value, exists, err
}

// Scan implements [Reader].
func (b *Batch) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	return b.d.scan(b.h, b.b, lower, upper, fn)
}

// Commit writes the batch and moves the view to position p, atomically.
func (b *Batch) Commit(p events.Position) error {
	if err := b.d.writable(b.h); err != nil {
		return err
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = b.b.Set(positionKey, text, nil)
	}
	if err == nil {
		err = b.b.Commit(pebble.NoSync)
	}
	if err != nil {
		return fmt.Errorf("cannot write view %s: %w", b.d.c.Name, err)
	}
	b.d.position.Store(&p)
	return nil
}

// get returns a copy of a key's value.
func get(r pebble.Reader, key []byte) ([]byte, bool, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = append([]byte{}, value...)
	return value, true, closer.Close()
}

// scan calls fn for the keys between two bounds.
func scan(r pebble.Reader, lower, upper []byte, fn func(key, value []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = fn(it.Key(), value)
		}
		if errors.Is(err, ErrStop) {
			break
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}
