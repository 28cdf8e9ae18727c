package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"rebound/events"
)

const reserveName = "reserve"

// reserve is a file of zeros that has its place on the disk already: what is
// written over it needs none, so that a full disk still takes some facts. They
// stand at its beginning, a line each.
type reserve struct {
	path string
	size int64
	f    *os.File // nil while there is none
	used int64
}

// open makes the file, or takes that of an earlier run with what is in it.
func (r *reserve) open() (facts uint64, err error) {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, fmt.Errorf("cannot open reserve of spool: %w", err)
	}
	if facts, err = r.fill(f); err != nil {
		if r.used == 0 {
			err = errors.Join(err, os.Remove(r.path)) // a part of it serves nobody
		}
		return 0, errors.Join(fmt.Errorf("cannot reserve %d bytes for spool: %w", r.size, err), f.Close())
	}
	r.f = f
	return facts, nil
}

// fill finds what is used and writes zeros where the file is too short.
func (r *reserve) fill(f *os.File) (facts uint64, err error) {
	data, err := os.ReadFile(r.path)
	if err != nil {
		return 0, err
	}
	if end := bytes.IndexByte(data, 0); end >= 0 {
		r.used = int64(end)
	} else {
		r.used = int64(len(data))
	}
	r.size = max(r.size, int64(len(data)))
	facts = uint64(bytes.Count(data[:r.used], []byte{'\n'}))
	if r.used > 0 && data[r.used-1] != '\n' { // torn: the next fact begins a line
		if r.used == r.size {
			r.size++
		}
		if err := extend(f, int64(len(data)), r.size); err != nil {
			return 0, err
		}
		if _, err := f.WriteAt([]byte{'\n'}, r.used); err != nil {
			return 0, err
		}
		r.used++
	} else if err := extend(f, int64(len(data)), r.size); err != nil {
		return 0, err
	}
	return facts, errors.Join(f.Sync(), syncDir(filepath.Dir(r.path)))
}

// extend writes zeros from the file's end to its size.
func extend(f *os.File, end, size int64) error {
	if end >= size {
		return nil
	}
	_, err := f.WriteAt(make([]byte, size-end), end)
	return err
}

// put writes lines over zeros and syncs them.
func (r *reserve) put(lines []byte) error {
	if r.f == nil || r.used+int64(len(lines)) > r.size {
		return fmt.Errorf("cannot use reserve of spool: got %d of %d bytes used; want room for %d", r.used, r.size, len(lines))
	}
	if _, err := r.f.WriteAt(lines, r.used); err != nil {
		return fmt.Errorf("cannot write reserve of spool: %w", err)
	}
	if err := r.f.Sync(); err != nil {
		return fmt.Errorf("cannot sync reserve of spool: %w", err)
	}
	r.used += int64(len(lines))
	return nil
}

// text is what waits in the file.
func (r *reserve) text() ([]byte, error) {
	b := make([]byte, r.used)
	if _, err := r.f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("cannot read reserve of spool: %w", err)
	}
	return b, nil
}

// clear writes zeros over what was appended; what came since stays for the next
// time, together with it: the log knows those ids.
func (r *reserve) clear(appended int64) (bool, error) {
	if r.used != appended {
		return false, nil
	}
	if _, err := r.f.WriteAt(make([]byte, r.used), 0); err != nil {
		return false, fmt.Errorf("cannot clear reserve of spool: %w", err)
	}
	r.used = 0
	if err := r.f.Sync(); err != nil {
		return false, fmt.Errorf("cannot clear reserve of spool: %w", err)
	}
	return true, nil
}

func (r *reserve) close() error {
	if r.f == nil {
		return nil
	}
	f := r.f
	r.f = nil
	return f.Close()
}

// appendLines encodes facts as the spool keeps them.
func appendLines(dst []byte, facts []events.Fact) ([]byte, error) {
	for i := range facts {
		f := facts[i]
		f.V = 1
		var err error
		if dst, err = events.AppendFact(dst, &f); err != nil {
			return nil, fmt.Errorf("cannot encode fact %s: %w: %w", f.ID, ErrInvalid, err)
		}
		dst = append(dst, '\n')
	}
	return dst, nil
}
