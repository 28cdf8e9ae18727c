package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

// FleetOptions make a JetStream stream on an existing NATS cluster the giver of
// order: every node writes the same stream into its own log, the same lines with
// the same hashes.
type FleetOptions struct {
	URL string // of the cluster; empty on one machine
	// Replicas of the stream if this node creates it; 3 by default.
	Replicas int
}

const (
	streamName    = "REBOUND_FACTS"
	subjectPrefix = "rebound.facts."
	metaLog       = "rebound-log"
	metaKeys      = "rebound-keys"
	// ackTimeout is how long a publisher waits for the cluster before a notice goes
	// to the outbox.
	ackTimeout = 5 * time.Second
	// maxUnacked bounds the messages that wait for the cluster's acknowledgement.
	maxUnacked = 4096
)

// errAway says that the cluster cannot be reached. It is not a failure of this
// node: whoever can should try again.
var errAway = fmt.Errorf("the cluster is away: %w", ErrBusy)

// fleet is a node's connection to the cluster.
type fleet struct {
	l    *Log
	nc   *nats.Conn
	js   jetstream.JetStream
	out  *outbox
	away atomic.Bool
	sick atomic.Pointer[string] // why the stream must not be followed
}

// joinFleet connects to the cluster. A node whose log exists starts without the
// cluster; a new one needs it.
func joinFleet(ctx context.Context, l *Log) (*fleet, error) {
	f := &fleet{l: l}
	var err error
	if f.out, err = openOutbox(l); err != nil {
		return nil, err
	}
	f.nc, err = nats.Connect(l.o.Fleet.URL, nats.Name("rebound journal"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { f.away.Store(true) }))
	if err != nil {
		return nil, fmt.Errorf("cannot connect to cluster: %w", err)
	}
	if f.js, err = jetstream.New(f.nc, jetstream.WithPublishAsyncMaxPending(maxUnacked), jetstream.WithPublishAsyncTimeout(ackTimeout)); err != nil {
		f.nc.Close()
		return nil, fmt.Errorf("cannot use JetStream: %w", err)
	}
	try, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	switch _, err := f.stream(try); {
	case err == nil:
	case errors.Is(err, errStream):
		f.nc.Close()
		return nil, err
	case len(l.start.files) == 0:
		f.nc.Close()
		return nil, fmt.Errorf("cannot reach cluster at %s; a node without a log of its own cannot start without it, or starts from another node's backup: %w", l.o.Fleet.URL, err)
	default:
		f.away.Store(true)
		l.o.Logger.Warn("the cluster is away; notices and opt-outs are kept in the outbox until it is back", zap.Error(err))
	}
	return f, nil
}

// errStream says that the stream is not this node's log.
var errStream = errors.New("the stream is not this node's log")

// stream finds the stream, or makes it, and checks that it is this log.
func (f *fleet) stream(ctx context.Context) (jetstream.Stream, error) {
	s, err := f.js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = f.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: streamName, Subjects: []string{subjectPrefix + ">"}, Storage: jetstream.FileStorage, Replicas: max(f.l.o.Fleet.Replicas, 1),
			DenyDelete: true, DenyPurge: true, Duplicates: 2 * time.Minute, FirstSeq: f.l.w.last.Seq + 1,
			Metadata: map[string]string{metaLog: f.l.id, metaKeys: f.l.o.Keys},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open stream %s: %w", streamName, err)
	}
	info := s.CachedInfo()
	meta := info.Config.Metadata
	switch {
	case meta[metaLog] == "":
		return nil, fmt.Errorf("%w: got stream %s without the mark of a log; want one that Rebound made", errStream, streamName)
	case meta[metaLog] != f.l.id && len(f.l.start.files) > 0:
		return nil, fmt.Errorf("%w: got log %s in %s; want log %s: start this node from another node's backup", errStream, f.l.id, f.l.o.FactsDir, meta[metaLog])
	case meta[metaKeys] != f.l.o.Keys:
		return nil, fmt.Errorf("%w: the keys.json of this node is not that of the cluster; copy it from another node", errStream)
	case !info.Config.DenyDelete || !info.Config.DenyPurge:
		return nil, fmt.Errorf("%w: stream %s allows deletes or purges, which lose facts; make it with deny_delete and deny_purge", errStream, streamName)
	}
	if f.l.id != meta[metaLog] {
		f.l.id = meta[metaLog] // of a new node, before it has written anything
	}
	return s, nil
}

