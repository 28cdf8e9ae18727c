package pacing

import (
	"go.uber.org/zap"
)

// An exchange whose bids are billed far less often than usual is more likely to have lost
// its notices than its auctions: what it costs is unknown, so it gets no bids. The
// expectation is that of the bids when they were made, corrected by the usual ratio of this
// exchange, so that a higher multiplier or another market is not mistaken for silence.
const (
	silenceWins  = 50.0 // expected bills after which an exchange is judged
	silenceShare = 0.1  // of them; fewer are silence. By chance this happens in fewer than one in 10^15 cases
	usualWins    = 200  // bills before the usual ratio is known
	usualMemory  = 2000 // bills beyond which older ones count half
)

// silence compares the bills of one exchange with what its bids foretold.
type silence struct {
	usualForetold, usualBilled float64 // impressions, of windows that were not silent
	foretold, billed           float64 // of the current window
	silent                     bool
}

// matured counts a bid whose outcome is certain, and reports whether the exchange became
// silent or is no longer silent.
func (s *silence) matured(chance float64, billed bool) (changed bool) {
	s.foretold += chance
	if billed {
		s.billed++
	}
	if s.usualBilled < usualWins {
		if s.foretold >= silenceWins {
			s.close()
		}
		return false
	}
	expected := s.foretold * s.usualBilled / s.usualForetold
	if expected < silenceWins {
		return false
	}
	was := s.silent
	if s.billed < silenceShare*expected {
		s.silent, s.foretold, s.billed = true, 0, 0
		return !was
	}
	s.close()
	return false
}

// close adds the current window to the usual ratio.
func (s *silence) close() {
	if s.usualBilled >= usualMemory {
		s.usualBilled, s.usualForetold = s.usualBilled/2, s.usualForetold/2
	}
	s.usualBilled, s.usualForetold = s.usualBilled+s.billed, s.usualForetold+s.foretold
	s.foretold, s.billed = 0, 0
}

// heard counts bills of a silent exchange and reports whether it is heard again.
func (s *silence) heard() bool {
	if !s.silent {
		return false
	}
	if s.billed++; s.billed < silenceShare*silenceWins {
		return false
	}
	s.silent, s.foretold, s.billed = false, 0, 0
	return true
}

// listen counts the outcome of a bid of this run for the silence of its exchange. p.mu is
// held.
func (p *Pacer) listen(r *reservation) {
	if r.exchange == "" || r.heir != nil || r.expected <= 0 || r.state == resDead {
		return
	}
	b := p.bills(r.exchange)
	if b.matured(r.foretold(), r.state == resSettled) {
		p.o.Logger.Error("an exchange bills far less often than usual: it gets no more bids", zap.String("exchange", r.exchange),
			zap.Float64("usual_share_of_expectation", b.usualBilled/b.usualForetold),
			zap.String("remedy", `check that its notices reach us; it gets bids again when bills come, or after POST /admin/pause {"scope":"exchange:`+r.exchange+`","on":false}`))
		p.judgeBilling(r.exchange, b)
	}
}

// hear counts a bill for an exchange that may be silent. p.mu is held.
func (p *Pacer) hear(exchange string) {
	if b := p.billing[exchange]; b != nil && b.heard() {
		p.judgeBilling(exchange, b)
	}
}
