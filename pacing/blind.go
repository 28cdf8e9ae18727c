package pacing

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/rtb"
)

// clockSlack is how far the bidder's clock may be behind the log's time. Facts
// are stamped by the same clock, to the nanosecond; bids carry whole seconds.
const clockSlack = 2 * time.Second

// sight tracks whether the clock agrees with the log; bidding stops while it does
// not. The bid path reads the atomics.
type sight struct {
	stopped atomic.Bool  // our clock was behind at the last Step
	logTime atomic.Int64 // Unix nanoseconds: the time of the folded log

	// Pacer.mu protects the remaining fields.
	behind  time.Duration // how far our clock was behind the log's time at the last Step; 0 if it was not
	noticed time.Duration // how far it was behind when this was first noticed
}

func (s *sight) setLogTime(t time.Time) {
	if t.IsZero() {
		s.logTime.Store(0)
		return
	}
	s.logTime.Store(t.UnixNano())
}

// late reports whether a bid's time is behind the log's. Its reservation would
// expire at once, and its money would be bid again.
func (s *sight) late(at time.Time) bool {
	return s.logTime.Load()-at.UnixNano() > int64(clockSlack)
}

// watchClock compares our clock with the log's time, and logs when the clock
// falls behind and when it has caught up. p.mu is held.
func (p *Pacer) watchClock(now time.Time) {
	behind := time.Duration(0)
	if !p.now.IsZero() && p.sight.late(now) {
		behind = p.now.Sub(now)
	}
	was := p.sight.behind
	p.sight.behind = behind
	switch {
	case behind > 0 && was == 0:
		p.sight.noticed = behind
		p.o.Logger.Error("the clock is behind the log: bidding stops until it has caught up", zap.Time("clock", now.UTC()),
			zap.Time("log", p.now), zap.Duration("behind", behind),
			zap.String("remedy", "set the clock; if it is correct now, it was ahead before: wait until it has passed the log's time"))
	case behind == 0 && was > 0:
		p.o.Logger.Warn("the clock has caught up with the log: bidding resumes", zap.Time("log", p.now))
	}
	p.sight.stopped.Store(behind > 0)
}

// Blind returns why this package has stopped bids; empty if it has not.
// The text stays the same while the reason lasts.
func (p *Pacer) Blind() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sight.behind == 0 {
		return ""
	}
	return fmt.Sprintf("the clock is %.0f s behind the log", p.sight.noticed.Seconds())
}

// unseen returns the no-bid reason for a bid made at a time when money cannot be
// accounted for, regardless of its cost.
func (p *Pacer) unseen(at time.Time) rtb.NoBidReason {
	if p.sight.stopped.Load() || p.sight.late(at) {
		return rtb.NoBidBlind
	}
	return rtb.NoBidNone
}
