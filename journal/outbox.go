package journal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

// outbox keeps notices and opt-outs on disk while the cluster is unreachable. They are
// published in order once it is back. A line is the message that will be published, with
// a digest, so that a changed digit does not become money.
type outbox struct {
	l   *Log
	dir string

	count atomic.Uint64 // lines not yet published

	mu    sync.Mutex // protects the fields below
	file  file       // being written; nil if there is none
	size  int64      // of file
	bytes int64      // total of all files
	next  int        // number of the next file
	more  chan struct{}
}

const (
	// outboxFile is the size in bytes at which a file of the outbox is closed.
	outboxFile = 4 << 20
	// sendAtOnce is the number of facts that are published before waiting for their
	// acknowledgements.
	sendAtOnce = 256
	// joinedName is a file of the outbox that names the stream that this node follows.
	joinedName = "joined"
	// damagedEnd is the suffix of files that contained a damaged line.
	damagedEnd = ".damaged"
)

func openOutbox(l *Log) (*outbox, error) {
	o := &outbox{l: l, dir: filepath.Join(filepath.Dir(l.o.FactsDir), "outbox"), next: 1, more: make(chan struct{}, 1)}
	names, err := o.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		c, err := o.read(name)
		if err != nil {
			return nil, err
		}
		o.count.Add(uint64(len(c.lines) + c.damaged))
		o.bytes += c.bytes
		if _, err := fmt.Sscanf(name, "%d.ndjson", &o.next); err == nil {
			o.next++
		}
	}
	return o, nil
}

// names lists the files, the oldest first.
func (o *outbox) names() ([]string, error) {
	names, err := o.l.o.disk.List(o.dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list outbox: %w", err)
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, plainEnd) }), nil
}

