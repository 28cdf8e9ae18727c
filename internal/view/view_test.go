package view

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	rand2 "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rebound/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, c Config) *DB {
	t.Helper()
	c.Name, c.Format = "test", 1
	d, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func positionOf(seq uint64) events.Position {
	return events.Position{Seq: seq, Hash: events.Hash{byte(seq), byte(seq >> 8)}, Time: time.Unix(int64(seq), 0).UTC()}
}

// value returns the value that the model's batch seq writes to its keys: long enough that a view
// has several blocks, and not compressible to nothing.
func value(seq uint64) []byte {
	r := rand.New(rand.NewSource(int64(seq)))
	b := make([]byte, 200)
	r.Read(b)
	return append(b, fmt.Sprint(seq)...)
}

const modelKeys = 61

// model is the content of a view at a sequence.
func model(seq uint64) map[string]string {
	m := map[string]string{}
	for i := uint64(1); i <= seq; i++ {
		m[fmt.Sprint("key", i%modelKeys)] = string(value(i))
		m["last"] = fmt.Sprint(i)
		if i%7 == 0 {
			delete(m, fmt.Sprint("key", (i+5)%modelKeys))
		}
	}
	return m
}

func commit(d *DB, seq uint64) error {
	b, err := d.NewBatch()
	if err != nil {
		return err
	}
	defer b.Close()
	err = errors.Join(b.Set([]byte(fmt.Sprint("key", seq%modelKeys)), value(seq)), b.Set([]byte("last"), []byte(fmt.Sprint(seq))))
	if seq%7 == 0 {
		err = errors.Join(err, b.Delete([]byte(fmt.Sprint("key", (seq+5)%modelKeys))))
	}
	if err != nil {
		return err
	}
	return b.Commit(positionOf(seq))
}

