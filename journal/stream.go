package journal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

const (
	streamName = "facts"
	idKey      = "rebound_stream" // of the stream's metadata
	// duplicateWindow is how long JetStream itself knows a message id.
	duplicateWindow = 2 * time.Minute
	// batchFacts is the most that a view is handed at once.
	batchFacts = 512
)

// entry is one message of the stream.
type entry struct {
	seq  uint64
	data []byte
	at   time.Time // when the server stored it
}

// subjectOf is where a fact of its kind goes. Grants have one subject for each
// budget, so that the server can compare and set.
func subjectOf(f *events.Fact) string {
	if f.Kind == events.KindGrant && f.Grant != nil {
		sum := sha256.Sum256([]byte(f.Grant.Budget.String()))
		return "facts.grant." + hex.EncodeToString(sum[:12])
	}
	if f.Kind == "" {
		return "facts.none"
	}
	return "facts." + string(f.Kind)
}

func newStreamID() string {
	var b [9]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

func (l *Log) streamConfig(id string, first uint64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        streamName,
		Subjects:    []string{"facts.>"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    l.o.MaxBytes,
		Duplicates:  duplicateWindow,
		AllowDirect: true,
		Replicas:    l.o.Replicas,
		FirstSeq:    first,
		Metadata:    map[string]string{idKey: id},
	}
}

func (l *Log) createStream(ctx context.Context, id string, first uint64) error {
	s, err := l.e.js.CreateStream(ctx, l.streamConfig(id, first))
	if err != nil {
		return fmt.Errorf("cannot create stream: %w", err)
	}
	l.stream, l.id = s, id
	return nil
}

// adoptStream takes an existing stream as the log's and brings its limits up to
// date.
func (l *Log) adoptStream(ctx context.Context, s jetstream.Stream) error {
	have := s.CachedInfo().Config
	id := have.Metadata[idKey]
	if id == "" {
		id = newStreamID()
	}
	if id != have.Metadata[idKey] || have.MaxBytes != l.o.MaxBytes {
		have.MaxBytes = l.o.MaxBytes
		if have.Metadata == nil {
			have.Metadata = map[string]string{}
		}
		have.Metadata[idKey] = id
		updated, err := l.e.js.UpdateStream(ctx, have)
		if err != nil {
			return fmt.Errorf("cannot update stream: %w", err)
		}
		s = updated
	}
	l.stream = s
	if l.id != id { // Stats reads it while the server is started anew
		l.id = id
	}
	return nil
}

// state asks the server what the stream holds. For an empty stream first is
// last+1.
func (l *Log) state(ctx context.Context) (first, last, bytes uint64, err error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("cannot read stream state: %w", err)
	}
	first, last = info.State.FirstSeq, info.State.LastSeq
	if info.State.Msgs == 0 {
		first = last + 1
	}
	l.first.Store(first)
	l.bytes.Store(info.State.Bytes)
	return first, last, info.State.Bytes, nil
}

// message reads one fact of the stream; ok is false when the stream has none
// there.
func (l *Log) message(ctx context.Context, seq uint64) (f events.Fact, ok bool, err error) {
	if seq == 0 {
		return f, false, nil
	}
	m, err := l.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return f, false, nil
	}
	if err != nil {
		return f, false, fmt.Errorf("cannot read fact %d: %w", seq, err)
	}
	l.decode(entry{seq: m.Sequence, data: m.Data, at: m.Time}, &f)
	return f, true, nil
}

// decode reads a message. What is no fact becomes a tick at the time of its
// storage, here and in the archive alike, and is said once.
func (l *Log) decode(e entry, f *events.Fact) {
	if err := json.Unmarshal(e.data, f); err != nil {
		*f = unreadable(e)
		if l.unread.Swap(e.seq) != e.seq {
			l.o.Logger.Error("cannot read fact; it counts as a tick", zap.Uint64("seq", e.seq), zap.Error(err))
		}
	}
	f.Seq, f.Stream = e.seq, l.id
}

func unreadable(e entry) events.Fact {
	return events.Fact{V: 1, Seq: e.seq, ID: fmt.Sprintf("unreadable:%d", e.seq), TS: e.at.UTC(), Kind: events.KindTick}
}

// consume hands over the messages from seq on, in batches of what is there,
// until ctx ends (nil) or each fails. A batch may begin above the sequence that
// is expected, where the stream has been trimmed or damaged.
func (l *Log) consume(ctx context.Context, seq uint64, each func([]entry) error) error {
	for {
		next, err := l.consumeOnce(ctx, seq, each)
		if err != nil || ctx.Err() != nil {
			return err
		}
		seq = next
		l.o.Logger.Warn("the log's consumer ended; it is made again", zap.Uint64("from", seq))
		if !wait(ctx, 100*time.Millisecond) {
			return nil
		}
	}
}

func (l *Log) consumeOnce(ctx context.Context, seq uint64, each func([]entry) error) (uint64, error) {
	c, err := l.e.follow.OrderedConsumer(ctx, streamName, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq})
	if err != nil {
		if ctx.Err() != nil {
			return seq, nil
		}
		return seq, fmt.Errorf("cannot follow stream: %w", err)
	}
	ch := make(chan entry, 2*batchFacts)
	stop := make(chan struct{})
	cc, err := c.Consume(func(m jetstream.Msg) {
		md, err := m.Metadata()
		if err != nil {
			return // not a message of the stream
		}
		select {
		case ch <- entry{md.Sequence.Stream, m.Data(), md.Timestamp}:
		case <-stop:
		}
	}, jetstream.PullMaxMessages(2*batchFacts), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		l.o.Logger.Debug("stream consumer", zap.Error(err))
	}))
	if err != nil {
		return seq, fmt.Errorf("cannot follow stream: %w", err)
	}
	defer func() { close(stop); cc.Stop(); <-cc.Closed() }()
	return batches(ctx, seq, ch, cc.Closed(), each)
}

// batches hands over what comes until ctx or the consumer ends, and says which
// sequence comes next.
func batches(ctx context.Context, seq uint64, ch <-chan entry, ended <-chan struct{}, each func([]entry) error) (uint64, error) {
	batch := make([]entry, 0, batchFacts)
	for {
		select {
		case <-ctx.Done():
			return seq, nil
		case <-ended:
			return seq, nil
		case e := <-ch:
			batch = fill(append(batch[:0], e), ch)
		}
		if err := each(batch); err != nil {
			return seq, err
		}
		seq = batch[len(batch)-1].seq + 1
	}
}

// fill takes what waits in ch, up to the batch's capacity.
func fill(batch []entry, ch <-chan entry) []entry {
	for len(batch) < cap(batch) {
		select {
		case e := <-ch:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// wait sleeps; false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
