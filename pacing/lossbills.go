package pacing

import (
	"math"

	"go.uber.org/zap"
)

// An exchange that bills many more of the bids it reported lost than usual gets no bids. Its
// usual share is compared with what the bids foretold, so that an exchange which reports
// every bid lost and bills its wins is not stopped when more of them win. All outcomes count
// at the same age, when a bid can no longer be billed.
const (
	lossWindow    = 500.0 // losses that are judged together; the first of them only show what is usual
	lossTimes     = 2.0   // factor on the usual share
	lossSlack     = 15.0  // bills of a window beyond it, which stop no exchange
	usualLosses   = 20000 // losses beyond which older ones count half
	fewBilledLoss = 3.0   // bills that the usual ones are taken to be more than they are, with upperBound deviations
)

// lossBills compares the bills of losses with what their bids foretold.
type lossBills struct {
	Losses   float64 `json:"losses"` // of windows that were not unusual
	Foretold float64 `json:"foretold"`
	Billed   float64 `json:"billed"`

	losses, foretold, billed float64 // of the current window
	stopped                  bool
}

// count counts a loss that can no longer be billed, or was, and reports whether more of them
// are billed than usual.
func (b *lossBills) count(chance float64, billed bool) (unusual bool) {
	b.losses++
	b.foretold += chance
	if billed {
		b.billed++
	}
	if b.Losses >= lossWindow && b.Foretold > 0 {
		usual := (b.Billed + fewBilledLoss + upperBound*math.Sqrt(b.Billed)) / b.Foretold
		if b.billed > lossTimes*usual*b.foretold+lossSlack {
			b.losses, b.foretold, b.billed = 0, 0, 0
			return true
		}
	}
	if b.losses >= lossWindow {
		if b.Losses >= usualLosses {
			b.Losses, b.Foretold, b.Billed = b.Losses/2, b.Foretold/2, b.Billed/2
		}
		b.Losses, b.Foretold, b.Billed = b.Losses+b.losses, b.Foretold+b.foretold, b.Billed+b.billed
		b.losses, b.foretold, b.billed = 0, 0, 0
	}
	return false
}

// judgeLoss counts the outcome of a bid of this run that was reported lost. p.mu and the
// reservation's shard are held.
func (p *Pacer) judgeLoss(r *reservation) {
	if !r.claimed || r.day == nil || r.expected <= 0 {
		return
	}
	c := p.claims(r.exchange)
	if !c.Bills.count(r.foretold(), r.state == resSettled) || c.Bills.stopped {
		return
	}
	c.Bills.stopped = true
	p.o.Logger.Error("an exchange bills far more of the bids that it reported lost than usual: it gets no more bids", zap.String("exchange", r.exchange),
		zap.Float64("usual_share", c.Bills.Billed/c.Bills.Losses),
		zap.String("remedy", `ask the exchange why it sends lurl for impressions that it bills; then POST /admin/pause {"scope":"exchange:`+r.exchange+`","on":false}`))
	p.judgeBilling(r.exchange, p.bills(r.exchange))
}

// trustLosses has the usual share of billed losses learned again after an operator resumed
// an exchange: until then its doubted money counts in full. p.mu is held.
func (p *Pacer) trustLosses(exchange string) {
	if c := p.losses[exchange]; c != nil && c.Bills.stopped {
		c.Bills, c.Matured, c.Billed, c.moved = lossBills{}, 0, 0, true
	}
}

// stoppedByLosses reports whether an exchange is stopped because it bills its losses.
func (p *Pacer) stoppedByLosses(exchange string) bool {
	c := p.losses[exchange]
	return c != nil && c.Bills.stopped
}
