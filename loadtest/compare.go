package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Comparison measures two servers in alternating rounds, so that whatever else happens
// on the machine affects both, and compares the CPU time that a request costs each of
// them.
type Comparison struct {
	// Subject and Control are the two servers.
	Subject, Control Side
	// Rounds is the number of pairs; at least 1.
	Rounds int
	// Duration is how long each server gets requests in a round, after Warmup.
	Duration, Warmup time.Duration
	// Settle is the time after a round whose CPU time counts too, because a server may
	// finish work, such as writing records, after it has answered.
	Settle time.Duration
	// Progress, if not nil, is called before each round.
	Progress func(round int, of string)
}

// Side is one server of a comparison.
type Side struct {
	Name string
	Loop ClosedLoop // its Duration and First are set by the comparison
	PID  int        // the server's process
}

// Round is one measurement of one server.
type Round struct {
	Requests      int     `json:"requests"`
	Bids          int     `json:"bids"`
	PerSecond     float64 `json:"per_second"`
	CPUMicros     float64 `json:"cpu_us_per_request"` // user and kernel
	UserMicros    float64 `json:"user_us_per_request"`
	BytesRead     float64 `json:"bytes_read_per_request"` // by the client
	BytesSent     float64 `json:"bytes_sent_per_request"`
	ResidentBytes int64   `json:"resident_bytes"`
}

// Measured are the rounds of one server.
type Measured struct {
	Name     string   `json:"name"`
	Rounds   []Round  `json:"rounds"`
	Checked  int      `json:"checked"`           // responses whose validity was checked
	Invalid  []string `json:"invalid,omitempty"` // what was wrong with some of them
	Broken   int      `json:"broken"`            // connections that broke
	Statuses []int    `json:"statuses"`          // that occurred
}

// ComparisonResult is the outcome of a comparison.
type ComparisonResult struct {
	Subject Measured `json:"subject"`
	Control Measured `json:"control"`
	// Ratio is the CPU time per request of the subject to that of the control.
	Ratio Spread `json:"ratio"`
	// QuietRatio is the ratio of the cheapest rounds of each, which other work on the
	// machine disturbed least.
	QuietRatio float64 `json:"quiet_ratio"`
	// SubjectCPU and ControlCPU are in microseconds per request, which is the same
	// number as core-seconds per million requests.
	SubjectCPU Spread `json:"subject_cpu_us"`
	ControlCPU Spread `json:"control_cpu_us"`
	// SubjectUser is the part of SubjectCPU outside the kernel.
	SubjectUser Spread `json:"subject_user_us"`
	// Rates are requests per second of one core.
	SubjectRate Spread `json:"subject_per_second"`
	ControlRate Spread `json:"control_per_second"`
}

// Spread summarizes the rounds of a comparison.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of values.
func spreadOf(values []float64) Spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return Spread{}
	}
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// errNoRounds is returned for a comparison that would measure nothing.
var errNoRounds = errors.New("cannot compare: want at least one round with a duration of at least 100ms")

// Run measures the rounds. A server that fails ends the comparison; what was measured
// until then is returned with the error.
func (c *Comparison) Run(ctx context.Context) (*ComparisonResult, error) {
	if c.Rounds < 1 || c.Duration < 100*time.Millisecond {
		return nil, errNoRounds
	}
	res := &ComparisonResult{Subject: Measured{Name: c.Subject.Name}, Control: Measured{Name: c.Control.Name}}
	for i := range c.Rounds {
		pair := []struct {
			side *Side
			to   *Measured
		}{{&c.Control, &res.Control}, {&c.Subject, &res.Subject}}
		if i%2 == 1 {
			slices.Reverse(pair) // neither is always the one that follows the other
		}
		for _, p := range pair {
			if c.Progress != nil {
				c.Progress(i+1, p.side.Name)
			}
			if err := c.measure(ctx, p.side, p.to); err != nil {
				return res, fmt.Errorf("cannot measure %s in round %d: %w", p.side.Name, i+1, err)
			}
		}
	}
	res.summarize()
	return res, nil
}

