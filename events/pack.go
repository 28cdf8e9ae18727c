package events

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// The suffixes that a packed file's name has in addition to the plain file's name.
const (
	PackedEnd = ".zst" // zstd
	FastEnd   = ".s2"  // S2: takes less than half of zstd's time, and nearly twice its space
)

// PlainName returns the name that a file has before it is packed.
func PlainName(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, PackedEnd), FastEnd)
}

// PackedName returns the name that a file has, or would have, once it is packed.
func PackedName(plain string) string {
	if _, err := os.Stat(plain + FastEnd); err == nil {
		return plain + FastEnd
	}
	return plain + PackedEnd
}

// Pack replaces a file with its packed form, [PackedEnd] or [FastEnd], in the same
// folder. The new file is written atomically, synced, and gets the modification time of
// the original, which is then removed. FastEnd is not for empty files.
func Pack(name, end string) error { return pack(name, end, func() {}) }

// pack is Pack that calls rest after each block.
func pack(name, end string, rest func()) error {
	if err := packBeside(name, end, rest); err != nil {
		os.Remove(name + end + ".tmp") //nolint:errcheck // the first error counts
		return fmt.Errorf("cannot pack %s: %w", name, err)
	}
	other := FastEnd
	if end == FastEnd {
		other = PackedEnd
	}
	if err := os.Remove(name + other); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an attempt that was interrupted
		return fmt.Errorf("cannot remove packed file: %w", err)
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("cannot remove packed file: %w", err)
	}
	return nil
}

func packBeside(name, end string, rest func()) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	tmp := name + end + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = compress(out, in, packing{end, st.Size()}, rest)
	if err == nil {
		err = out.Sync()
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(tmp, st.ModTime(), st.ModTime())
	}
	if err == nil {
		err = os.Rename(tmp, name+end)
	}
	return err
}

// packBlock is how much is compressed at once, in bytes: less than a millisecond's work.
const packBlock = 128 << 10

// fastBlock is the size of the blocks of S2, which repeat nothing of each other. They take
// less than a millisecond as well.
const fastBlock = 512 << 10

// packWrite is how much of a packed file is written at once, in bytes. Small writes take
// several times as long.
const packWrite = 256 << 10

// packing is the suffix of a packed file and the size of its content in bytes.
type packing struct {
	end  string
	size int64
}

// compressor returns what compresses to w.
func (p packing) compressor(w io.Writer) (io.WriteCloser, error) {
	if p.end == FastEnd {
		return s2.NewWriter(w, s2.WriterConcurrency(1), s2.WriterBlockSize(fastBlock), s2.WriterAddIndex()), nil
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	z.ResetContentSize(w, p.size)
	return z, nil
}

// compress writes what from holds. It calls rest after each block.
func compress(to io.Writer, from io.Reader, p packing, rest func()) error {
	out := bufio.NewWriterSize(to, packWrite)
	z, err := p.compressor(out)
	if err != nil {
		return err
	}
	for block := make([]byte, packBlock); ; rest() {
		n, err := io.ReadFull(from, block)
		if _, werr := z.Write(block[:n]); werr != nil {
			err = werr
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return errors.Join(z.Close(), out.Flush())
		default:
			z.Close() //nolint:errcheck // the first error counts
			return err
		}
	}
}

// UnpackedSize returns the size of a packed file's content in bytes. It only reads the whole file
// if its header does not have the size, as in files of versions before 2026-12.
func UnpackedSize(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	if strings.HasSuffix(name, FastEnd) {
		var index s2.Index
		if err := index.LoadStream(f); err != nil {
			return 0, fmt.Errorf("cannot read %s: %w", name, err)
		}
		return index.TotalUncompressed, nil
	}
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
