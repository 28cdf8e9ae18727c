package events

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A packed file names its content's size.
func TestUnpackedSize(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, packBlock - 1, packBlock, packBlock + 1, 3*packBlock + 77, 2*fastBlock + 1} {
		text := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		plain := filepath.Join(dir, "bids.ndjson")
		for _, end := range []string{PackedEnd, FastEnd} {
			if size == 0 && end == FastEnd {
				continue
			}
			if err := os.WriteFile(plain, text, 0o600); err != nil {
				t.Fatal(err)
			}
			blocks := 0
			if err := pack(plain, end, func() { blocks++ }); err != nil {
				t.Fatal(err)
			}
			if want := size / packBlock; blocks != want {
				t.Errorf("%d bytes: got %d rests; want %d", size, blocks, want)
			}
			checkUnpacked(t, plain+end, text)
			if names, err := filepath.Glob(plain + "*"); err != nil || len(names) != 1 || names[0] != PackedName(plain) {
				t.Errorf("got %v, %v; want only %s", names, err, PackedName(plain)) // the other form is removed
			}
		}
	}
}

func checkUnpacked(t *testing.T, name string, text []byte) {
	t.Helper()
	if n, err := UnpackedSize(name); err != nil || n != int64(len(text)) {
		t.Errorf("%s of %d bytes: got %d, %v", name, len(text), n, err)
	}
	if got, err := ReadPacked(name); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%s of %d bytes: got %d other bytes, %v", name, len(text), len(got), err)
	}
	r, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%s of %d bytes: read %d other bytes, %v", name, len(text), len(got), err)
	}
}

// The size of a file of an earlier version, whose header has none, is counted.
func TestUnpackedSizeOfOldFiles(t *testing.T) {
	for _, size := range []int{0, 1, packBlock, packBlock + 1} {
		text := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
		name := filepath.Join(t.TempDir(), "bids.ndjson"+PackedEnd)
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
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
			err = os.WriteFile(name, b.Bytes(), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		checkUnpacked(t, name, text)
	}
}

func TestUnpackedSizeOfOthers(t *testing.T) {
	for _, end := range []string{PackedEnd, FastEnd} {
		name := filepath.Join(t.TempDir(), "bids.ndjson"+end)
		if err := os.WriteFile(name, []byte("not packed"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := UnpackedSize(name); err == nil {
			t.Errorf("got the size of a %s file that is none", end)
		}
	}
}