// subject gives grants one subject for each budget, so that the cluster can
// compare and set.
func subject(f *events.Fact) string {
	if f.Kind == events.KindGrant && f.Grant != nil {
		sum := sha256.Sum256([]byte(f.Grant.Budget.String()))
		return subjectPrefix + "grant." + hex.EncodeToString(sum[:12])
	}
	return subjectPrefix + string(f.Kind)
}

// append publishes facts and waits until this node's log holds them. Notices,
// opt-outs and erasures that the cluster does not take go to the outbox.
func (f *fleet) append(ctx context.Context, facts []events.Fact, list []*pending) error {
	var errs []error
	var keep []*pending
	futures := make([]jetstream.PubAckFuture, len(list))
	for i, p := range list {
		if f.away.Load() {
			continue
		}
		msg := &nats.Msg{Subject: subject(&facts[i]), Data: payload(&p.line), Header: nats.Header{jetstream.MsgIDHeader: {facts[i].ID}}}
		if p.grant != nil {
			msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(p.grant.expect))
		}
		futures[i], _ = f.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0)) // a nil future is tried as a failure below
	}
	highest := uint64(0)
	for i := range list {
		seq, err := f.acked(ctx, futures[i])
		switch {
		case err == nil:
			highest = max(highest, seq)
		case errors.Is(err, ErrConflict) || ctx.Err() != nil:
			errs = append(errs, err)
		case outlives(facts[i].Kind):
			keep = append(keep, list[i])
		default:
			errs = append(errs, errAway)
		}
	}
	if len(keep) > 0 {
		errs = append(errs, f.out.add(keep))
	}
	return errors.Join(append(errs, f.reached(ctx, highest))...)
}

// outlives reports whether a fact is kept in the outbox while the cluster is away.
func outlives(k events.Kind) bool {
	switch k {
	case events.KindWin, events.KindBill, events.KindLoss, events.KindImp, events.KindView, events.KindClick, events.KindVideo,
		events.KindConvert, events.KindOptOut, events.KindErase:
		return true
	}
	return false
}

func (f *fleet) acked(ctx context.Context, future jetstream.PubAckFuture) (uint64, error) {
	if future == nil {
		return 0, errAway
	}
	select {
	case ack := <-future.Ok():
		return ack.Sequence, nil
	case err := <-future.Err():
		var api *jetstream.APIError
		if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
			return 0, fmt.Errorf("cannot append grant: %w", ErrConflict)
		}
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// reached waits until this node's log holds a sequence.
func (f *fleet) reached(ctx context.Context, seq uint64) error {
	for f.l.Last().Seq < seq {
		_, more, _ := f.l.ring.after(seq - 1)
		if f.l.Last().Seq >= seq {
			return nil
		}
		select {
		case <-more:
		case <-f.l.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("cannot append facts: the cluster has them, but this node's log does not yet: %w", ctx.Err())
		}
	}
	return nil
}

// payload is what the stream holds of a fact: an object of its body and its
// personal part.
func payload(l *events.Line) []byte {
	b := append([]byte{'{'}, l.Body...)
	if len(l.Who) > 0 {
		b = append(append(b, `,"who":`...), l.Who...)
	}
	return append(b, '}')
}

// follow writes the stream into the log until ctx ends. It returns an error only
// when the log cannot go on at all.
func (f *fleet) follow(ctx context.Context) error {
	defer f.nc.Close()
	for ctx.Err() == nil {
		err := f.round(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if errors.Is(err, errWriter) {
			return err
		}
		if !f.away.Swap(true) {
			f.l.o.Logger.Warn("the stream cannot be followed; tried again each second", zap.Error(err))
		}
		pause(ctx, time.Second)
	}
	return nil
}

// errWriter wraps what stops the writer for good.
var errWriter = errors.New("cannot write")

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// round follows the stream until the connection or the stream fails.
func (f *fleet) round(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, ackTimeout)
	s, err := f.stream(try)
	if err == nil {
		err = f.compare(try, s)
	}
	cancel()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: f.l.w.last.Seq + 1})
	if err != nil {
		return fmt.Errorf("cannot read stream: %w", err)
	}
	messages := make(chan jetstream.Msg, applyFacts)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case messages <- m:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return fmt.Errorf("cannot read stream: %w", err)
	}
	defer consuming.Stop()
	f.away.Store(false)
	done := make(chan struct{})
	go func() { // ends when the round does
		defer close(done)
		f.out.drain(ctx, f)
	}()
	defer func() { stop(); <-done }()
	return f.write(ctx, s, messages)
}

