package events

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A packed file has its content's size in its header; the size of one without it, of an
// earlier version, is counted.
func TestUnpackedSize(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, packSlice - 1, packSlice, packSlice + 1, 3*packSlice + 77} {
		text := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		plain := filepath.Join(dir, "bids.ndjson")
		name := plain + PackedEnd
		if err := os.WriteFile(plain, text, 0o600); err != nil {
			t.Fatal(err)
		}
		blocks := 0
		if err := pack(plain, func() { blocks++ }); err != nil {
			t.Fatal(err)
		}
		check := func(what string) {
			t.Helper()
			if n, err := UnpackedSize(name); err != nil || n != int64(size) {
				t.Errorf("%s of %d bytes: got %d, %v", what, size, n, err)
			}
			if got, err := ReadPacked(name); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s of %d bytes: got %d other bytes, %v", what, size, len(got), err)
			}
		}
		check("a packed file")
		if want := size / packSlice; blocks != want {
			t.Errorf("%d bytes: got %d rests; want %d", size, blocks, want)
		}
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1))
		if err == nil {
			_, err = z.Write(text)
		}
		if err == nil {
			err = z.Flush() // an encoder that knows all of a short text writes its size
		}
		if err == nil {
			err = z.Close()
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		check("a file without a size")
		if err := os.WriteFile(name, []byte("no zstd"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := UnpackedSize(name); err == nil {
			t.Error("got the size of a file that is no zstd")
		}
	}
}
