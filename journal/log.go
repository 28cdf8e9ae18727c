package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// Log is the log of facts. Its methods may be called from any goroutine.
type Log struct {
	o     Options
	id    string
	files *catalog
	queue *queue
	ring  *ring
	w     *writer
	fleet *fleet // nil on one machine
	room  atomic.Uint32
	blind blindness
	seen  uint64 // the highest sequence that is known to have been written to disk; set by Open

	ctx      context.Context // ends when the log closes
	cancel   context.CancelFunc
	tasks    sync.WaitGroup // all goroutines of the log except the writer
	writes   sync.WaitGroup // the writer
	seals    chan struct{}  // requests that files be packed
	erasures chan eraseOrder
	endBy    atomic.Uint64 // the current file must end if it begins at or before this sequence
	broken   chan error

	closeMu   sync.RWMutex // protects closing
	closing   bool
	appends   sync.WaitGroup
	followers sync.WaitGroup

	lastMu sync.Mutex // protects last
	last   events.Position

	viewMu sync.Mutex // protects views and names
	views  map[string]*follower
	names  map[string]bool // names of every view that follows or may follow

	meter meter
	start startReport
}

// Open opens or creates the log. It verifies the newest file, cuts off a batch
// that a crash left half written, and fails if a torn end cannot be
// distinguished from damage because files are missing; damage itself is
// reported by Follow and Stats.
func Open(ctx context.Context, o Options) (*Log, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	l := &Log{o: o, queue: newQueue(), ring: newRing(), seals: make(chan struct{}, 1), erasures: make(chan eraseOrder), broken: make(chan error, 1),
		views: map[string]*follower{}, names: map[string]bool{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, v := range o.Views {
		l.names[v.Name()] = true
	}
	if err := l.open(ctx); err != nil {
		l.cancel()
		return nil, err
	}
	l.writes.Go(l.write)
	l.tasks.Go(func() { l.keep(l.ctx) })
	l.tasks.Go(func() { l.seal(l.ctx) })
	l.pokeSeal()
	l.fleet.settle(ctx)
	o.Logger.Info("log opened", zap.String("log", l.id), zap.Uint64("last_seq", l.Last().Seq), zap.Stringer("last_h", l.Last().Hash),
		zap.Int("files", len(l.start.files)), zap.Bool("clean_stop", l.start.clean), zap.Duration("took", o.Now().Sub(l.start.began)))
	return l, nil
}

// write runs the writer on one machine. In a fleet the stream provides the facts: see
// fleet.go.
func (l *Log) write() {
	if l.fleet != nil {
		if err := l.fleet.follow(l.ctx); err != nil {
			l.fail(err)
		}
		return
	}
	var batch []*pending
	for {
		batch = l.queue.next(context.Background(), batch[:0], l.o.Now, l.bulkRate)
		if len(batch) == 0 {
			return // closed and empty
		}
		if err := l.w.commit(batch); err != nil {
			l.fail(err)
			l.refuse()
			return
		}
		clear(batch)
	}
}

// fail records that the log cannot continue.
func (l *Log) fail(err error) {
	select {
	case l.broken <- fmt.Errorf("log cannot continue: %w", err):
	default:
	}
}

// refuse returns an error to all queued and later appends after the log has failed.
func (l *Log) refuse() {
	for {
		batch := l.queue.next(context.Background(), nil, l.o.Now, func() float64 { return 1e9 })
		if len(batch) == 0 {
			return
		}
		answer(batch, errors.New("cannot write log: it failed before; restart the bidder"))
	}
}

// Broken returns a channel that receives the reason when the log cannot
// continue. The process should then end and be restarted.
func (l *Log) Broken() <-chan error { return l.broken }

// bulkRate returns the number of bulk facts that may be written per second,
// such that they take a fifth of the slowest view's time.
func (l *Log) bulkRate() float64 {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	rate := 100_000.0
	for _, f := range l.views {
		if cost := f.cost(); cost > 0 {
			rate = min(rate, 0.2/cost.Seconds())
		}
	}
	return rate
}

// Last returns the position of the newest fact on disk; zero if there is none.
func (l *Log) Last() events.Position {
	l.lastMu.Lock()
	defer l.lastMu.Unlock()
	return l.last
}

func (l *Log) setLast(p events.Position) {
	l.lastMu.Lock()
	l.last = p
	l.lastMu.Unlock()
}

// Close refuses further facts, writes the queued ones, waits for the followers
// to stop and records the end of the log. Nothing acknowledged is lost if ctx
// ends first.
func (l *Log) Close(ctx context.Context) error {
	l.closeMu.Lock()
	was := l.closing
	l.closing = true
	l.closeMu.Unlock()
	if was {
		return ErrClosed
	}
	written := make(chan struct{})
	go func() { // stops once the appends have ended, which end with the writer
		l.appends.Wait()
		l.queue.close()
		if l.fleet != nil {
			l.cancel()
		}
		l.writes.Wait()
		close(written)
	}()
	select {
	case <-written:
	case <-ctx.Done():
		l.queue.close()
		if l.fleet != nil {
			l.cancel() // appends that wait for the cluster
		}
		<-written
	}
	l.cancel()
	l.tasks.Wait()
	l.followers.Wait()
	// A stop is clean only if nothing was written that failed to be synced:
	// otherwise the next start must not trust the end of the newest file.
	clean := l.w.f != nil
	err := l.w.close()
	if err == nil {
		err = l.writeHead(clean)
	}
	if err != nil {
		return fmt.Errorf("cannot close log: %w", err)
	}
	return nil
}

// close trims and closes the current file.
func (w *writer) close() error {
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f = nil
	return errors.Join(f.Trim(w.size), f.Sync(), f.Close())
}

// keep is the log's housekeeping: once a second it records the end of the log
// and checks the disk; from time to time it deletes old files and verifies
// sealed ones.
func (l *Log) keep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.writeHead(false); err != nil {
			l.o.Logger.Warn("cannot record the end of the log", zap.Error(err))
		}
		if n%60 == 0 {
			p := l.Last()
			l.o.Logger.Info("log head", zap.Uint64("seq", p.Seq), zap.Stringer("h", p.Hash))
			if err := l.retain(); err != nil {
				l.o.Logger.Error("cannot delete old files of the log", zap.Error(err))
			}
		}
		l.freshen()
		if l.room.Load()&(1<<classEvent) == 0 {
			l.probe(ctx)
		}
	}
}

// probe makes the writer check for space again, which it does before each batch; all other
// appends are refused while there is no space. Nothing is written.
func (l *Log) probe(ctx context.Context) {
	if l.fleet != nil {
		return
	}
	p := &pending{class: classEvent, probe: true, done: make(chan error, 1)}
	if l.queue.put([]*pending{p}) == nil {
		await(ctx, []*pending{p}) //nolint:errcheck // what matters is that the writer looked
	}
}
