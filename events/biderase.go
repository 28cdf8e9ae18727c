package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// ErasedBids counts what [BidLog.Erase] removed.
type ErasedBids struct {
	Files   int // files that were rewritten
	Records int // records that lost their visitor
}

// eraseOrder is a request to the goroutine that packs files.
type eraseOrder struct {
	ctx   context.Context
	keys  KeySet
	reply chan eraseReply // has room for the reply
}

type eraseReply struct {
	done ErasedBids
	err  error
}

// ErrBidLogEnded means that Run has ended.
var ErrBidLogEnded = errors.New("bid log has ended")

// Erase removes the visitor, and the identifiers of the request, from every record that
// contains one of keys and was written before the call. The rest of the record, which
// then identifies no one, stays. After an error it can be called again.
func (l *BidLog) Erase(ctx context.Context, keys KeySet) (ErasedBids, error) {
	o := eraseOrder{ctx: ctx, keys: keys, reply: make(chan eraseReply, 1)}
	select {
	case l.erasures <- o:
	case <-ctx.Done():
		return ErasedBids{}, ctx.Err()
	case <-l.ended:
		return ErasedBids{}, ErrBidLogEnded
	}
	select {
	case r := <-o.reply:
		return r.done, r.err
	case <-l.ended:
		return ErasedBids{}, ErrBidLogEnded
	}
}

// endForErasure ends the current file and hands the order to the packer.
func (w *bidWriter) endForErasure(o eraseOrder) {
	w.l.flush(false)
	w.drain()
	w.end()
	select {
	case w.erasures <- o:
	default:
		o.reply <- eraseReply{err: errors.New("cannot erase in bid log: too many erasures wait")}
	}
}

// erase rewrites the files that contain one of the keys, and packs them. It runs on the
// goroutine that packs files.
func (w *bidWriter) erase(o eraseOrder) (done ErasedBids, err error) {
	names, err := filepath.Glob(filepath.Join(EscapeGlob(w.l.o.Dir), bidPrefix+"*"+bidEnd+"*"))
	if err != nil {
		return done, err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := o.ctx.Err(); err != nil {
			return done, err
		}
		if w.isCurrent(name) {
			continue
		}
		if strings.HasSuffix(name, ".tmp") { // left by a kill
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return done, fmt.Errorf("cannot erase personal data: %w", err)
			}
			continue
		}
		n, err := eraseFile(name, o.keys)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have been deleted because of its age
			return done, fmt.Errorf("cannot erase personal data in %s: %w", name, err)
		}
		if n > 0 {
			done.Files, done.Records = done.Files+1, done.Records+n
		}
	}
	return done, nil
}

// eraseFile rewrites one file, if it contains one of the keys, in packed form.
func eraseFile(name string, keys KeySet) (n int, err error) {
	text, err := ReadPacked(name)
	if err != nil || !keys.In(text) {
		return 0, err
	}
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		if !keys.In(line) {
			out = append(out, line...)
			continue
		}
		n++
		if out, err = appendErased(out, line, keys); err != nil {
			return 0, err
		}
	}
	plain := strings.TrimSuffix(name, PackedEnd)
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if err := writePacked(plain+PackedEnd, bytes.NewReader(out), int64(len(out)), st.ModTime(), func() {}); err != nil {
		return 0, err
	}
	if name == plain {
		err = os.Remove(plain)
	}
	return n, errors.Join(err, syncDir(filepath.Dir(name)))
}

// appendErased appends a record without its visitor and identifiers. A line that is no
// record, for instance a torn one, is left out.
func appendErased(dst, line []byte, keys KeySet) ([]byte, error) {
	var r BidRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return dst, nil
	}
	r.Visitor = nil
	keys.Blank(r.Request)
	out, err := appendRecord(dst, &r, func(dst []byte) ([]byte, error) { return append(dst, r.Request...), nil })
	return append(out, '\n'), err
}

// ReadPacked reads a file, and decompresses it if its name says that it is packed.
func ReadPacked(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil || !strings.HasSuffix(name, PackedEnd) {
		return b, err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(b, nil)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
