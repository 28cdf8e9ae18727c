package bidder

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// minGzip is the size in bytes from which a response is compressed. Below it the
// overhead of gzip exceeds the savings.
const minGzip = 1 << 10

var errInflated = errors.New("body inflates beyond the limit")

// gzipper is a reader and a writer that are reused between requests.
type gzipper struct {
	in  bytes.Reader
	r   gzip.Reader
	out *gzip.Writer
}

func (b *Bidder) gzipper() *gzipper {
	if g, ok := b.gzips.Get().(*gzipper); ok {
		return g
	}
	return &gzipper{}
}

// inflate appends the content of a gzip body to dst. It stops at the first byte
// beyond limit, so that a small body cannot expand without bound.
func (b *Bidder) inflate(dst, raw []byte, limit int) ([]byte, error) {
	g := b.gzipper()
	defer b.gzips.Put(g)
	g.in.Reset(raw)
	defer g.in.Reset(nil)
	if err := g.r.Reset(&g.in); err != nil {
		return dst, err
	}
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		room := dst[len(dst):min(cap(dst), limit+1)]
		n, err := g.r.Read(room)
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, errInflated
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// deflate compresses body to w, a response's buffer, to which writing cannot fail.
func (b *Bidder) deflate(w io.Writer, body []byte) {
	g := b.gzipper()
	defer b.gzips.Put(g)
	if g.out == nil {
		g.out, _ = gzip.NewWriterLevel(w, gzip.BestSpeed)
	} else {
		g.out.Reset(w)
	}
	_, _ = g.out.Write(body)
	_ = g.out.Close()
}
