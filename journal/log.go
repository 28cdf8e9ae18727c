package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"rebound/events"
)

// Log is the log of facts. Its methods may be called from any goroutine.
type Log struct {
	o       Options
	gate    gate    // before e and stream
	e       *engine // nil while it cannot be started anew
	stream  jetstream.Stream
	id      string // the stream's
	archive *archive
	spool   *spool

	ctx    context.Context // ends when the log closes
	cancel context.CancelFunc
	own    sync.WaitGroup // the log's goroutines
	pokes  chan struct{}  // asks for a trim

	closeMu   sync.RWMutex // protects closing
	closing   bool
	inflight  sync.WaitGroup // appends
	followers sync.WaitGroup

	slots  *semaphore.Weighted // facts that wait for their acknowledgement
	pubMu  sync.Mutex          // protects lastTS, and keeps the order of sending
	lastTS time.Time

	lastMu sync.Mutex // protects last
	last   events.Position

	viewMu sync.Mutex // protects views and seen
	views  map[string]*follower
	seen   map[string]bool // every view followed since Open

	meter    meter
	first    atomic.Uint64 // of the stream, as last asked
	bytes    atomic.Uint64 // likewise
	unread   atomic.Uint64 // the last sequence that was no fact
	healed   atomic.Uint64
	diskFree atomic.Uint64

	mending  mending // the keeper's
	restarts atomic.Uint64
	broken   chan error
	opened   time.Time
}