// measure runs one round of one server.
func (c *Comparison) measure(ctx context.Context, s *Side, to *Measured) error {
	if c.Warmup > 0 {
		if _, err := s.run(ctx, c.Warmup, to); err != nil {
			return err
		}
	}
	before, err := ReadUsage(s.PID)
	if err != nil {
		return err
	}
	r, err := s.run(ctx, c.Duration, to)
	if err != nil {
		return err
	}
	if err := sleep(ctx, c.Settle); err != nil {
		return err
	}
	after, err := ReadUsage(s.PID)
	if err != nil {
		return err
	}
	if r.Requests == 0 {
		return errors.New("no response at all")
	}
	n := float64(r.Requests)
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / n }
	to.Rounds = append(to.Rounds, Round{Requests: r.Requests, Bids: r.Bids, PerSecond: n / r.Elapsed.Seconds(),
		CPUMicros: us(after.CPU() - before.CPU()), UserMicros: us(after.User - before.User),
		BytesRead: float64(r.BytesRead) / n, BytesSent: float64(r.BytesSent) / n, ResidentBytes: after.Resident})
	return nil
}

// run sends requests for a time and adds what was seen.
func (s *Side) run(ctx context.Context, d time.Duration, to *Measured) (*ClosedLoopResult, error) {
	s.Loop.Duration = d
	r, err := s.Loop.Run(ctx)
	if r == nil {
		return nil, err
	}
	s.Loop.First = r.Next
	to.Checked += r.Checked
	to.Invalid = append(to.Invalid, r.Invalid...)
	to.Broken += r.Broken
	for status := range r.Statuses {
		if !slices.Contains(to.Statuses, status) {
			to.Statuses = append(to.Statuses, status)
		}
	}
	slices.Sort(to.Statuses)
	if err == nil {
		err = ctx.Err()
	}
	return r, err
}

// sleep waits, or returns the error of ctx if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// summarize computes the spreads over the rounds.
func (r *ComparisonResult) summarize() {
	var ratio []float64
	column := func(m *Measured, of func(Round) float64) []float64 {
		out := make([]float64, len(m.Rounds))
		for i, x := range m.Rounds {
			out[i] = of(x)
		}
		return out
	}
	cpu := func(x Round) float64 { return x.CPUMicros }
	rate := func(x Round) float64 { return x.PerSecond }
	subject, control := column(&r.Subject, cpu), column(&r.Control, cpu)
	for i := range min(len(subject), len(control)) {
		if control[i] > 0 {
			ratio = append(ratio, subject[i]/control[i])
		}
	}
	r.Ratio, r.SubjectCPU, r.ControlCPU = spreadOf(ratio), spreadOf(subject), spreadOf(control)
	if r.ControlCPU.Min > 0 {
		r.QuietRatio = r.SubjectCPU.Min / r.ControlCPU.Min
	}
	r.SubjectUser = spreadOf(column(&r.Subject, func(x Round) float64 { return x.UserMicros }))
	r.SubjectRate, r.ControlRate = spreadOf(column(&r.Subject, rate)), spreadOf(column(&r.Control, rate))
}

// BidPct returns the percentage of the requests of all rounds that got a bid.
func (m *Measured) BidPct() float64 {
	requests, bids := 0, 0
	for _, r := range m.Rounds {
		requests, bids = requests+r.Requests, bids+r.Bids
	}
	return pct(bids, requests)
}

// BytesRead returns the mean response size over all rounds, headers included.
func (m *Measured) BytesRead() float64 {
	sum := 0.0
	for _, r := range m.Rounds {
		sum += r.BytesRead
	}
	return sum / float64(max(len(m.Rounds), 1))
}

// WriteText writes the result as plain text.
func (r *ComparisonResult) WriteText(w io.Writer) error {
	line := func(name string, s Spread, digits int) string {
		return fmt.Sprintf("%-34s median %.*f, from %.*f to %.*f\n", name, digits, s.Median, digits, s.Min, digits, s.Max)
	}
	text := line("ratio of CPU time per request", r.Ratio, 2) + line("target, us per request", r.SubjectCPU, 1) + line("control, us per request", r.ControlCPU, 1) +
		line("target, requests per second", r.SubjectRate, 0) + line("control, requests per second", r.ControlRate, 0)
	for _, m := range []*Measured{&r.Subject, &r.Control} {
		text += fmt.Sprintf("%-34s %.1f %% bids, %.0f bytes per response, statuses %v, %d responses checked, %d invalid, %d connections broken\n",
			m.Name, m.BidPct(), m.BytesRead(), m.Statuses, m.Checked, len(m.Invalid), m.Broken)
		for _, why := range m.Invalid {
			text += "  invalid: " + why + "\n"
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}
