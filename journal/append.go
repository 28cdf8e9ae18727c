package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rebound/events"
)

const (
	// maxInFlight bounds the facts that wait for their acknowledgement.
	maxInFlight = 4096
	// appendChunk is how many facts of one Append go out together.
	appendChunk = 256
	// maxFactBytes keeps a fact and its headers inside the server's 1 MiB.
	maxFactBytes = 1<<20 - 4096
	maxIDBytes   = 1024
)

// Append stores facts in order. It sets V and TS; TS never goes back along the
// stream. nil means that the server has stored all of them; the same ID again is
// nil. A grant whose ExpectSeq is stale gives [ErrConflict]. After any other
// error it is unknown which of the facts are stored: append all of them again.
func (l *Log) Append(ctx context.Context, facts ...events.Fact) error {
	if len(facts) == 0 {
		return nil
	}
	if !l.enter() {
		return ErrClosed
	}
	defer l.inflight.Done()
	start := l.o.Now()
	err := l.appendAll(ctx, facts)
	l.meter.observe(l.o.Now(), start, err)
	return err
}

func (l *Log) appendAll(ctx context.Context, facts []events.Fact) error {
	if !l.gate.enter() {
		return fmt.Errorf("cannot append facts: %w", errMending)
	}
	defer l.gate.users.Done()
	var err error
	for rest := facts; len(rest) > 0 && err == nil; {
		n := min(len(rest), appendChunk)
		err = l.appendChunk(ctx, rest[:n])
		rest = rest[n:]
	}
	return err
}

// enter counts a call in, unless the log is closing.
func (l *Log) enter() bool {
	l.closeMu.RLock()
	defer l.closeMu.RUnlock()
	if l.closing {
		return false
	}
	l.inflight.Add(1)
	return true
}

// outgoing is a fact on its way: its message, where its TS stands in it, and
// what the server will say.
type outgoing struct {
	msg    *nats.Msg
	tsAt   int
	ts     time.Time
	future jetstream.PubAckFuture
}

// tsLayout has one width, so that a TS can be written into an encoded fact.
const tsLayout = "2006-01-02T15:04:05.000000000Z"

var (
	tsField = []byte(`,"ts":"`)
	tsHole  = time.Date(2000, 1, 1, 0, 0, 0, 1, time.UTC)
	noRetry = jetstream.WithRetryAttempts(0) // a retry would break the order of TS
)

func (l *Log) appendChunk(ctx context.Context, facts []events.Fact) error {
	out := make([]outgoing, len(facts))
	for i := range facts {
		if err := l.encode(&facts[i], &out[i]); err != nil {
			return err
		}
	}
	if err := l.slots.Acquire(ctx, int64(len(out))); err != nil {
		return fmt.Errorf("cannot append facts: queue is full: %w", err)
	}
	defer l.slots.Release(int64(len(out)))
	if err := l.publish(out); err != nil {
		return err
	}
	for i := range out {
		if err := l.acknowledged(ctx, &facts[i], &out[i]); err != nil {
			return err
		}
	}
	return nil
}

// encode makes a fact's message, with a hole where the TS goes.
func (l *Log) encode(f *events.Fact, o *outgoing) error {
	if f.ID == "" || len(f.ID) > maxIDBytes {
		return fmt.Errorf("cannot append fact: got an id of %d bytes; want 1 to %d (kind %q): %w", len(f.ID), maxIDBytes, f.Kind, ErrInvalid)
	}
	c := *f
	c.V, c.Seq, c.TS = 1, 0, tsHole
	data, err := events.AppendFact(make([]byte, 0, 512), &c)
	if err != nil {
		return fmt.Errorf("cannot encode fact %s: %w: %w", f.ID, ErrInvalid, err)
	}
	if len(data) > maxFactBytes {
		return fmt.Errorf("cannot append fact %s: got %d bytes; want at most %d: %w", f.ID, len(data), maxFactBytes, ErrInvalid)
	}
	o.tsAt = bytes.Index(data, tsField) + len(tsField)
	o.msg = &nats.Msg{Subject: subjectOf(f), Data: data, Header: nats.Header{jetstream.MsgIDHeader: {f.ID}}}
	if f.Kind == events.KindGrant && f.Grant != nil {
		o.msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(f.Grant.ExpectSeq, 10)}
	}
	return nil
}

// publish stamps and sends: under one lock, so that the order of TS is the order
// in which the server stores.
func (l *Log) publish(out []outgoing) error {
	l.pubMu.Lock()
	defer l.pubMu.Unlock()
	for i := range out {
		o := &out[i]
		if now := l.o.Now().UTC().Round(0); now.After(l.lastTS) {
			l.lastTS = now
		}
		o.ts = l.lastTS
		o.ts.AppendFormat(o.msg.Data[o.tsAt:o.tsAt], tsLayout)
		var err error
		if o.future, err = l.e.js.PublishMsgAsync(o.msg, noRetry); err != nil {
			return fmt.Errorf("cannot append fact %s: %w", o.msg.Header.Get(jetstream.MsgIDHeader), err)
		}
	}
	return nil
}

func (l *Log) acknowledged(ctx context.Context, f *events.Fact, o *outgoing) error {
	select {
	case ack := <-o.future.Ok():
		if !ack.Duplicate {
			l.noteLast(ack.Sequence, o.ts)
		}
		return nil
	case err := <-o.future.Err():
		if isConflict(err) {
			return l.conflict(ctx, f, o)
		}
		return fmt.Errorf("cannot append fact %s: %w", f.ID, err)
	case <-ctx.Done():
		return fmt.Errorf("cannot append fact %s: no answer of the stream yet: %w", f.ID, ctx.Err())
	}
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// conflict answers for a grant that the server refused: the server compares
// before it looks for duplicates. When the grant that the writer saw has been
// trimmed away, and no later one came, the server knows of none: the same fact
// goes out again, expecting none. (Only a writer that is behind by more than the
// stream's age could be mistaken there.)
func (l *Log) conflict(ctx context.Context, f *events.Fact, o *outgoing) error {
	stale := fmt.Errorf("cannot append grant of %s: got expected sequence %d: %w", f.Grant.Budget, f.Grant.ExpectSeq, ErrConflict)
	m, err := l.stream.GetLastMsgForSubject(ctx, o.msg.Subject)
	switch {
	case err == nil && m.Header.Get(jetstream.MsgIDHeader) == f.ID:
		return nil
	case err == nil || f.Grant.ExpectSeq == 0:
		return stale
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return fmt.Errorf("cannot append grant: %w", err)
	}
	again := *f
	grant := *f.Grant
	grant.ExpectSeq, again.Grant = 0, &grant
	return l.appendGrantAgain(ctx, again)
}

func (l *Log) appendGrantAgain(ctx context.Context, f events.Fact) error {
	var out [1]outgoing
	if err := l.encode(&f, &out[0]); err != nil {
		return err
	}
	if err := l.publish(out[:]); err != nil {
		return err
	}
	return l.acknowledged(ctx, &f, &out[0])
}

// noteLast keeps the newest position that is known.
func (l *Log) noteLast(seq uint64, ts time.Time) {
	l.lastMu.Lock()
	if seq > l.last.Seq {
		l.last = events.Position{Stream: l.id, Seq: seq, Time: ts}
	}
	l.lastMu.Unlock()
}

// Last is the position of the newest fact; zero when there is none.
func (l *Log) Last() events.Position {
	l.lastMu.Lock()
	defer l.lastMu.Unlock()
	return l.last
}
