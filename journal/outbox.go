package journal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

// outbox keeps notices and opt-outs on disk while the cluster is away. They are
// published, in order, once it is back. A line is the message that will be
// published and a digest of it, so that a changed digit does not become money.
type outbox struct {
	l   *Log
	dir string

	count atomic.Uint64 // facts that wait

	mu   sync.Mutex // protects what follows
	file file       // being written; nil while there is none
	next int        // number of the next file
	more chan struct{}
}

func openOutbox(l *Log) (*outbox, error) {
	o := &outbox{l: l, dir: filepath.Join(filepath.Dir(l.o.FactsDir), "outbox"), next: 1, more: make(chan struct{}, 1)}
	if err := l.o.disk.MkdirAll(o.dir); err != nil {
		return nil, fmt.Errorf("cannot make outbox: %w", err)
	}
	names, err := o.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		lines, err := o.read(name)
		if err != nil {
			return nil, err
		}
		o.count.Add(uint64(len(lines)))
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

// add stores facts; nil means that they are on disk.
func (o *outbox) add(list []*pending) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.l.o.disk
	if o.file == nil {
		f, err := d.Create(filepath.Join(o.dir, fmt.Sprintf("%020d", o.next)+plainEnd))
		if err == nil {
			err = d.SyncDir(o.dir)
		}
		if err != nil {
			return fmt.Errorf("cannot write outbox: %w", err)
		}
		o.file = f
		o.next++
	}
	var text []byte
	for _, p := range list {
		text = append(text, payload(&p.line)...)
		text = append(hex.AppendEncode(append(text, ' '), p.sum[:]), '\n')
	}
	_, err := o.file.Write(text)
	if err == nil {
		err = o.file.Sync()
	}
	if err != nil { // what is half written has no digest, and is passed over
		o.file.Close() //nolint:errcheck // the first error counts
		o.file = nil
		return fmt.Errorf("cannot write outbox: %w", err)
	}
	o.count.Add(uint64(len(list)))
	select {
	case o.more <- struct{}{}:
	default:
	}
	return nil
}

// read returns the messages of a file. A line that does not fit its digest was
// acknowledged and cannot be trusted: the node goes blind. A last line without an
// end was never acknowledged.
func (o *outbox) read(name string) ([][]byte, error) {
	b, err := readWhole(o.l.o.disk, filepath.Join(o.dir, name))
	if err != nil {
		return nil, fmt.Errorf("cannot read outbox: %w", err)
	}
	var list [][]byte
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return list, nil
		}
		b = rest
		at := max(len(line)-2*len(events.Digest{})-1, 0)
		sum, err := unpack(line[:at], 1).Digest()
		if err != nil || at == 0 || hex.EncodeToString(sum[:]) != string(line[at+1:]) {
			if err := o.l.goBlind(fmt.Sprintf("line %d of %s is damaged", n, filepath.Join(o.dir, name)), nil); err != nil {
				return nil, err
			}
			continue
		}
		list = append(list, line[:at])
	}
}

// drain publishes what waits, and what comes, until ctx ends.
func (o *outbox) drain(ctx context.Context, f *fleet) {
	for ctx.Err() == nil {
		if err := o.publish(ctx, f); err != nil {
			if ctx.Err() == nil {
				o.l.o.Logger.Warn("the outbox cannot be published; tried again", zap.Error(err))
			}
			pause(ctx, time.Second)
			continue
		}
		select {
		case <-o.more:
		case <-ctx.Done():
		}
	}
}

// publish sends every file and removes it once this node's log holds its facts.
func (o *outbox) publish(ctx context.Context, f *fleet) error {
	o.mu.Lock()
	names, err := o.names()
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
		o.file = nil
	}
	o.mu.Unlock()
	if err != nil {
		return err
	}
	for _, name := range names {
		lines, err := o.read(name)
		if err != nil {
			return err
		}
		highest := uint64(0)
		for _, data := range lines {
			var fact events.Fact
			if err := unpack(data, 1).Decode(&fact); err != nil {
				return err
			}
			msg := &nats.Msg{Subject: subject(&fact), Data: data, Header: nats.Header{jetstream.MsgIDHeader: {fact.ID}}}
			ack, err := f.js.PublishMsg(ctx, msg)
			if err != nil {
				return fmt.Errorf("cannot publish fact %s: %w", fact.ID, err)
			}
			highest = max(highest, ack.Sequence)
		}
		if err := f.reached(ctx, highest); err != nil {
			return err
		}
		if err := o.l.o.disk.Remove(filepath.Join(o.dir, name)); err != nil {
			return fmt.Errorf("cannot empty outbox: %w", err)
		}
		if err := o.l.o.disk.SyncDir(o.dir); err != nil {
			return fmt.Errorf("cannot empty outbox: %w", err)
		}
		o.count.Add(^uint64(len(lines) - 1))
	}
	return nil
}
