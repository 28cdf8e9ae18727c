package journal

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

// maxFiller is the longest gap inside the archive that healing fills with ticks
// to keep the sequences.
const maxFiller = 1_000_000

// heal appends the archive's facts after seq to the stream again, as they were.
// Every message says which sequence it expects before it, so that nothing else
// can come between.
func (l *Log) heal(ctx context.Context, seq uint64) error {
	to := l.archive.last.Load()
	l.o.Logger.Warn(fmt.Sprintf("stream is behind its archive: %d facts after seq %d are appended again", to-seq, seq),
		zap.Uint64("facts", to-seq), zap.Uint64("after_seq", seq), zap.String("stream", l.id))
	h := healer{l: l, last: seq}
	for f, err := range l.archive.facts(ctx, seq+1, to) {
		if err != nil {
			return err
		}
		if err := h.fillTo(ctx, f.Seq, f.TS); err != nil {
			return err
		}
		if err := h.put(ctx, f); err != nil {
			return err
		}
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	if ctx.Err() == nil && h.last < to {
		return fmt.Errorf("cannot heal stream: got archive facts up to %d; want %d: restore the archive from a backup", h.last, to)
	}
	l.healed.Add(h.count)
	return ctx.Err()
}

type healer struct {
	l       *Log
	last    uint64
	count   uint64
	waiting []jetstream.PubAckFuture
}

// put sends one fact with its own sequence.
func (h *healer) put(ctx context.Context, f *events.Fact) error {
	c := *f
	c.Seq = 0
	data, err := events.AppendFact(make([]byte, 0, 512), &c)
	if err != nil {
		return fmt.Errorf("cannot encode fact %d: %w", f.Seq, err)
	}
	future, err := h.l.e.js.PublishMsgAsync(&nats.Msg{Subject: subjectOf(f), Data: data, Header: nats.Header{
		jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(f.Seq-1, 10)}}}, noRetry)
	if err != nil {
		return fmt.Errorf("cannot append fact %d again: %w", f.Seq, err)
	}
	h.last = f.Seq
	h.count++
	if h.waiting = append(h.waiting, future); len(h.waiting) >= appendChunk {
		return h.settle(ctx)
	}
	return nil
}

// settle waits until what was sent is stored.
func (h *healer) settle(ctx context.Context) error {
	for _, w := range h.waiting {
		select {
		case <-w.Ok():
		case err := <-w.Err():
			return fmt.Errorf("cannot append fact again: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.waiting = h.waiting[:0]
	return nil
}

// fillTo puts ticks where the archive has a gap.
func (h *healer) fillTo(ctx context.Context, seq uint64, ts time.Time) error {
	gap := seq - h.last - 1
	if gap == 0 {
		return nil
	}
	if gap > maxFiller {
		return fmt.Errorf("cannot heal stream: got a gap of %d facts after seq %d in the archive; want at most %d: restore the archive, or move the stream folder away",
			gap, h.last, maxFiller)
	}
	h.l.lost("stream", h.last+1, seq-1)
	for h.last+1 < seq {
		f := events.Fact{V: 1, Seq: h.last + 1, TS: ts, Kind: events.KindTick, ID: lostID + strconv.FormatUint(h.last+1, 10)}
		if err := h.put(ctx, &f); err != nil {
			return err
		}
	}
	return nil
}

// lost says which facts neither the stream nor the archive holds.
func (l *Log) lost(reader string, from, to uint64) {
	l.o.Logger.Error("facts are in neither the stream nor the archive; reading goes on after them",
		zap.String("reader", reader), zap.Uint64("from_seq", from), zap.Uint64("to_seq", to), zap.Uint64("facts", to-from+1),
		zap.String("remedy", "restore the archive folder from a backup and rebuild the view"))
}