// Open starts the log: the embedded server or the connection to the cluster, the
// stream, the archive and the spool. It repairs what is torn, appends again what
// the stream lost and the archive still holds, and says so in the log.
func Open(ctx context.Context, o Options) (*Log, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	l := &Log{o: o, pokes: make(chan struct{}, 1), slots: semaphore.NewWeighted(maxInFlight),
		views: map[string]*follower{}, seen: map[string]bool{}, broken: make(chan error, 1), opened: o.Now()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if err := l.open(ctx); err != nil {
		l.cancel()
		if l.e != nil {
			l.e.stop()
		}
		if l.archive != nil {
			err = errors.Join(err, l.archive.close())
		}
		return nil, fmt.Errorf("cannot open log: %w", err)
	}
	l.start()
	s := l.Stats()
	o.Logger.Info("log opened", zap.String("stream", s.Stream), zap.Uint64("first_seq", s.First), zap.Uint64("last_seq", s.Last),
		zap.Uint64("archived_seq", s.Archived), zap.Bool("embedded", o.URL == ""))
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	var err error
	if l.archive, err = openArchive(&l.o); err != nil {
		return err
	}
	if err = l.startOver(ctx); err != nil {
		return err
	}
	if err = l.reconcileDamaged(ctx); err != nil {
		return err
	}
	if err = l.readLast(ctx); err != nil {
		return err
	}
	l.checkDisk()
	l.spool, err = openSpool(&l.o)
	return err
}

// startOver starts the server, and once more without the stream's folder if the
// server does not recognise what is in it.
func (l *Log) startOver(ctx context.Context) error {
	var err error
	if l.e, err = startEngine(&l.o); err != nil {
		return err
	}
	s, err := l.e.lookup(ctx)
	if err != nil || s != nil || !leftovers(&l.o) {
		return err
	}
	l.e.stop()
	l.e = nil
	if err = moveLeftovers(&l.o); err != nil {
		return err
	}
	l.e, err = startEngine(&l.o)
	return err
}

// reconcileDamaged reconciles, and where the server contradicts itself, because
// the inside of its files is damaged, does so again: first with the server
// started anew, which recovers what it can, then without the stream's folder.
func (l *Log) reconcileDamaged(ctx context.Context) error {
	for try := 0; ; try++ {
		err := l.reconcile(ctx)
		if err == nil || l.o.URL != "" || !isConflict(err) || try == 2 {
			return err
		}
		l.o.Logger.Warn("the stream's files are damaged", zap.Int("try", try+1), zap.Error(err))
		l.e.stop()
		l.e = nil
		if try == 1 {
			if err := moveLeftovers(&l.o); err != nil {
				return err
			}
		}
		if l.e, err = startEngine(&l.o); err != nil {
			return err
		}
	}
}

// readLast finds the newest fact, after which TS goes on.
func (l *Log) readLast(ctx context.Context) error {
	_, last, _, err := l.state(ctx)
	if err != nil || last == 0 {
		return err
	}
	ts := l.archive.lastTS
	f, ok, err := l.message(ctx, last)
	if err != nil {
		return err
	}
	if ok && f.TS.After(ts) {
		ts = f.TS
	}
	if now := l.o.Now(); ts.Sub(now) > time.Second {
		l.o.Logger.Warn("the clock is behind the log: facts are stamped with the time of the last one until it has caught up",
			zap.Time("clock", now.UTC()), zap.Time("last_fact", ts), zap.String("remedy", "set the clock right"))
	}
	l.pubMu.Lock()
	if ts.After(l.lastTS) {
		l.lastTS = ts
	}
	l.pubMu.Unlock()
	l.noteLast(last, ts)
	return nil
}

// start starts the log's own goroutines: archiver, keeper and spool drainer.
// They stop in Close.
func (l *Log) start() {
	l.gate.lift()
	l.own.Go(func() { l.archiver(l.ctx) })
	l.own.Go(func() { l.keeper(l.ctx) })
	l.own.Go(func() { l.drain(l.ctx) })
}

// archiver copies the stream to the archive. After a failure it tries again.
func (l *Log) archiver(ctx context.Context) {
	for {
		within, leave := l.gate.settle(ctx)
		if within == nil {
			return
		}
		l.archive.work.Store(true)
		err := l.consume(within, l.archive.last.Load()+1, func(batch []entry) error { return l.archive.write(l, batch) })
		stopped := within.Err() != nil
		leave()
		if err == nil || stopped {
			continue
		}
		if l.archive.work.Swap(false) {
			l.o.Logger.Error("archiving fails and is tried again; the stream is not trimmed meanwhile", zap.Error(err))
		}
		wait(ctx, time.Second)
	}
}

func (l *Log) enterFollow() bool {
	l.closeMu.RLock()
	defer l.closeMu.RUnlock()
	if l.closing {
		return false
	}
	l.followers.Add(1)
	return true
}

func (l *Log) register(name string, f *follower) error {
	f.l = l
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	if l.views[name] != nil {
		return fmt.Errorf("cannot follow log: got view %s twice; want each once", name)
	}
	l.views[name], l.seen[name] = f, true
	return nil
}

func (l *Log) unregister(name string) {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	delete(l.views, name)
}

// Close takes no more facts, waits for the appends in flight, for the archive to
// reach the end of the stream and for the followers to stop, and shuts the
// server down. When ctx ends first it hurries; nothing acknowledged is lost.
func (l *Log) Close(ctx context.Context) error {
	l.closeMu.Lock()
	was := l.closing
	l.closing = true
	l.closeMu.Unlock()
	if was {
		return ErrClosed
	}
	appends := make(chan struct{})
	go func() { l.inflight.Wait(); close(appends) }() // ends at the latest with AckTimeout
	hurried := waitFor(ctx, appends)
	if !hurried && l.archive.work.Load() && l.gate.open() {
		hurried = waitFor(ctx, l.archive.reached(l.Last().Seq))
	}
	l.cancel()
	l.own.Wait()
	l.followers.Wait()
	err := errors.Join(l.archive.close(), l.spool.close())
	if l.e != nil {
		l.e.stop()
	}
	if hurried {
		l.o.Logger.Warn("log closed in a hurry; the archive catches up at the next start")
	}
	if err != nil {
		return fmt.Errorf("cannot close log: %w", err)
	}
	return nil
}

// waitFor waits for done; true when ctx ended first.
func waitFor(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	case <-ctx.Done():
		return true
	}
}
