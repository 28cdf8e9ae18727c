package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.uber.org/zap"

	"rebound/events"
)

// Erased counts what [Log.Erase] removed.
type Erased struct {
	Files int `json:"log_files"` // files that were rewritten or removed
	Facts int `json:"facts"`     // facts that lost their personal part
}

// eraseOrder is a request to the goroutine that seals files.
type eraseOrder struct {
	ctx   context.Context
	keys  events.KeySet
	upTo  uint64
	reply chan eraseReply // has room for the reply
}

type eraseReply struct {
	done Erased
	err  error
}

// Erase removes the personal part of every fact up to a sequence that contains one of
// keys, in every file of the log: it is replaced by its hash, so that the chain stays
// valid and money, kinds and times remain. Torn ends that were kept and contain a key
// are deleted. The new files are on disk, and the old ones removed, when it returns.
// After an error it can be called again; what was erased stays erased. Opt-outs and
// erasures keep their keys, which are part of their body.
func (l *Log) Erase(ctx context.Context, keys events.KeySet, upTo uint64) (Erased, error) {
	if err := l.endFile(ctx, upTo); err != nil {
		return Erased{}, err
	}
	o := eraseOrder{ctx: ctx, keys: keys, upTo: upTo, reply: make(chan eraseReply, 1)}
	select {
	case l.erasures <- o:
	case <-ctx.Done():
		return Erased{}, ctx.Err()
	case <-l.ctx.Done():
		return Erased{}, ErrClosed
	}
	select {
	case r := <-o.reply:
		return r.done, r.err
	case <-l.ctx.Done():
		return Erased{}, ErrClosed
	}
}

// endFile makes the writer begin a new file, unless the current one begins after a
// sequence, by appending a fact that changes nothing.
func (l *Log) endFile(ctx context.Context, upTo uint64) error {
	if l.newest() > upTo {
		return nil
	}
	for {
		end := l.endBy.Load()
		if end >= upTo || l.endBy.CompareAndSwap(end, upTo) {
			break
		}
	}
	now := l.o.Now().UTC()
	tick := events.Fact{ID: fmt.Sprintf("erase:%s:%d:%d", l.id, upTo, now.UnixNano()), Kind: events.KindTick, At: now}
	if err := l.Append(ctx, tick); err != nil {
		return fmt.Errorf("cannot begin a new log file: %w", err)
	}
	if l.newest() <= upTo {
		return fmt.Errorf("cannot begin a new log file: the current one still begins with fact %d: %w", l.newest(), ErrFull)
	}
	return nil
}

// newest returns the first sequence of the file that is being written.
func (l *Log) newest() uint64 {
	files, _ := l.files.snapshot()
	if len(files) == 0 {
		return 1
	}
	return files[len(files)-1].header.First
}

// erase executes an order. It runs on the goroutine that seals files, so that no file is
// sealed and rewritten at the same time.
func (l *Log) erase(o eraseOrder) (done Erased, err error) {
	files, _ := l.files.snapshot()
	for i := 0; i+1 < len(files) && files[i].header.First <= o.upTo; i++ {
		if err := o.ctx.Err(); err != nil {
			return done, err
		}
		n, err := l.files.erase(&files[i], &files[i+1].header, o.keys, o.upTo)
		if isGone(err) { // deleted, because it was too old
			continue
		}
		if err != nil {
			return done, fmt.Errorf("cannot erase personal data in %s: %w", l.files.path(files[i].name()), err)
		}
		if n > 0 {
			done.Files, done.Facts = done.Files+1, done.Facts+n
		}
	}
	cuts, err := l.files.eraseCuts(o.keys)
	done.Files += cuts
	if err == nil && done.Files > 0 {
		l.o.Logger.Info("personal data was erased from the log", zap.Int("files", done.Files), zap.Int("facts", done.Facts))
	}
	return done, err
}

// erase rewrites one file that is complete, if it contains one of the keys, and returns
// the number of facts that lost their personal part.
func (c *catalog) erase(f *logFile, next *events.Header, keys events.KeySet, upTo uint64) (n int, err error) {
	personal := func(l *events.Line) bool { return l.Seq <= upTo && !l.Erased() && keys.In(l.Who) }
	err = c.verifyFile(f, next, func(l *events.Line) error {
		if personal(l) {
			n++
		}
		return nil
	})
	if err != nil || n == 0 {
		return 0, err
	}
	return n, c.pack(f, next, func(l *events.Line) {
		if personal(l) {
			l.Erase()
		}
	})
}

// eraseCuts deletes the torn ends that contain one of the keys. They were never
// acknowledged and are kept only to be looked at.
func (c *catalog) eraseCuts(keys events.KeySet) (n int, err error) {
	names, err := c.d.List(c.dir)
	if err != nil {
		return 0, fmt.Errorf("cannot list log files: %w", err)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, cutPart) {
			continue
		}
		found, err := c.cutHolds(name, keys)
		if err == nil && found {
			n++
			err = errors.Join(ignoreGone(c.d.Remove(c.path(name))), c.d.SyncDir(c.dir))
		}
		if err != nil {
			return n, fmt.Errorf("cannot erase personal data in %s: %w", c.path(name), err)
		}
	}
	return n, nil
}

// cutHolds reports whether a torn end contains one of the keys.
func (c *catalog) cutHolds(name string, keys events.KeySet) (bool, error) {
	r, err := c.open(name, 0)
	if err != nil {
		return false, err
	}
	defer r.close()
	for {
		text, err := r.next()
		if keys.In(text) {
			return true, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, errUnfinished) {
			return false, nil
		}
		if err != nil && !isNoLine(err) {
			return false, err
		}
	}
}
