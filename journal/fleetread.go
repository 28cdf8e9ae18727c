package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

// unpack decodes a message of the stream. A message that is not a valid fact
// becomes the same line on every node.
func unpack(data []byte, seq uint64) *events.Line {
	if n := len(data); n > 2 && n <= maxFactBytes+16 && data[0] == '{' && data[n-1] == '}' && bytes.IndexByte(data, '\n') < 0 {
		l := events.SplitBody(data[1 : n-1])
		l.Seq = seq
		back, err := events.ParseLine(l.Append(nil))
		var fact events.Fact
		if err == nil && (l.Who == nil || len(l.Who) > 0) && bytes.Equal(back.Body, l.Body) && bytes.Equal(back.Who, l.Who) && l.Decode(&fact) == nil {
			return &l
		}
	}
	return &events.Line{Seq: seq, Body: fmt.Appendf(nil, `"id":"unreadable:%d","kind":"unreadable"`, seq)}
}

// follow writes the stream into the log until ctx ends. It returns an error
// only if the log cannot continue.
func (f *fleet) follow(ctx context.Context) error {
	defer f.close()
	said := ""
	for ctx.Err() == nil {
		err := f.round(ctx, &said)
		f.up.Store(false)
		if errors.Is(err, errWriter) {
			return err
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		if why := err.Error(); errors.Is(err, errStream) {
			f.sick.Store(&why)
		}
		if said != err.Error() {
			said = err.Error()
			f.l.o.Logger.Warn("the cluster is unreachable: notices and opt-outs go to the outbox, everything else is refused", zap.Error(err))
		}
		f.once.Do(func() { close(f.tried) })
		pause(ctx, lookEvery)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// round checks the stream, then follows it until the connection or the stream fails.
func (f *fleet) round(ctx context.Context, said *string) error {
	select {
	case <-f.lost:
	default:
	}
	try, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := f.stream(try, false)
	if err == nil {
		err = f.compare(try, s)
	}
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: f.l.w.next()})
	if err != nil {
		return fmt.Errorf("cannot read stream: %w", err)
	}
	messages := make(chan jetstream.Msg, applyFacts)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case messages <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullHeartbeat(time.Second), jetstream.PullExpiry(5*time.Second), jetstream.PullMaxMessages(2*applyFacts))
	if err != nil {
		return fmt.Errorf("cannot read stream: %w", err)
	}
	defer func() { stop(); consuming.Stop(); <-consuming.Closed() }()
	return f.write(ctx, s, messages, said)
}

