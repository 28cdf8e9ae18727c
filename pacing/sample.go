package pacing

import (
	"math/bits"
	"time"
)

// A line that does not bid is evaluated on a sample of its requests only. The sample of
// a line with many requests is smaller: with leastSamples a day, the demand of the day
// has a standard error of at most 1.6 %.
const (
	leastSamples  = 4096 // of a day
	mostEvery     = 256
	sampleMemory  = 3600.0 // seconds over which requests are averaged
	leastMeasured = 60.0   // seconds that are assumed to have been measured at first
)

// sampled measures the matched requests of a line, to choose its sample.
type sampled struct {
	requests, seconds float64 // both fade
	at                time.Time
}

// rate adds requests and returns how many are matched a second.
func (s *sampled) rate(requests float64, now time.Time) float64 {
	if !s.at.IsZero() {
		dt := max(now.Sub(s.at).Seconds(), 0)
		fade := 1 / (1 + dt/sampleMemory)
		s.requests, s.seconds = s.requests*fade, (s.seconds+dt)*fade
	}
	s.at = now
	s.requests += requests
	return s.requests / max(s.seconds, leastMeasured)
}

// sample adds the requests that matched since the last call, and chooses the line's
// sample. Pacer.mu is held.
func (l *line) sample(requests float64, now time.Time) {
	day := l.traffic.rate(requests, now) * 86400
	every := uint32(1) << (bits.Len(uint(min(day/leastSamples, mostEvery))|1) - 1)
	if every != l.terms.every.Load() {
		l.terms.every.Store(every)
	}
}
