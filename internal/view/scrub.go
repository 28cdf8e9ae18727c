package view

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// The first and the last key that are written to make Pebble rewrite files.
var scrubFrom, scrubTo = []byte("\x00scrub"), []byte(strings.Repeat("\xff", 64))

const (
	// maxRounds bounds the number of compactions. One is enough unless keys are deleted
	// meanwhile.
	maxRounds = 5
	// maxRenewals bounds the number of flushes after which Pebble must have begun a new
	// manifest; it needs about as many as the view has tables.
	maxRenewals = 100_000
	// removalTime bounds the wait for Pebble to remove files that it no longer uses.
	removalTime = 30 * time.Second
)

// Scrub rewrites the view's files so that no key or value that was deleted before the
// call is left in any of them. Reads and writes may go on meanwhile. It takes as long as
// copying the files; after an error it can be called again.
func (d *DB) Scrub(ctx context.Context) error {
	h, err := d.acquireWritable()
	if err != nil {
		return err
	}
	defer h.release()
	err = d.compact(ctx, h)
	if err == nil && !d.c.InMemory {
		if err = d.renewManifest(ctx, h); err == nil {
			err = d.removed(ctx, h)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot scrub view %s: %w", d.c.Name, err)
	}
	return nil
}

// compact rewrites all tables. Pebble moves a table that overlaps with no other one as it
// is, with the keys that were deleted in it, so a small table that overlaps with all of
// them is written first.
func (d *DB) compact(ctx context.Context, h *handle) error {
	for range maxRounds {
		if err := d.stamp(h, scrubFrom, scrubTo); err != nil {
			return err
		}
		if err := h.db.Compact(ctx, []byte{0}, scrubTo, true); err != nil {
			return err
		}
		if deleted, err := deletions(h); err != nil || !deleted {
			return err
		}
	}
	return nil
}

// deletions reports whether a table of the lowest level contains keys that were deleted.
func deletions(h *handle) (bool, error) {
	levels, err := h.db.SSTables(pebble.WithProperties())
	if err != nil {
		return false, err
	}
	for _, table := range levels[len(levels)-1] {
		if table.Properties != nil && table.Properties.NumDeletions > 0 {
			return true, nil
		}
	}
	return false, nil
}

// stamp writes keys of no meaning, and everything before them, to disk.
func (d *DB) stamp(h *handle, keys ...[]byte) error {
	for _, key := range keys {
		if err := h.db.Set(key, nil, pebble.NoSync); err != nil {
			return err
		}
	}
	return d.flush(h)
}

// renewManifest makes Pebble begin a new manifest, which lists the current tables only,
// and removes the older ones: a manifest contains the first and the last key of every
// table, including those of tables that are gone.
func (d *DB) renewManifest(ctx context.Context, h *handle) error {
	old, _, err := d.manifests()
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		all, current, err := d.manifests()
		if err != nil {
			return err
		}
		if !slices.Contains(old, current) {
			return d.removeManifests(all, current)
		}
		if n == maxRenewals {
			return fmt.Errorf("got no new manifest after %d flushes; want one", n)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.stamp(h, scrubFrom); err != nil {
			return err
		}
	}
}

// manifests returns the names of all manifests and that of the current one.
func (d *DB) manifests() (all []string, current string, err error) {
	names, err := d.fs.List(d.c.Dir)
	if err != nil {
		return nil, "", err
	}
	for _, name := range names {
		if strings.HasPrefix(name, manifestPrefix) {
			all = append(all, name)
		}
		if strings.HasPrefix(name, "marker.manifest.") {
			if i := strings.Index(name, manifestPrefix); i >= 0 {
				current = max(current, name[i:])
			}
		}
	}
	return all, current, nil
}

const manifestPrefix = "MANIFEST-"

func (d *DB) removeManifests(all []string, current string) error {
	for _, name := range all {
		if name >= current { // the numbers have one width
			continue
		}
		if err := d.fs.Remove(d.fs.PathJoin(d.c.Dir, name)); err != nil && !isGone(err) {
			return err
		}
	}
	return d.syncDir()
}

// removed waits until Pebble has removed the tables that are no longer used.
func (d *DB) removed(ctx context.Context, h *handle) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(removalTime)
	defer limit.Stop()
	for {
		live, err := liveTables(h)
		if err != nil {
			return err
		}
		names, err := d.fs.List(d.c.Dir)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(names, func(name string) bool {
			return !strings.HasSuffix(name, ".sst") || slices.Contains(live, name)
		})
		if len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("got %d tables that are no longer used but still on disk; want none", len(left))
		}
	}
}
