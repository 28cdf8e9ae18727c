package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	// slowFactor is how much longer it may fail where the server speaks of no
	// fault (a broken one says nothing to who appends): a slow disk gets no
	// faster by a new start.
	slowFactor = 6
	// maxMends is how often the server is started anew for one failure.
	maxMends = 3
)

// mending is the keeper's memory of a failure that lasts.
type mending struct {
	since time.Time // of the failure, or of the last attempt to end it; zero: none
	tried int
	gave  bool // the log is broken
}

// mend is told what the last probe of a failing log said. The embedded server
// keeps the first error of a write for ever: when appending has failed for a
// while, and it is for no reason that time or an operator must take away, the
// server is started anew. When that does not help either, the log is broken: a
// supervisor should start the process again.
func (l *Log) mend(ctx context.Context, failed error) {
	m, now := &l.mending, l.o.Now()
	switch {
	case failed == nil:
		return
	case l.o.URL != "" || m.gave:
		return
	case isFull(failed) || l.diskLow():
		m.since = time.Time{} // what comes after it counts anew
		return
	case m.since.IsZero():
		m.since = now
		return
	}
	patience := l.o.MendAfter
	if l.e != nil && l.e.faults.Load() == 0 {
		patience *= slowFactor
	}
	if now.Sub(m.since) < patience {
		return
	}
	if m.tried == maxMends {
		m.gave = true
		err := fmt.Errorf("cannot append to log: the embedded server was started anew %d times: %w", m.tried, failed)
		l.o.Logger.Error("the log takes no facts and cannot be mended; the process should end and be started again", zap.Error(err))
		select {
		case l.broken <- err:
		default: // said before
		}
		return
	}
	m.tried++
	l.o.Logger.Warn("the log takes no facts although its disk has room: its embedded server is started anew",
		zap.Int("try", m.tried), zap.Duration("failing", now.Sub(m.since)), zap.NamedError("cause", failed))
	err := l.restart(ctx)
	m.since = l.o.Now()
	if err != nil {
		if ctx.Err() == nil {
			l.o.Logger.Error("the embedded server was not started anew", zap.Int("try", m.tried), zap.Error(err))
		}
		return
	}
	l.restarts.Add(1)
	l.probe(ctx)
}

// Broken gives one error when the log takes no facts and could not mend itself:
// the process should end, so that a supervisor starts it again.
func (l *Log) Broken() <-chan error { return l.broken }

// isFull tells whether the stream refuses facts because it is at its limit.
func isFull(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Description == server.ErrMaxBytes.Error()
}

func (l *Log) diskLow() bool {
	free := l.diskFree.Load()
	return free > 0 && free < l.o.MinFreeBytes
}

// restart stops the embedded server and starts it again on the same files.
// Followers and the archiver make their consumers anew. Unlike [Open] it makes
// no stream where there is none: that is for a start by hand.
func (l *Log) restart(ctx context.Context) error {
	l.gate.shut()
	if l.e != nil {
		l.e.stop()
		l.e = nil
	}
	err := l.startAgain(ctx)
	if err == nil {
		l.gate.lift()
		l.o.Logger.Info("embedded server started anew", zap.Uint64("last_seq", l.Last().Seq))
		return nil
	}
	if l.e != nil {
		l.e.stop()
		l.e = nil
	}
	return err
}

func (l *Log) startAgain(ctx context.Context) error {
	var err error
	if l.e, err = startEngine(&l.o); err != nil {
		return err
	}
	s, err := l.e.lookup(ctx)
	if err != nil {
		return err
	}
	if s == nil || s.CachedInfo().Config.Metadata[idKey] != l.id {
		return fmt.Errorf("cannot adopt stream: got none or another one in %s; want %s", streamDir(&l.o), l.id)
	}
	if err := l.reconcile(ctx); err != nil {
		return err
	}
	return l.takeUp(ctx)
}

// takeUp goes on from the stream's end. What had been acknowledged is there
// unless the files lost it; what a failed append left may be there too.
func (l *Log) takeUp(ctx context.Context) error {
	_, last, _, err := l.state(ctx)
	if err != nil {
		return err
	}
	if had := l.Last().Seq; last < had {
		l.lost("stream", last+1, had)
		l.lastMu.Lock()
		l.last.Seq = 0 // readLast says it anew
		l.lastMu.Unlock()
	}
	return l.readLast(ctx)
}
