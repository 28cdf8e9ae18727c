package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rebound/events"
)

// FleetOptions configure a JetStream stream on an existing NATS cluster that
// determines the order of facts. Every node writes the stream into its own log:
// the same lines with the same hashes.
type FleetOptions struct {
	URL string // of the cluster; empty on one machine
	// Replicas that the stream must have, 3 by default. A node that creates the
	// stream requests that number.
	Replicas int
	// OutboxBytes bounds the facts that wait for the cluster on this node, 256 MiB
	// by default. Opt-outs and erasures may use an eighth more.
	OutboxBytes int64
}

const (
	streamName    = "REBOUND_FACTS"
	subjectPrefix = "rebound.facts."
	metaLog       = "rebound-log"
	metaKeys      = "rebound-keys"
	// askTimeout bounds a request to the cluster.
	askTimeout = 3 * time.Second
	// ackTimeout is how long an append waits for the cluster, and then again for the
	// fact to arrive in this node's log, before a notice goes to the outbox.
	ackTimeout = 900 * time.Millisecond
	// startTimeout is how long Open waits for the stream before it continues without it.
	startTimeout = 5 * time.Second
	// lookEvery is the time between checks of the stream, and between attempts to reach
	// it.
	lookEvery = 500 * time.Millisecond
	// maxUnacked bounds the messages that the cluster has not acknowledged yet.
	maxUnacked = 4096
)

var (
	// errAway means that the cluster cannot be reached. It is not a failure of this
	// node: the caller should try again.
	errAway = fmt.Errorf("the cluster is unreachable: %w", ErrBusy)
	// errStream means that the stream is not this node's log.
	errStream = errors.New("the stream is not this node's log")
	// errWriter wraps an error that stops the writer for good.
	errWriter = errors.New("cannot write")
	errLost   = errors.New("the connection to the cluster was lost")
)

// fleet is a node's connection to the cluster. The methods that other files call may be
// called on a nil fleet, which means that the log runs on one machine.
type fleet struct {
	l   *Log
	nc  *nats.Conn
	js  jetstream.JetStream
	out *outbox

	up    atomic.Bool            // the stream can be reached, is this node's log, and was read to its end
	sick  atomic.Pointer[string] // why the stream must not be followed
	first atomic.Uint64          // first sequence of the stream
	end   atomic.Uint64          // last sequence of the stream when it was last checked
	born  time.Time              // when the stream was created; only the goroutine that follows the stream uses it
	lost  chan struct{}          // the connection broke: check the stream again
	tried chan struct{}          // closed after the first attempt to find the stream, successful or not
	once  sync.Once              // closes tried
}

// join connects to the cluster, if one is configured. A node that has a log can start
// without the cluster; a new node needs it.
func (l *Log) join(ctx context.Context) error {
	out, err := openOutbox(l)
	if err != nil {
		return err
	}
	if l.o.Fleet.URL == "" {
		if n := out.count.Load(); n > 0 {
			return fmt.Errorf("cannot open log: %d acknowledged facts in %s wait for the cluster; start with data.nats until they are published", n, out.dir)
		}
		return nil
	}
	def(&l.o.Fleet.Replicas, 3)
	def(&l.o.Fleet.OutboxBytes, 256<<20)
	if err := l.o.disk.MkdirAll(out.dir); err != nil {
		return fmt.Errorf("cannot make outbox: %w", err)
	}
	if joined, err := out.joined(); err != nil {
		return err
	} else if joined != "" { // the stream contains what this node lost
		if l.w.gap = 0; len(l.start.files) > 0 {
			l.w.gap = l.start.files[len(l.start.files)-1].header.First - 1 // the newest file already begins after this gap
		}
	}
	f := &fleet{l: l, out: out, lost: make(chan struct{}, 1), tried: make(chan struct{})}
	f.nc, err = nats.Connect(l.o.Fleet.URL, nats.Name("rebound journal"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond), nats.ReconnectBufSize(-1), nats.DisconnectErrHandler(func(*nats.Conn, error) { f.lose() }))
	if err != nil {
		return fmt.Errorf("cannot connect to cluster: %w", err)
	}
	f.js, err = jetstream.New(f.nc, jetstream.WithPublishAsyncMaxPending(maxUnacked), jetstream.WithPublishAsyncTimeout(ackTimeout))
	if err == nil && len(l.start.files) == 0 && l.w.last.Seq == 0 {
		if err = f.firstTime(ctx); err != nil {
			err = fmt.Errorf("cannot join cluster at %s; a node without a log of its own needs the cluster or another node's backup: %w", l.o.Fleet.URL, err)
		}
	}
	if err != nil {
		f.close()
		return err
	}
	l.fleet = f
	return nil
}