// fill commits the batches up to a sequence and flushes after some of them.
func fill(t testing.TB, d *DB, to, flushEvery uint64) {
	t.Helper()
	for seq := d.Position().Seq + 1; seq <= to; seq++ {
		if err := commit(d, seq); err != nil {
			t.Fatal(err)
		}
		if flushEvery > 0 && seq%flushEvery == 0 {
			if err := d.flush(d.current.Load()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkModel reports where a view is not what it was at its own position.
func checkModel(t testing.TB, what string, d *DB) {
	t.Helper()
	got := map[string]string{}
	err := d.Scan([]byte{1}, nil, func(k, v []byte) error {
		got[string(k)] = string(v)
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	p := d.Position()
	if p.Seq != 0 && p != positionOf(p.Seq) {
		t.Errorf("%s: got position %+v", what, p)
	}
	if want := model(p.Seq); !maps.Equal(got, want) {
		t.Errorf("%s: the view at %d has %d keys, last %q; want %d keys, last %q", what, p.Seq, len(got), got["last"], len(want), want["last"])
	}
}

func TestAViewKeepsDataAndPosition(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "view")
	d := open(t, Config{Dir: dir})
	if d.Position() != (events.Position{}) {
		t.Fatalf("a new view is at %+v", d.Position())
	}
	fill(t, d, 100, 0)
	checkModel(t, "before", d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Get([]byte("last")); !errors.Is(err, ErrClosed) || IsDamage(err) {
		t.Errorf("after Close: %v", err)
	}
	d = open(t, Config{Dir: dir})
	if d.Position() != positionOf(100) {
		t.Fatalf("got position %+v", d.Position())
	}
	checkModel(t, "after", d)
}

func TestABatchReadsItsOwnWrites(t *testing.T) {
	d := open(t, Config{InMemory: true})
	fill(t, d, 3, 0)
	b, err := d.NewBatch()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := errors.Join(b.Set([]byte("a"), []byte("1")), b.Delete([]byte("key1")), b.Delete([]byte("key2")), b.Delete([]byte("key3"))); err != nil {
		t.Fatal(err)
	}
	var keys []string
	if err := b.Scan([]byte{1}, nil, func(k, _ []byte) error { keys = append(keys, string(k)); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(keys, " "); got != "a last" {
		t.Errorf("got keys %q", got)
	}
	if _, exists, err := d.Get([]byte("a")); exists || err != nil {
		t.Errorf("the batch is visible before its commit: %v", err)
	}
}

// Whatever happens to one file, a view opens as it was at some position, or empty.
func TestDamageInAnyFile(t *testing.T) {
	sound := filepath.Join(t.TempDir(), "view")
	d := open(t, Config{Dir: sound})
	fill(t, d, 400, 90)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	older := filepath.Join(t.TempDir(), "older")
	d = open(t, Config{Dir: older})
	fill(t, d, 100, 90)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	damage := map[string]func(path string, b []byte) error{
		"missing":   func(path string, _ []byte) error { return os.Remove(path) },
		"truncated": func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)*2/3], 0o600) },
		"one less":  func(path string, b []byte) error { return os.WriteFile(path, b[:max(len(b)-1, 0)], 0o600) },
		"empty":     func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"zeroed": func(path string, b []byte) error {
			clear(b[len(b)/3 : len(b)*2/3])
			return os.WriteFile(path, b, 0o600)
		},
		"garbage": func(path string, b []byte) error {
			return os.WriteFile(path, bytes.Repeat([]byte{0xa7}, len(b)), 0o600)
		},
		"another view's": func(path string, b []byte) error {
			other, err := os.ReadFile(filepath.Join(older, filepath.Base(path)))
			if err != nil {
				return os.WriteFile(path, append(b, b...), 0o600)
			}
			return os.WriteFile(path, other, 0o600)
		},
	}
	r := rand.New(rand.NewSource(1))
	for i := range 20 {
		damage[fmt.Sprint("bit ", i)] = func(path string, b []byte) error {
			if len(b) > 0 {
				b[r.Intn(len(b))] ^= 1 << r.Intn(8)
			}
			return os.WriteFile(path, b, 0o600)
		}
	}
	files, err := os.ReadDir(sound)
	if err != nil {
		t.Fatal(err)
	}
	tables, emptied := 0, 0
	for _, f := range files {
		if f.Name() == lockName {
			continue
		}
		for name, fn := range damage {
			dir := copyOf(t, sound)
			path := filepath.Join(dir, f.Name())
			b, err := os.ReadFile(path)
			if err == nil {
				err = fn(path, b)
			}
			if err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zap.ErrorLevel)
			what := f.Name() + " " + name
			d, err := Open(Config{Name: "test", Dir: dir, Format: 1, Logger: zap.New(core)})
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			checkModel(t, what, d)
			if d.Position().Seq == 0 {
				emptied++
			}
			if strings.HasSuffix(f.Name(), ".sst") {
				if tables++; d.Position().Seq == 0 && logs.Len() == 0 {
					t.Errorf("%s: the view was emptied without a log line", what)
				}
			}
			if seq := d.Position().Seq; seq != 0 && seq%90 != 0 && seq != 400 {
				t.Errorf("%s: at %d, which was never flushed", what, seq)
			}
			next := d.Position().Seq + 1
			if err := commit(d, next); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			checkModel(t, what, d)
			if err := d.Close(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if tables == 0 || emptied == 0 {
		t.Errorf("%d damaged tables, %d views emptied", tables, emptied)
	}
}

func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "view")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A power cut at any moment leaves the view at one position, and at least at that
// of the last flush.
func TestPowerCut(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	for round := range 40 {
		fs := vfs.NewCrashableMem()
		d, err := Open(Config{Name: "test", Dir: "view", Format: 1, FS: fs, MemTableBytes: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		flushed := uint64(0)
		var clones []*vfs.MemFS
		var atLeast []uint64
		for seq := uint64(1); seq <= 300; seq++ {
			if err := commit(d, seq); err != nil {
				t.Fatal(err)
			}
			switch r.Intn(25) {
			case 0:
				if err := d.flush(d.current.Load()); err != nil {
					t.Fatal(err)
				}
				flushed = seq
			case 1:
				if err := d.StartFlush(); err != nil {
					t.Fatal(err)
				}
			case 2:
				clones = append(clones, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.Intn(101), RNG: crashRandom(round)}))
				atLeast = append(atLeast, flushed)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for i, clone := range clones {
			what := fmt.Sprintf("round %d, cut %d", round, i)
			c, err := Open(Config{Name: "test", Dir: "view", Format: 1, FS: clone})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			checkModel(t, what, c)
			if got := c.Position().Seq; got < atLeast[i] {
				t.Errorf("%s: at %d; want at least %d, which was flushed", what, got, atLeast[i])
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A checkpoint survives damage to the view, and puts it back.
func TestRestoreOverADamagedView(t *testing.T) {
	base := t.TempDir()
	dir, checkpoint := filepath.Join(base, "view"), filepath.Join(base, "checkpoint")
	d := open(t, Config{Dir: dir})
	fill(t, d, 200, 90)
	if err := d.Checkpoint(checkpoint); err != nil {
		t.Fatal(err)
	}
	if err := d.Checkpoint(checkpoint); err == nil {
		t.Error("a checkpoint was written over another")
	}
	fill(t, d, 270, 90)
	overwrite(t, dir, "*.sst")
	if err := d.Scan(nil, nil, func(_, _ []byte) error { return nil }); !IsDamage(err) {
		t.Fatalf("a damaged table was read: %v", err)
	}
	if err := commit(d, 271); !IsDamage(err) {
		t.Errorf("a damaged view was written: %v", err)
	}
	for range 2 {
		if err := d.Restore(checkpoint); err != nil {
			t.Fatal(err)
		}
		if d.Position() != positionOf(200) {
			t.Fatalf("got position %+v", d.Position())
		}
		checkModel(t, "restored", d)
		fill(t, d, 230, 10)
		checkModel(t, "went on", d)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, Config{Dir: dir})
	if d.Position() != positionOf(230) {
		t.Errorf("got position %+v", d.Position())
	}
	checkModel(t, "reopened", d)
}

// overwrite damages files in place, sizes kept.
func overwrite(t testing.TB, dir, pattern string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err == nil {
			_, err = f.WriteAt(bytes.Repeat([]byte{0x5a}, int(info.Size()/2)), 0)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// A checkpoint that cannot be restored leaves an empty but usable view.
func TestABadCheckpointLeavesAnEmptyView(t *testing.T) {
	base := t.TempDir()
	d := open(t, Config{Dir: filepath.Join(base, "view")})
	fill(t, d, 200, 90)
	good := filepath.Join(base, "good")
	if err := d.Checkpoint(good); err != nil {
		t.Fatal(err)
	}
	var bad []string
	for _, pattern := range []string{"*.sst", "MANIFEST*"} {
		dir := copyOf(t, good)
		overwrite(t, dir, pattern)
		bad = append(bad, dir)
	}
	halfway := copyOf(t, good)
	markers, err := filepath.Glob(filepath.Join(halfway, "marker.*"))
	for _, m := range markers {
		err = errors.Join(err, os.Remove(m))
	}
	if err != nil || len(markers) == 0 {
		t.Fatalf("no markers: %v", err)
	}
	for _, from := range append(bad, halfway, filepath.Join(base, "missing")) {
		if err := d.Restore(from); err == nil {
			t.Errorf("%s was restored", from)
		}
		if d.Position() != (events.Position{}) {
			t.Errorf("%s: at %+v", from, d.Position())
		}
		checkModel(t, from, d)
		fill(t, d, 10, 0)
		checkModel(t, from, d)
	}
	if err := d.Restore(good); err != nil {
		t.Fatal(err)
	}
	checkModel(t, "good", d)
}

// Readers in other goroutines get a response or an error while the files are
// replaced, and never wait.
func TestReadersWhileTheFilesAreReplaced(t *testing.T) {
	base := t.TempDir()
	d := open(t, Config{Dir: filepath.Join(base, "view")})
	fill(t, d, 100, 0)
	checkpoint := filepath.Join(base, "checkpoint")
	if err := d.Checkpoint(checkpoint); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if v, exists, err := d.Get([]byte("last")); err == nil && exists && string(v) != "100" {
					t.Errorf("got %q", v)
					return
				}
			}
		})
	}
	for range 3 {
		if err := d.Restore(checkpoint); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestAnotherFormatIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "view")
	d := open(t, Config{Dir: dir})
	fill(t, d, 20, 0)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Name: "test", Dir: dir, Format: 2})
	if !errors.Is(err, ErrFormat) || IsDamage(err) || !strings.Contains(err.Error(), "move the folder away") {
		t.Errorf("got %v; want ErrFormat and the remedy", err)
	}
	d = open(t, Config{Dir: dir})
	checkModel(t, "untouched", d)
	h := d.current.Load()
	if err := errors.Join(h.db.Delete(formatKey, pebble.NoSync), d.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Name: "test", Dir: dir, Format: 1}); !errors.Is(err, ErrFormat) {
		t.Errorf("without a format: got %v; want ErrFormat", err)
	}
}

func TestTwoProgramsCannotShareAView(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Config{Dir: dir})
	fill(t, d, 20, 0)
	if other, err := Open(Config{Name: "test", Dir: dir, Format: 1}); err == nil || IsDamage(err) {
		if err == nil {
			other.Close()
		}
		t.Fatalf("opened twice, or emptied: %v", err)
	}
	checkModel(t, "the first", d)
}

// Damage that a compaction finds does not end the program.
func TestDamageFoundInTheBackground(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "view")
	d := open(t, Config{Dir: dir})
	fill(t, d, 180, 60)
	overwrite(t, dir, "*.sst")
	if err := d.current.Load().db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err == nil {
		t.Error("a damaged table was compacted")
	}
	if err := commit(d, 181); !IsDamage(err) {
		t.Errorf("got %v; want ErrDamaged", err)
	}
	if err := d.Reset(); err != nil {
		t.Fatal(err)
	}
	checkModel(t, "reset", d)
	fill(t, d, 180, 60)
	checkModel(t, "filled again", d)
}

// A view is not opened on a full disk, on which Pebble would repeat its writes for ever. Its
// files are sound afterwards.
func TestOpenOnFullDisk(t *testing.T) {
	var full atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSync) {
			return syscall.ENOSPC
		}
		return nil
	}))
	d := open(t, Config{Dir: "view", FS: fs})
	fill(t, d, 100, 50)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if _, err := Open(Config{Dir: "view", FS: fs}); !errors.Is(err, syscall.ENOSPC) || IsDamage(err) {
		t.Errorf("got %v; want that no space is left", err)
	}
	full.Store(false)
	checkModel(t, "afterwards", open(t, Config{Dir: "view", FS: fs}))
}

