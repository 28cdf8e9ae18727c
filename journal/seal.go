package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/zap"

	"rebound/events"
)

const (
	// frameBytes is the amount of data in one compressed frame, so that damage is found
	// without reading the rest of the file.
	frameBytes = 1 << 20
	// rereadEvery is the interval at which sealed files are verified, one at a time.
	rereadEvery = 10 * time.Minute
)

func (l *Log) pokeSeal() {
	select {
	case l.seals <- struct{}{}:
	default:
	}
}

// seal compresses files that are no longer written to, and verifies sealed files again,
// so that damage is found before their facts are needed.
func (l *Log) seal(ctx context.Context) {
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	reread := uint64(0) // first sequence of the file that was verified last
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.seals:
			l.packAll(ctx)
		case o := <-l.erasures:
			done, err := l.erase(o)
			o.reply <- eraseReply{done, err}
		case <-tick.C:
			reread = l.reread(reread)
		}
	}
}

// packAll packs every plain file except the one that is being written.
func (l *Log) packAll(ctx context.Context) {
	files, _ := l.files.snapshot()
	for i := 0; i+1 < len(files) && ctx.Err() == nil; i++ {
		if files[i].packed {
			continue
		}
		if err := l.files.pack(&files[i], &files[i+1].header, nil); err != nil {
			l.meter.sealErrors.Add(1)
			l.o.Logger.Error("cannot seal a file of the log; it stays uncompressed", zap.String("file", l.files.path(files[i].name())), zap.Error(err))
		}
	}
}

// reread verifies the next sealed file after the one that begins with first.
func (l *Log) reread(first uint64) uint64 {
	files, _ := l.files.snapshot()
	for i := 0; i+1 < len(files); i++ {
		if files[i].packed && files[i].header.First > first {
			if err := l.files.verifyFile(&files[i], &files[i+1].header, nil); err != nil && !isGone(err) {
				l.meter.damaged.Store(true)
				l.o.Logger.Error("a sealed file of the log is damaged", zap.Error(err))
			}
			return files[i].header.First
		}
	}
	return 0
}

// pack replaces a file by a new compressed form, once that has been verified against
// the chain. Only valid facts are copied. edit, if not nil, may change a line.
func (c *catalog) pack(f *logFile, next *events.Header, edit func(*events.Line)) error {
	packed := *f
	packed.packed, packed.marks = true, nil
	tmp := packed.name() + tmpEnd
	err := writeTemp(c.d, c.path(tmp), func(w io.Writer) error { return c.compress(w, f, next, edit) })
	if err == nil {
		err = c.verifyNamed(tmp, &packed, next)
	}
	if err == nil {
		err = c.d.Rename(c.path(tmp), c.path(packed.name()))
	}
	if err == nil {
		err = c.d.SyncDir(c.dir)
	}
	if err != nil {
		return errors.Join(err, ignoreGone(c.d.Remove(c.path(tmp))))
	}
	if _, packed.bytes, err = c.readHeader(packed.name()); err != nil {
		return err
	}
	c.change(func(files []logFile) []logFile {
		for i := range files {
			if files[i].header.First == f.header.First {
				files[i] = packed
			}
		}
		return files
	})
	if f.packed {
		return nil
	}
	if err := c.d.Remove(c.path(f.name())); err != nil && !isGone(err) {
		return err
	}
	return c.d.SyncDir(c.dir)
}

func ignoreGone(err error) error {
	if isGone(err) {
		return nil
	}
	return err
}

// verifyNamed verifies a file that does not have its final name yet.
func (c *catalog) verifyNamed(name string, f *logFile, next *events.Header) error {
	other := &catalog{d: renamed{c.d, c.path(f.name()), c.path(name)}, dir: c.dir, accepted: c.acceptedNow()}
	return other.verifyFile(f, next, nil)
}

// renamed opens one file under another name.
type renamed struct {
	disk
	name, real string
}

func (r renamed) Open(name string) (file, error) {
	if name == r.name {
		name = r.real
	}
	return r.disk.Open(name)
}

// compress writes the facts of a file in frames. edit, if not nil, may change a line.
func (c *catalog) compress(w io.Writer, f *logFile, next *events.Header, edit func(*events.Line)) error {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	text := bytes.NewBuffer(f.header.Append(nil))
	var frame []byte
	flush := func() error {
		frame = z.EncodeAll(text.Bytes(), frame[:0])
		text.Reset()
		_, err := w.Write(frame)
		return err
	}
	var line []byte
	err = c.verifyFile(f, next, func(l *events.Line) error {
		if edit != nil {
			edit(l)
		}
		line = append(l.Append(line[:0]), '\n')
		text.Write(line)
		if text.Len() < frameBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return fmt.Errorf("cannot pack %s: %w", f.name(), err)
	}
	if text.Len() > 0 {
		return flush()
	}
	return nil
}
