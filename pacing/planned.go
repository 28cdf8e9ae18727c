package pacing

import (
	"math"
	"time"

	"rebound/rtb"
)

// planned returns how much of a cap is to be spent by now, if its line follows the expected
// traffic from the beginning of the window to its end; 0 for a cap that is not spread, or
// whose beginning is not known. p.mu is held.
func (p *Pacer) planned(l *LinePlan, a *account, now time.Time) rtb.Micros {
	lasts := a.id.Window == rtb.WindowTotal || a.id.Window == rtb.WindowFlight
	if !a.control.bound || !a.span.to.After(a.span.from) || lasts && l.Start.IsZero() {
		return 0
	}
	gone := now.Sub(a.span.from).Seconds() / a.span.to.Sub(a.span.from).Seconds()
	h := p.horizon(a, now)
	if f := &a.control.history.forecast; h.to > 0 && f.known() {
		if whole := f.between(h.from, h.to); whole > 0 {
			gone = f.between(h.from, h.at) / whole
		}
	}
	gone = min(max(gone, 0), 1)
	if a.control.mode == Ahead { // what is left, if it is spent 1 + aheadLead x (1 - gone) times as fast as evenly
		gone = 1 - (1-gone)*math.Exp(-aheadLead*gone)
	}
	return rtb.Micros(gone * float64(a.limit-a.holdback))
}
