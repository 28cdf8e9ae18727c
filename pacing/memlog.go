package pacing

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// ErrConflict is returned by [MemLog.Append] for a stale grant.
var ErrConflict = errors.New("stale expected sequence")

// MemLog is a log without storage, for replay and tests: it numbers and stamps
// facts and hands them to its views before Append returns.
type MemLog struct {
	// Now stamps facts.
	Now func() time.Time
	// Apply is called with every fact, in order, one call at a time.
	Apply func(facts []events.Fact) error

	mu     sync.Mutex
	seq    uint64
	last   time.Time
	grants map[rtb.BudgetID]uint64 // sequence of each budget's last grant
}

// IsConflict reports whether an error of Append means a stale grant. It can be
// used as [Options.IsConflict].
func IsConflict(err error) bool { return errors.Is(err, ErrConflict) }

// Append stamps facts and applies them. If the ExpectSeq of a grant is not the sequence
// of its budget's last grant, Append returns ErrConflict and applies none of the facts.
func (l *MemLog) Append(_ context.Context, facts ...events.Fact) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range facts {
		if g := facts[i].Grant; g != nil && l.grants[g.Budget] != g.ExpectSeq {
			return fmt.Errorf("cannot append grant of %s: got expected sequence %d; want %d: %w",
				g.Budget, g.ExpectSeq, l.grants[g.Budget], ErrConflict)
		}
	}
	for i := range facts {
		f := &facts[i]
		if now := l.Now(); now.After(l.last) {
			l.last = now
		}
		l.seq++
		f.V, f.Seq, f.TS = 1, l.seq, l.last
		if f.Grant != nil {
			if l.grants == nil {
				l.grants = map[rtb.BudgetID]uint64{}
			}
			l.grants[f.Grant.Budget] = f.Seq
		}
	}
	return l.Apply(facts)
}
