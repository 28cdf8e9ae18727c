package events

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
)

// PackedEnd is the suffix that a packed file's name has in addition to the plain file's name.
const PackedEnd = ".zst"

// Pack replaces a file with its zstd form in the same folder. The new file is
// written atomically, synced, and gets the modification time of the original,
// which is then removed.
func Pack(name string) error { return pack(name, func() {}) }

// pack is Pack that calls rest after each slice.
func pack(name string, rest func()) error {
	if err := packBeside(name, rest); err != nil {
		return fmt.Errorf("cannot pack %s: %w", name, err)
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("cannot remove packed file: %w", err)
	}
	return nil
}

func packBeside(name string, rest func()) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	return writePacked(name+PackedEnd, in, st.Size(), st.ModTime(), rest)
}

// writePacked writes size bytes to a packed file atomically, synced and with the given
// modification time. It calls rest after each slice.
func writePacked(name string, in io.Reader, size int64, modified time.Time, rest func()) error {
	tmp := name + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = compress(out, in, size, rest)
	if err == nil {
		err = out.Sync()
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(tmp, modified, modified)
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp) //nolint:errcheck // the first error counts
	}
	return err
}

// packSlice is how much is compressed between two rests, in bytes: about a millisecond's
// work. Each slice evicts the requests' data from the processor's caches, so smaller slices slow
// requests down more.
const packSlice = 512 << 10

// packWrite is how much of a packed file is written at once, in bytes. Small writes take
// several times as long.
const packWrite = 256 << 10

// packOptions are those of the encoder. WithEncoderLevel(SpeedFastest) would reduce blocks to
// 64 KiB. Setting the window first, to the level's own 4 MiB, keeps the default of 128 KiB,
// which takes less time and less space.
var packOptions = []zstd.EOption{zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4 << 20), zstd.WithEncoderLevel(zstd.SpeedFastest)}

// compress writes what from holds, which has a number of bytes. It calls rest after each
// slice.
func compress(to io.Writer, from io.Reader, size int64, rest func()) error {
	z, err := zstd.NewWriter(nil, packOptions...)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(to, packWrite)
	z.ResetContentSize(out, size)
	if _, err = z.ReadFrom(&restingReader{r: from, rest: rest, left: packSlice}); err != nil {
		z.Close() //nolint:errcheck // the first error counts
		return err
	}
	return errors.Join(z.Close(), out.Flush())
}

// restingReader calls rest after each slice, when the next is read.
type restingReader struct {
	r    io.Reader
	rest func()
	left int // bytes of the slice
}

// Read implements [io.Reader].
func (r *restingReader) Read(b []byte) (int, error) {
	if r.left == 0 {
		r.rest()
		r.left = packSlice
	}
	n, err := r.r.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

// UnpackedSize returns the size of a packed file's content in bytes. It only reads the whole file
// if its header does not have the size, as in files of versions before 2026-12.
func UnpackedSize(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	var head [zstd.HeaderMaxSize]byte
	var h zstd.Header
	n, err := io.ReadFull(f, head[:])
	if err != nil && err != io.ErrUnexpectedEOF {
		return 0, fmt.Errorf("cannot read %s: %w", name, err)
	}
	if err := h.Decode(head[:n]); err == nil && h.HasFCS {
		return int64(h.FrameContentSize), nil
	}
	r, err := OpenFile(name)
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // it is only read
	return io.Copy(io.Discard, r)
}