// While the disk is full writes fail and nothing is lost; afterwards they go on.
func TestFullDisk(t *testing.T) {
	for _, kind := range []string{".sst", "MANIFEST"} {
		t.Run(kind, func(t *testing.T) {
			var full atomic.Bool
			fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.Contains(op.Path, kind) {
					return syscall.ENOSPC
				}
				return nil
			}))
			d := open(t, Config{Dir: "view", FS: fs})
			fill(t, d, 100, 50)
			full.Store(true)
			for seq := d.Position().Seq + 1; seq <= 110; seq++ {
				if err := commit(d, seq); err != nil { // a compaction may write the manifest at any time
					if !IsDamage(err) {
						t.Fatal(err)
					}
					break
				}
			}
			if err := d.StartFlush(); err != nil && !IsDamage(err) {
				t.Fatal(err)
			}
			for h := d.current.Load(); h.failing.Load() == nil && h.usable() == nil; {
				runtime.Gosched()
			}
			seq := d.Position().Seq
			err := commit(d, seq+1)
			if d.Checkpoint("copy") == nil {
				t.Error("a checkpoint was written on a full disk")
			}
			if err == nil || d.Position().Seq != seq {
				t.Fatalf("at %d, want %d, after %v", d.Position().Seq, seq, err)
			}
			full.Store(false)
			if IsDamage(err) { // Pebble does not know what it wrote of its manifest
				if err := d.Reset(); err != nil {
					t.Fatal(err)
				}
			} else {
				for err != nil && !IsDamage(err) { // Pebble tries again by itself
					err = commit(d, seq+1)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			checkModel(t, "afterwards", d)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = open(t, Config{Dir: "view", FS: fs})
			checkModel(t, "reopened", d)
		})
	}
}

func crashRandom(seed int) *rand2.Rand { return rand2.New(rand2.NewPCG(uint64(seed), 1)) }
