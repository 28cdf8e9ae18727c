package bidder

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// Decompression never returns more than the limit, and agrees with the standard
// library wherever that can read the whole body.
func FuzzInflate(f *testing.F) {
	pack := func(b []byte) []byte {
		var out bytes.Buffer
		w := stdgzip.NewWriter(&out)
		_, _ = w.Write(b)
		_ = w.Close()
		return out.Bytes()
	}
	good := pack([]byte(`{"id":"1"}`))
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...)) // two members
	f.Add(append(bytes.Clone(good), "junk"...))
	f.Add(good[:len(good)-3])
	f.Add(pack(make([]byte, 1<<20))) // a bomb
	f.Add([]byte(`{"id":"1"}`))
	f.Add([]byte{0x1f, 0x8b, 8, 0xff, 0, 0, 0, 0, 0, 0})
	const limit = 4 << 10
	b := New(Options{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := b.inflate(nil, raw, limit)
		if len(got) > limit+1 {
			t.Fatalf("%d bytes became %d; the limit is %d", len(raw), len(got), limit)
		}
		var want []byte
		r, stdErr := stdgzip.NewReader(bytes.NewReader(raw))
		if stdErr == nil {
			want, stdErr = io.ReadAll(io.LimitReader(r, limit+1))
		}
		// Reserved flags are refused, as RFC 1952 requires; the standard library accepts
		// them.
		if stdErr == nil && len(want) <= limit && !errors.Is(err, gzip.ErrHeader) && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%x: got %q, %v; the standard library reads %q", raw, got, err, want)
		}
		// A truncated second member ends the body for one library and is an error for the
		// other; neither may invent bytes.
		if err == nil && stdErr != nil && !bytes.Equal(got, want) {
			t.Fatalf("%x: read as %q; the standard library reads %q, %v", raw, got, want, stdErr)
		}
	})
}