// write commits messages as they come, and looks now and then whether the cluster
// still answers.
func (f *fleet) write(ctx context.Context, s jetstream.Stream, messages <-chan jetstream.Msg) error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-messages:
			batch := []jetstream.Msg{m}
			for len(batch) < applyFacts && len(messages) > 0 {
				batch = append(batch, <-messages)
			}
			if err := f.commit(ctx, batch); err != nil {
				return err
			}
		case <-look.C:
			try, cancel := context.WithTimeout(ctx, ackTimeout)
			info, err := s.Info(try)
			cancel()
			if err != nil {
				return fmt.Errorf("cannot ask the stream: %w", err)
			}
			f.away.Store(false)
			if info.State.LastSeq < f.l.w.last.Seq {
				return f.stop(fmt.Sprintf("the stream ends with fact %d, and this node holds fact %d", info.State.LastSeq, f.l.w.last.Seq))
			}
		}
	}
}

// compare checks that the stream holds what this node's log holds: not less, no
// gap, and the same fact at the end.
func (f *fleet) compare(ctx context.Context, s jetstream.Stream) error {
	info, err := s.Info(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the stream: %w", err)
	}
	last := f.l.w.last
	switch {
	case info.State.LastSeq < last.Seq:
		return f.stop(fmt.Sprintf("the stream ends with fact %d, and this node holds fact %d", info.State.LastSeq, last.Seq))
	case info.State.FirstSeq > last.Seq+1:
		return f.stop(fmt.Sprintf("the stream begins with fact %d, and this node needs fact %d: start it from another node's backup", info.State.FirstSeq, last.Seq+1))
	case last.Seq < info.State.FirstSeq:
		return nil // the log begins with the stream, or is older than it
	}
	m, err := s.GetMsg(ctx, last.Seq)
	if err != nil {
		return fmt.Errorf("cannot read fact %d of the stream: %w", last.Seq, err)
	}
	if sum, err := unpack(m.Data, last.Seq).Digest(); err != nil || sum != f.l.w.sum {
		return f.stop(fmt.Sprintf("the stream and this node hold different facts at %d", last.Seq))
	}
	return nil
}

// stop makes the node blind for money: its log and the stream are not the same.
func (f *fleet) stop(reason string) error {
	if was := f.sick.Swap(&reason); was == nil || *was != reason {
		if err := f.l.goBlind(reason, nil); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s", errStream, reason)
}

// unpack reads a message of the stream. What is no fact becomes the same line on
// every node.
func unpack(data []byte, seq uint64) *events.Line {
	if n := len(data); n > 2 && data[0] == '{' && data[n-1] == '}' {
		l := events.SplitBody(data[1 : n-1])
		l.Seq = seq
		var fact events.Fact
		if l.Decode(&fact) == nil {
			return &l
		}
	}
	return &events.Line{Seq: seq, Body: fmt.Appendf(nil, `"id":"unreadable:%d","kind":"unreadable"`, seq)}
}

// commit writes messages, and waits where the disk is full: a node must not skip
// a fact that the others have.
func (f *fleet) commit(ctx context.Context, messages []jetstream.Msg) error {
	batch := make([]*pending, 0, len(messages))
	want := f.l.w.last.Seq + 1
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
			return f.stop(fmt.Sprintf("the stream goes from fact %d to fact %d", want-1, seq))
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
		if f.l.w.last.Seq+1 == want {
			return nil
		}
		pause(ctx, time.Second)
	}
	return nil
}

// waiting is how many facts are in the outbox.
func (f *fleet) waiting() uint64 { return f.out.count.Load() }

// healthy reports whether the stream is this node's log.
func (f *fleet) healthy() bool { return f.sick.Load() == nil }
