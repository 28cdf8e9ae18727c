package pacing

import (
	"context"
	"testing"
	"time"

	"rebound/rtb"
)

// A line with many requests is sampled less often, and with every fewer requests more
// often again.
func TestSampleFollowsTheTraffic(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(1_000_000*unit))
	h := p.Handle(cartLine)
	for _, c := range []struct {
		rate int // requests per second
		hour int
		want uint32
	}{{0, 1, 1}, {1, 4, 16}, {3, 6, 32}, {1000, 4, 256}, {0, 20, 1}} {
		for range c.hour * 720 {
			w.now = w.now.Add(5 * time.Second)
			if c.rate > 0 {
				p.Observe(h, &rtb.Observation{Requests: int64(5 * c.rate)})
			}
			p.Step(context.Background(), w.now)
		}
		if got := p.SampleEvery(h); got != c.want {
			t.Errorf("%d requests a second for %d hours: got one request in %d; want %d", c.rate, c.hour, got, c.want)
		}
	}
	if got := p.SampleEvery(h + 1); got != 1 {
		t.Errorf("a line without a plan: got one request in %d; want 1", got)
	}
}