// joined returns the identity of the stream that this node follows; empty if it
// has never followed one.
func (o *outbox) joined() (string, error) {
	b, err := readWhole(o.l.o.disk, filepath.Join(o.dir, joinedName))
	if err != nil && !isGone(err) {
		return "", fmt.Errorf("cannot read which stream this node follows: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (o *outbox) join(stream string) error {
	return writeWhole(o.l.o.disk, filepath.Join(o.dir, joinedName), func(w io.Writer) error {
		_, err := io.WriteString(w, stream+"\n")
		return err
	})
}

// add stores facts; nil means that they are on disk.
func (o *outbox) add(list []*pending) error {
	var text []byte
	limit := o.l.o.Fleet.OutboxBytes
	for _, p := range list {
		text = append(text, payload(&p.line)...)
		text = append(hex.AppendEncode(append(text, ' '), p.sum[:]), '\n')
		if p.class == classOptOut {
			limit = o.l.o.Fleet.OutboxBytes / 8 * 9
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes+int64(len(text)) > limit {
		return fmt.Errorf("cannot keep facts while the cluster is unreachable: the outbox holds %d bytes; want at most %d: %w", o.bytes, limit, ErrBusy)
	}
	err := o.begin()
	if err == nil {
		_, err = o.file.Write(text)
	}
	if err == nil {
		err = o.file.Sync()
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("cannot write outbox: %w", err), o.end()) // a half-written line has no digest
		if isFull(err) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		return err
	}
	o.bytes, o.size = o.bytes+int64(len(text)), o.size+int64(len(text))
	o.count.Add(uint64(len(list)))
	select {
	case o.more <- struct{}{}:
	default:
	}
	if o.size >= outboxFile {
		return o.end()
	}
	return nil
}

// begin creates the next file if none is open. o.mu is held.
func (o *outbox) begin() error {
	if o.file != nil {
		return nil
	}
	f, err := o.l.o.disk.Create(filepath.Join(o.dir, fmt.Sprintf("%020d", o.next)+plainEnd))
	if err != nil {
		return err
	}
	o.file, o.size = f, 0
	o.next++
	return o.l.o.disk.SyncDir(o.dir)
}

// end closes the file that is being written. o.mu is held.
func (o *outbox) end() error {
	f := o.file
	if o.file = nil; f == nil {
		return nil
	}
	return f.Close()
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end() //nolint:errcheck // everything in it is synced
}

// kept is the content of a file of the outbox.
type kept struct {
	lines   [][]byte // messages
	damaged int      // lines that do not match their digest
	bytes   int64
}

// read reads a file. A line that does not match its digest was acknowledged and cannot
// be trusted, so the node becomes blind. A last line without a newline was never
// acknowledged.
func (o *outbox) read(name string) (c kept, err error) {
	b, err := readWhole(o.l.o.disk, filepath.Join(o.dir, name))
	if err != nil {
		return c, fmt.Errorf("cannot read outbox: %w", err)
	}
	c.bytes = int64(len(b))
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return c, nil
		}
		b = rest
		at := max(len(line)-2*len(events.Digest{})-1, 0)
		sum, err := unpack(line[:at], 1).Digest()
		if err == nil && at > 0 && hex.EncodeToString(sum[:]) == string(line[at+1:]) {
			c.lines = append(c.lines, line[:at])
			continue
		}
		c.damaged++
		if err := o.l.goBlind(fmt.Sprintf("line %d of %s is damaged: an acknowledged fact is lost", n, filepath.Join(o.dir, name)), nil); err != nil {
			return c, err
		}
	}
}

// drain publishes the stored facts, and those that are added, until ctx ends.
func (o *outbox) drain(ctx context.Context, f *fleet) {
	for ctx.Err() == nil {
		if err := o.publish(ctx, f); err != nil {
			if ctx.Err() == nil {
				o.l.o.Logger.Warn("cannot publish the outbox; retrying", zap.Error(err))
			}
			pause(ctx, lookEvery)
			continue
		}
		select {
		case <-o.more:
		case <-ctx.Done():
		}
	}
}

// publish sends every file, and removes it once this node's log holds its facts.
func (o *outbox) publish(ctx context.Context, f *fleet) error {
	o.mu.Lock()
	names, err := o.names()
	err = errors.Join(err, o.end())
	o.mu.Unlock()
	if err != nil {
		return err
	}
	for _, name := range names {
		c, err := o.read(name)
		if err == nil {
			err = o.send(ctx, f, c.lines)
		}
		if err == nil {
			err = o.remove(name, c.damaged > 0)
		}
		if err != nil {
			return err
		}
		o.count.Add(^uint64(len(c.lines) + c.damaged - 1))
		o.mu.Lock()
		o.bytes -= c.bytes
		o.mu.Unlock()
	}
	return nil
}

// send publishes messages in order and waits until this node's log holds them.
func (o *outbox) send(ctx context.Context, f *fleet, lines [][]byte) error {
	for some := range slices.Chunk(lines, sendAtOnce) {
		if err := o.sendSome(ctx, f, some); err != nil {
			return err
		}
	}
	return nil
}

func (o *outbox) sendSome(ctx context.Context, f *fleet, lines [][]byte) error {
	var futures []jetstream.PubAckFuture
	for _, data := range lines {
		var fact events.Fact
		if err := unpack(data, 1).Decode(&fact); err != nil {
			return err
		}
		if o.l.w.ids.has(idOf([]byte(fact.ID))) {
			continue // it was published before the cluster went away
		}
		future, err := f.js.PublishMsgAsync(message(&fact, data))
		if err != nil {
			return fmt.Errorf("cannot publish fact %s: %w", fact.ID, err)
		}
		futures = append(futures, future)
	}
	highest := uint64(0)
	for _, future := range futures {
		seq, err := ackOf(ctx, future)
		if err != nil {
			return err
		}
		highest = max(highest, seq)
	}
	return f.reached(ctx, highest)
}

// remove removes a file whose facts are in the log. A damaged file is renamed and kept.
func (o *outbox) remove(name string, damaged bool) error {
	d, path := o.l.o.disk, filepath.Join(o.dir, name)
	err := error(nil)
	if damaged {
		err = d.Rename(path, path+damagedEnd)
	} else {
		err = d.Remove(path)
	}
	if err == nil {
		err = d.SyncDir(o.dir)
	}
	if err != nil {
		return fmt.Errorf("cannot empty outbox: %w", err)
	}
	return nil
}