// firstTime finds or creates the stream for a node that has no log yet, and
// adopts the log name of the stream.
func (f *fleet) firstTime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, askTimeout)
		s, err := f.stream(try, true)
		cancel()
		if err == nil {
			f.l.id = s.CachedInfo().Config.Metadata[metaLog]
			return nil
		}
		if errors.Is(err, errStream) || ctx.Err() != nil {
			return err
		}
		pause(ctx, lookEvery)
	}
}

// settle waits until the stream has been read to its end, or could not be found.
func (f *fleet) settle(ctx context.Context) {
	if f == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-f.tried:
	case <-ctx.Done():
	}
}

func (f *fleet) close() {
	if f != nil {
		f.out.close()
		f.nc.Close()
	}
}

// target returns the sequence at which a view that begins to follow has caught
// up: the end of the stream, as far as it is known.
func (f *fleet) target() uint64 {
	if f == nil {
		return 0
	}
	return f.end.Load()
}

// why returns the reason why money must not be spent; empty if it may.
func (f *fleet) why() string {
	if reason := f.sick.Load(); reason != nil {
		return *reason
	}
	return ""
}

// waiting returns the number of facts in the outbox.
func (f *fleet) waiting() uint64 { return f.out.count.Load() }

// lose makes all appends use the outbox until the stream has been checked again.
func (f *fleet) lose() {
	f.up.Store(false)
	select {
	case f.lost <- struct{}{}:
	default:
	}
}

// stream finds the stream and checks that it is this log. A stream is created
// only for a log that has never followed one; otherwise the stream was lost.
func (f *fleet) stream(ctx context.Context, isNew bool) (jetstream.Stream, error) {
	joined, err := f.out.joined()
	if err != nil {
		return nil, err
	}
	s, err := f.js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if joined != "" {
			return nil, fmt.Errorf("%w: stream %s is missing from the cluster: restore it, or create it again from the node with the highest head (docs/fleet.md)", errStream, streamName)
		}
		s, err = f.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: streamName, Subjects: []string{subjectPrefix + ">"}, Storage: jetstream.FileStorage, Replicas: f.l.o.Fleet.Replicas,
			DenyDelete: true, DenyPurge: true, Duplicates: 2 * time.Minute, FirstSeq: f.l.w.next(),
			Metadata: map[string]string{metaLog: f.l.id, metaKeys: f.l.o.Keys},
		})
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open stream %s: %w", streamName, err)
	}
	info := s.CachedInfo()
	c := &info.Config
	f.born = info.Created
	born := c.Metadata[metaLog] + " " + info.Created.UTC().Format(time.RFC3339Nano)
	switch {
	case c.Metadata[metaLog] == "":
		err = fmt.Errorf("got stream %s without the mark of a log; want one that Rebound made", streamName)
	case c.Metadata[metaLog] != f.l.id && !isNew:
		err = fmt.Errorf("got log %s in %s; want log %s: start this node from another node's backup", f.l.id, f.l.o.FactsDir, c.Metadata[metaLog])
	case c.Metadata[metaKeys] != f.l.o.Keys:
		err = errors.New("keys.json of this node is not that of the cluster; copy it from another node")
	case !c.DenyDelete || !c.DenyPurge || c.Retention != jetstream.LimitsPolicy || c.MaxAge > 0 || c.MaxMsgs > 0 || c.MaxBytes > 0 || c.MaxMsgsPerSubject > 0 || c.AllowRollup:
		err = fmt.Errorf("stream %s may delete facts; want deny_delete, deny_purge and no limits", streamName)
	case c.Replicas < f.l.o.Fleet.Replicas || c.Storage != jetstream.FileStorage:
		err = fmt.Errorf("got stream %s with %d replicas in %s; want %d in files", streamName, c.Replicas, c.Storage, f.l.o.Fleet.Replicas)
	case joined == "":
		return s, f.out.join(born)
	case joined != born:
		err = fmt.Errorf("got stream %s of %s; want that of %s: it was created again (docs/fleet.md)", streamName, born, joined)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStream, err)
	}
	return s, nil
}