// write commits messages as they arrive, and checks from time to time that the
// cluster still responds. Once the stream has been read to its end, the outbox
// is published and facts are accepted.
func (f *fleet) write(ctx context.Context, s jetstream.Stream, messages <-chan jetstream.Msg, said *string) error {
	ctx, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer func() { stop(); tasks.Wait() }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for caught := false; ; {
		if !caught && f.l.w.last.Seq >= f.end.Load() {
			caught = true
			f.sick.Store(nil)
			f.up.Store(true)
			f.once.Do(func() { close(f.tried) })
			*said = ""
			f.l.o.Logger.Info("following the stream of the cluster", zap.Uint64("last_seq", f.l.w.last.Seq), zap.Uint64("outbox", f.waiting()))
			tasks.Go(func() { f.out.drain(ctx, f) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.lost:
			return errLost
		case m := <-messages:
			batch := []jetstream.Msg{m}
			for len(batch) < applyFacts && len(messages) > 0 {
				batch = append(batch, <-messages)
			}
			if err := f.commit(ctx, batch); err != nil {
				return err
			}
		case <-look.C:
			if err := f.look(ctx, s); err != nil {
				return err
			}
		}
	}
}

// look checks that the stream can be reached and is as long as this node's log,
// and keeps space reserved when no facts arrive.
func (f *fleet) look(ctx context.Context, s jetstream.Stream) error {
	if err := fatalOnly(f.l.w.prepare(nil)); err != nil {
		return fmt.Errorf("%w: %w", errWriter, err)
	}
	try, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := s.Info(try)
	if err != nil {
		return fmt.Errorf("cannot ask the stream: %w", err)
	}
	if !info.Created.Equal(f.born) {
		return errLost // another stream of the same name: check it
	}
	return f.notShorter(info)
}

func (f *fleet) notShorter(info *jetstream.StreamInfo) error {
	if last := f.l.w.last.Seq; info.State.LastSeq < last {
		return f.differs(fmt.Sprintf("the stream ends with fact %d, and this node holds fact %d", info.State.LastSeq, last))
	}
	return nil
}

// compare checks that the stream contains everything in this node's log,
// without a gap and with the same fact at the end.
func (f *fleet) compare(ctx context.Context, s jetstream.Stream) error {
	info, err := s.Info(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the stream: %w", err)
	}
	if err := f.notShorter(info); err != nil {
		return err
	}
	last, next := f.l.w.last, f.l.w.next()
	f.first.Store(info.State.FirstSeq)
	if info.State.Msgs > 0 { // an empty stream ends before its first sequence, which this log may never have held
		f.end.Store(info.State.LastSeq)
	}
	switch {
	case info.State.FirstSeq > next:
		return f.differs(fmt.Sprintf("the stream begins with fact %d, and this node needs fact %d: start it from another node's backup", info.State.FirstSeq, next))
	case next > last.Seq+1 && info.State.FirstSeq < next && info.State.LastSeq >= next-1:
		return f.differs(fmt.Sprintf("the stream holds facts before fact %d that this node lost: start it from another node's backup", next))
	case last.Seq == 0 || last.Seq < info.State.FirstSeq:
		return nil // the log is empty, or older than the stream
	}
	sum := f.l.w.sum
	if sum == (events.Digest{}) { // the newest file holds no facts yet
		line, ok := f.l.files.stated(last.Seq)
		if sum, err = line.Digest(); !ok || err != nil {
			return f.differs(fmt.Sprintf("this node no longer holds fact %d, so it cannot be compared with the stream", last.Seq))
		}
	}
	m, err := s.GetMsg(ctx, last.Seq)
	if err != nil {
		return fmt.Errorf("cannot read fact %d of the stream: %w", last.Seq, err)
	}
	if got, err := unpack(m.Data, last.Seq).Digest(); err != nil || got != sum {
		return f.differs(fmt.Sprintf("the stream and this node hold different facts at %d", last.Seq))
	}
	return nil
}

// differs makes the node blind for money until an operator intervenes, because
// its log and the stream are not the same.
func (f *fleet) differs(reason string) error {
	if err := f.l.goBlind(reason, nil); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", errStream, reason)
}

// commit writes messages, and waits while the disk is full, because a node must
// not skip a fact that the others have.
func (f *fleet) commit(ctx context.Context, messages []jetstream.Msg) error {
	batch := make([]*pending, 0, len(messages))
	want := f.l.w.next()
	for _, m := range messages {
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("cannot read message of the stream: %w", err)
		}
		seq := meta.Sequence.Stream
		if seq < want {
			continue
		}
		if seq > want {
			return f.differs(fmt.Sprintf("the stream goes from fact %d to fact %d", want-1, seq))
		}
		p := &pending{line: *unpack(m.Data(), seq), at: meta.Timestamp.UTC()}
		if p.sum, err = p.line.Digest(); err != nil {
			return err
		}
		batch = append(batch, p)
		want++
	}
	for len(batch) > 0 && ctx.Err() == nil {
		for _, p := range batch {
			p.done = make(chan error, 1)
		}
		if err := f.l.w.commit(batch); err != nil {
			return fmt.Errorf("%w: %w", errWriter, err)
		}
		if f.l.w.next() == want {
			return nil
		}
		pause(ctx, time.Second)
	}
	return nil
}
