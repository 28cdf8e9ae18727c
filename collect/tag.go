package collect

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"strconv"
)

//go:embed tag.js
var tagSource []byte

// script is the tag as it is served: without comments and indentation.
type script struct {
	text, zipped []byte
	etag         string
}

// makeTag returns the tag for our id in the Global Vendor List, without which it could
// not tell a visitor's refusal of us from their consent to others.
func makeTag(vendor int) *script {
	var s script
	for line := range bytes.Lines(tagSource) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || bytes.HasPrefix(line, []byte("//")) {
			continue
		}
		s.text = append(append(s.text, line...), '\n')
	}
	s.text = bytes.ReplaceAll(s.text, []byte("VENDOR"), strconv.AppendInt(nil, int64(vendor), 10))
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	_, _ = z.Write(s.text)                                // a buffer takes everything
	_ = z.Close()
	s.zipped = b.Bytes()
	sum := sha256.Sum256(s.text)
	s.etag = `"` + hex.EncodeToString(sum[:8]) + `"`
	return &s
}