// subject returns one subject per budget for grants, so that the cluster can do
// the compare-and-set.
func subject(f *events.Fact) string {
	if f.Kind == events.KindGrant && f.Grant != nil {
		sum := sha256.Sum256([]byte(f.Grant.Budget.String()))
		return subjectPrefix + "grant." + hex.EncodeToString(sum[:12])
	}
	return subjectPrefix + string(f.Kind)
}

// append publishes facts and waits until this node's log holds them. Notices,
// opt-outs and erasures for which that takes too long go to the outbox.
func (f *fleet) append(ctx context.Context, facts []events.Fact, list []*pending) error {
	var errs []error
	var sent, keep []*pending
	highest := uint64(0)
	futures := f.publish(facts, list)
	for i, p := range list {
		seq, err := ackOf(ctx, futures[i])
		switch {
		case err == nil:
			highest, sent = max(highest, seq), append(sent, p)
		case p.outlives && ctx.Err() == nil:
			keep = append(keep, p)
		default:
			errs = append(errs, err)
		}
	}
	if err := f.reached(ctx, highest); err != nil {
		for _, p := range sent {
			if p.outlives && ctx.Err() == nil {
				keep = append(keep, p)
			} else {
				errs = append(errs, err)
			}
		}
	}
	if len(keep) > 0 {
		errs = append(errs, f.out.add(keep))
	}
	return errors.Join(errs...)
}

// publish sends facts to the cluster without waiting. The future of a fact that could
// not be sent is nil.
func (f *fleet) publish(facts []events.Fact, list []*pending) []jetstream.PubAckFuture {
	futures := make([]jetstream.PubAckFuture, len(list))
	for i, p := range list {
		p.outlives = outlives(facts[i].Kind)
		if !f.up.Load() {
			continue
		}
		msg := message(&facts[i], payload(&p.line))
		if g := p.grant; g != nil {
			if g.expect < f.first.Load() {
				g.expect = 0 // the expected grant is older than the stream
			}
			msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(g.expect))
		}
		var err error
		if futures[i], err = f.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0)); err != nil {
			futures[i] = nil
			break // the call timed out waiting for the cluster, and so would the others
		}
	}
	return futures
}

func message(fact *events.Fact, data []byte) *nats.Msg {
	return &nats.Msg{Subject: subject(fact), Data: data, Header: nats.Header{jetstream.MsgIDHeader: {fact.ID}}}
}

// outlives reports whether a fact is kept in the outbox while the cluster is unreachable.
// Configurations are kept too, so that a node can start without the cluster.
func outlives(k events.Kind) bool {
	switch k {
	case events.KindWin, events.KindBill, events.KindLoss, events.KindImp, events.KindView, events.KindClick, events.KindVideo,
		events.KindConvert, events.KindOptOut, events.KindOptIn, events.KindErase, events.KindConfig:
		return true
	}
	return false
}

// ackOf waits for the cluster's acknowledgement of a message, at most ackTimeout.
func ackOf(ctx context.Context, future jetstream.PubAckFuture) (uint64, error) {
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
		return 0, fmt.Errorf("%w: %v", errAway, err)
	case <-ctx.Done():
		return 0, fmt.Errorf("cannot append facts: not acknowledged by the cluster: %w", ctx.Err())
	}
}

// reached waits until this node's log holds a sequence, at most ackTimeout.
func (f *fleet) reached(ctx context.Context, seq uint64) error {
	limit := time.NewTimer(ackTimeout)
	defer limit.Stop()
	for f.l.Last().Seq < seq {
		list, more, _ := f.l.ring.after(seq - 1)
		if len(list) > 0 {
			return nil
		}
		select {
		case <-more:
		case <-f.l.ctx.Done():
			return ErrClosed
		case <-limit.C:
			return fmt.Errorf("cannot append facts: the cluster has them, but this node's log does not yet: %w", ErrBusy)
		case <-ctx.Done():
			return fmt.Errorf("cannot append facts: the cluster has them, but this node's log does not yet: %w", ctx.Err())
		}
	}
	return nil
}

// payload is the form of a fact in the stream: an object of its body and its
// personal part.
func payload(l *events.Line) []byte {
	b := append([]byte{'{'}, l.Body...)
	if len(l.Who) > 0 {
		b = append(append(b, `,"who":`...), l.Who...)
	}
	return append(b, '}')
}
