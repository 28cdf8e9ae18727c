package pacing

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// clockSlack is how far the bidder's clock may be behind the log's time. Facts
// are stamped by the same clock, to the nanosecond; bids carry whole seconds.
const clockSlack = 2 * time.Second

// sight says whether money can be seen: bids stop while it cannot. The atomics
// are for the bid path.
type sight struct {
	stopped atomic.Bool  // for any reason of this file
	logTime atomic.Int64 // Unix nanoseconds: the time of the folded log

	// The rest belongs to Pacer.mu.
	behind  time.Duration // our clock behind the log's time, at the last Step; 0 when it is not
	noticed time.Duration // the same when it began
	lost    gap
}

// gap are facts that the log no longer had when the view was folded. It is a
// part of the fold.
type gap struct {
	From  uint64 `json:"from"` // of the first; 0 none
	To    uint64 `json:"to"`   // of the last
	Facts uint64 `json:"facts"`
}

// late tells whether a bid's time is behind the log's: its reservation would
// expire at once, and its money be bid again.
func (s *sight) late(at time.Time) bool {
	return s.logTime.Load()-at.UnixNano() > int64(clockSlack)
}

// judge publishes whether bids stop. Pacer.mu is held.
func (s *sight) judge() { s.stopped.Store(s.behind > 0 || s.lost.Facts > 0) }

// watchClock compares a time of our clock with the log's, and says so when they
// part and when they meet again. p.mu is held.
func (p *Pacer) watchClock(now time.Time) {
	behind := time.Duration(0)
	if p.now != 0 && p.sight.late(now) {
		behind = time.Duration(p.now - now.UnixNano())
	}
	was := p.sight.behind
	p.sight.behind = behind
	switch {
	case behind > 0 && was == 0:
		p.sight.noticed = behind
		p.o.Logger.Error("the clock is behind the log: bids stop until it has caught up", zap.Time("clock", now.UTC()),
			zap.Time("log", time.Unix(0, p.now).UTC()), zap.Duration("behind", behind),
			zap.String("remedy", "set the clock; if it is right now, it was ahead before: wait until it has passed the log's time"))
	case behind == 0 && was > 0:
		p.o.Logger.Warn("the clock has caught up with the log: bids go on", zap.Time("log", time.Unix(0, p.now).UTC()))
	}
	p.sight.judge()
}

// see looks for facts that are missing before f: what they spent is unknown. A
// resume of everything by an operator accepts that.
func (p *Pacer) see(pos events.Position, f *events.Fact) {
	g := &p.sight.lost
	if from, to := pos.Seq+1, f.Seq-1; from <= to && to > g.To { // not yet noted by an Apply that failed
		if g.Facts == 0 {
			g.From = from
		}
		g.To, g.Facts, p.changed.lost = to, g.Facts+to-from+1, true
		p.o.Logger.Error("facts are missing in the log, what they spent is unknown: bids stop", zap.Uint64("from_seq", from),
			zap.Uint64("to_seq", to), zap.String("remedy", lostRemedy))
	}
	if x := f.Pause; x != nil && x.Scope == "all" && !x.On && g.Facts > 0 {
		p.o.Logger.Warn("what missing facts spent is accepted as unknown", zap.String("by", x.By), zap.Uint64("facts", g.Facts))
		*g, p.changed.lost = gap{}, true
	}
}

const lostRemedy = `restore the folder of the facts log from a backup, remove the view "money" and start again; ` +
	`or accept it: POST /admin/pause {"scope":"all","on":false}`

// Blind says why bids are stopped by the money itself; empty when they are not.
// While the reason lasts the words stay the same.
func (p *Pacer) Blind() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s := &p.sight; {
	case s.behind > 0:
		return fmt.Sprintf("the clock is %.0f s behind the log", s.noticed.Seconds())
	case s.lost.Facts > 0:
		return fmt.Sprintf("%d facts of the log (%d to %d) are missing: what they spent is unknown", s.lost.Facts, s.lost.From, s.lost.To)
	}
	return ""
}

// unseen is the reason why a bid of a time is not covered, whatever it costs.
func (p *Pacer) unseen(at time.Time) rtb.NoBidReason {
	if p.sight.stopped.Load() || p.sight.late(at) {
		return rtb.NoBidBlind
	}
	return rtb.NoBidNone
}
