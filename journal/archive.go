package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	archivePrefix = "facts-"
	plainEnd      = ".ndjson"
	packedEnd     = ".ndjson.zst"
	idFile        = "stream-id"
)

// archive is the log as plain files: every fact of the stream once, in order,
// with its sequence, as NDJSON; a file is named by its first sequence, and
// packed with zstd once it is full. How far it is stands in the files alone. The
// file stream-id names the stream.
type archive struct {
	dir    string
	o      *Options
	stream string // id of the stream that the files are of; empty when unknown

	mu     sync.Mutex // protects what follows
	files  []archiveFile
	f      *os.File // the last of files, open for append; nil when there is none yet
	size   int64    // of f
	opened time.Time
	reach  []reachWaiter
	buf    []byte

	last   atomic.Uint64 // the last sequence on file; 0 when there is none
	synced atomic.Uint64 // the last sequence that is synced
	lastTS time.Time     // of last; mu
	work   atomic.Bool   // the archiver is at work
}

type archiveFile struct {
	path  string
	first uint64
}

type reachWaiter struct {
	seq  uint64
	done chan struct{}
}

// openArchive lists and repairs the files.
func openArchive(o *Options) (*archive, error) {
	a := &archive{dir: o.ArchiveDir, o: o}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create archive folder: %w", err)
	}
	if b, err := os.ReadFile(filepath.Join(a.dir, idFile)); err == nil {
		a.stream = strings.TrimSpace(string(b))
	}
	if err := a.list(); err != nil {
		return nil, err
	}
	for len(a.files) > 0 {
		found, err := a.recoverLast()
		if err != nil {
			return nil, err
		}
		if found {
			break
		}
	}
	a.synced.Store(a.last.Load())
	return a, a.packOld()
}

// list reads the folder. Of a file that is there both plain and packed, packing
// was cut off after the packed one was whole: the plain one goes.
func (a *archive) list() error {
	a.files = a.files[:0]
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return fmt.Errorf("cannot list archive: %w", err)
	}
	for _, e := range entries {
		first, packed, ok := parseArchiveName(e.Name())
		path := filepath.Join(a.dir, e.Name())
		switch n := len(a.files); {
		case strings.HasSuffix(e.Name(), ".tmp"):
			err = os.Remove(path)
		case !ok || e.IsDir():
		case packed && n > 0 && a.files[n-1].first == first: // sorts after the plain one
			err = os.Remove(a.files[n-1].path)
			a.files[n-1].path = path
		default:
			a.files = append(a.files, archiveFile{path, first})
		}
		if err != nil {
			return fmt.Errorf("cannot clean archive: %w", err)
		}
	}
	return nil
}

func parseArchiveName(name string) (first uint64, packed, ok bool) {
	s, ok := strings.CutPrefix(name, archivePrefix)
	if !ok {
		return 0, false, false
	}
	digits, packed := strings.CutSuffix(s, packedEnd)
	if !packed {
		if digits, ok = strings.CutSuffix(s, plainEnd); !ok {
			return 0, false, false
		}
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, packed, err == nil && len(digits) == 20
}

func (a *archive) path(first uint64) string {
	return filepath.Join(a.dir, fmt.Sprintf("%s%020d%s", archivePrefix, first, plainEnd))
}

// empty tells whether there is no fact on file.
func (a *archive) empty() bool { return a.last.Load() == 0 }

// firstSeq is the first sequence on file; 0 when there is none.
func (a *archive) firstSeq() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.files) == 0 {
		return 0
	}
	return a.files[0].first
}

// belongsTo writes down which stream the files are of.
func (a *archive) belongsTo(stream string) error {
	if a.stream == stream {
		return nil
	}
	path := filepath.Join(a.dir, idFile)
	if err := writeSynced(path, []byte(stream+"\n")); err != nil {
		return fmt.Errorf("cannot name the archive's stream: %w", err)
	}
	a.stream = stream
	return nil
}

// writeSynced replaces a small file as a whole.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// reached is closed when the archive holds seq.
func (a *archive) reached(seq uint64) <-chan struct{} {
	done := make(chan struct{})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last.Load() >= seq {
		close(done)
	} else {
		a.reach = append(a.reach, reachWaiter{seq, done})
	}
	return done
}

func (a *archive) wake() {
	last := a.last.Load()
	a.reach = slices.DeleteFunc(a.reach, func(w reachWaiter) bool {
		if w.seq > last {
			return false
		}
		close(w.done)
		return true
	})
}

// keep deletes the oldest files above the byte limit and beyond the age; never
// the one that is written.
func (a *archive) keep(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sizes, total := make([]int64, len(a.files)), int64(0)
	times := make([]time.Time, len(a.files))
	for i := range a.files {
		if st, err := os.Stat(a.files[i].path); err == nil {
			sizes[i], times[i] = st.Size(), st.ModTime()
			total += st.Size()
		}
	}
	n := 0
	for ; n < len(a.files)-1; n++ {
		if total <= a.o.ArchiveMaxBytes && now.Sub(times[n]) <= a.o.ArchiveMaxAge {
			break
		}
		if err := os.Remove(a.files[n].path); err != nil {
			a.o.Logger.Warn("cannot delete old archive file", zap.Error(err))
			break
		}
		a.o.Logger.Info("old archive file deleted", zap.String("file", a.files[n].path), zap.Int64("archive_bytes", total))
		total -= sizes[n]
	}
	a.files = slices.Delete(a.files, 0, n)
}

// close syncs and closes the file that is written.
func (a *archive) close() error {
	err := a.sync()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f != nil {
		if cerr := a.f.Close(); err == nil {
			err = cerr
		}
		a.f = nil
	}
	return err
}
