package events

import (
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// PackedEnd is the suffix that a packed file's name has in addition to the plain file's name.
const PackedEnd = ".zst"

// Pack replaces a file with its zstd form in the same folder. The new file is
// written atomically, synced, and gets the modification time of the original,
// which is then removed.
func Pack(name string) error {
	if err := packBeside(name); err != nil {
		os.Remove(name + PackedEnd + ".tmp") //nolint:errcheck // the first error counts
		return fmt.Errorf("cannot pack %s: %w", name, err)
	}
	if err := os.Remove(name); err != nil {
		return fmt.Errorf("cannot remove packed file: %w", err)
	}
	return nil
}

func packBeside(name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	tmp := name + PackedEnd + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = compress(out, in)
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
		err = os.Rename(tmp, name+PackedEnd)
	}
	return err
}

func compress(to io.Writer, from io.Reader) error {
	z, err := zstd.NewWriter(to, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, from); err != nil {
		z.Close() //nolint:errcheck // the first error counts
		return err
	}
	return z.Close()
}
