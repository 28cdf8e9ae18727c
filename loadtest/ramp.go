package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Ramp finds the highest rate at which a share of the responses is in time, and the share
// of bids is about that of the other rates. It doubles
// the rate until a step fails, then halves the interval between the last rate that held
// and the first that did not.
type Ramp struct {
	Attack    Attack        // of one step; its Rate is set by the ramp
	From, To  int           // rates per second, the first and the highest that are tried
	Step      time.Duration // duration of one step
	InTimePct float64       // share that must be in time; zero means 99.9
	Precision float64       // relative width of the interval at which the ramp ends; zero means 0.05
	// Progress, if not nil, is called after each step.
	Progress func(RampStep)
}

// RampStep is one rate that was tried.
type RampStep struct {
	Rate          int       `json:"rate"`
	Achieved      float64   `json:"rate_achieved"`
	InTimePct     float64   `json:"in_time_pct"`
	BidPct        float64   `json:"bid_pct"`
	OnSchedulePct float64   `json:"on_schedule_pct"`
	Latency       Quantiles `json:"latency_ms"`
	Errors        int       `json:"error_statuses"`
	Held          bool      `json:"held"`
	Why           string    `json:"why,omitempty"` // it did not hold

	unsentPct float64 // share of the requests for which the target left no connection free
}

// RampReport is the result of a ramp.
type RampReport struct {
	Target  string     `json:"target"`
	Highest int        `json:"highest_rate"` // that held; 0: none
	Steps   []RampStep `json:"steps"`
	// LimitedBy is "target" or "sender": a sender that cannot keep its schedule proves
	// nothing about the target.
	LimitedBy string `json:"limited_by"`
}

// minBids is the least share of bids, relative to the step with the most: below it the
// target keeps up only because it answers without deciding.
const minBids = 0.9

// minSent is the share of the requests, in percent, that the sender must send at most
// 10 ms late; below it a step proves nothing about the target.
const minSent = 98

// Run tries rates. It returns an error if the ramp cannot begin.
func (r *Ramp) Run(ctx context.Context) (*RampReport, error) {
	if r.InTimePct == 0 {
		r.InTimePct = 99.9
	}
	if r.Precision == 0 {
		r.Precision = 0.05
	}
	if r.From < 1 || r.To < r.From || r.To > MaxRate || !(r.InTimePct > 0 && r.InTimePct <= 100) || !(r.Precision > 0 && r.Precision < 1) {
		return nil, fmt.Errorf("cannot ramp: got %d to %d per second, %g %% in time; want rates of 1 to %d and a share of up to 100 %%", r.From, r.To, r.InTimePct, MaxRate)
	}
	out := &RampReport{Target: Redact(r.Attack.Target), LimitedBy: "nothing: the highest rate that was tried held"}
	low, high := 0, 0 // the highest that held, the lowest that did not
	bids := 0.0       // the greatest share of bids
	for rate := r.From; ; {
		s, err := r.step(ctx, rate)
		if err != nil {
			return out, err
		}
		if bids = max(bids, s.BidPct); s.Held && s.BidPct < minBids*bids {
			s.Held, s.Why = false, fmt.Sprintf("%.1f %% of the responses were bids; want %g times the %.1f %% of another rate: the target answers without deciding, or has no budget left", s.BidPct, minBids, bids)
		}
		out.Steps = append(out.Steps, s)
		if r.Progress != nil {
			r.Progress(s)
		}
		if s.Held {
			low = rate
		} else {
			high, out.LimitedBy = rate, "target"
			if s.OnSchedulePct+s.unsentPct < minSent {
				out.LimitedBy = "sender"
			}
		}
		next, more := r.next(low, high)
		if !more {
			out.Highest = low
			return out, nil
		}
		rate = next
	}
}

// next returns the rate to try after low held and high did not; 0 means that none did.
func (r *Ramp) next(low, high int) (rate int, more bool) {
	switch {
	case high == 0 && low >= r.To:
		return 0, false
	case high == 0:
		return min(2*low, r.To), true
	case low == 0 && high <= r.From/8 || high <= 1:
		return 0, false
	case low == 0:
		return max(high/2, 1), true
	case float64(high-low) <= r.Precision*float64(high) || high-low <= 1:
		return 0, false
	}
	return (low + high) / 2, true
}

// step runs one rate.
func (r *Ramp) step(ctx context.Context, rate int) (RampStep, error) {
	a := r.Attack
	a.Rate, a.Duration = rate, r.Step
	report, err := a.Run(ctx)
	if err != nil {
		return RampStep{}, err
	}
	s := RampStep{Rate: rate, Achieved: report.RateAchieved, BidPct: report.BidPct, InTimePct: report.InsideDeadline * report.SentPct / 100, OnSchedulePct: report.OnSchedulePct,
		Latency: report.Latency, Errors: report.ErrorStatuses,
		unsentPct: pct(report.NoConnection, report.Scheduled)}
	switch {
	case report.Stopped == Interrupted:
		return s, errors.New("cannot finish the ramp: " + Interrupted)
	case report.Stopped != "":
		s.Why = report.Stopped
	case report.ErrorStatuses > 0:
		s.Why = fmt.Sprintf("%d responses were neither 200 nor 204", report.ErrorStatuses)
	case s.InTimePct < r.InTimePct:
		s.Why = fmt.Sprintf("%.3f %% of the requests were answered within %s of their schedule; want %g %%", s.InTimePct, a.Deadline, r.InTimePct)
	default:
		s.Held = true
	}
	return s, nil
}

// Line describes a step in one line.
func (s *RampStep) Line() string {
	verdict := "held"
	if !s.Held {
		verdict = "did not hold: " + s.Why
	}
	return fmt.Sprintf("%8d/s  in time %7.3f %%  bids %5.1f %%  on schedule %6.2f %%  p50 %7.2f ms  p99.9 %8.2f ms  %s", s.Rate, s.InTimePct, s.BidPct, s.OnSchedulePct, s.Latency.P50, s.Latency.P999, verdict)
}

// WriteText writes the report as plain text.
func (r *RampReport) WriteText(w io.Writer) error {
	text := fmt.Sprintf("highest rate that held   %d per second\nlimited by               %s\n", r.Highest, r.LimitedBy)
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}
