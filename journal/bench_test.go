package journal

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"rebound/events"
)

func benchRig(b *testing.B) *rig {
	r := newRig(b)
	r.o.Now = time.Now
	r.open()
	return r
}

// Appends from many goroutines, each waiting for its own.
func BenchmarkAppendParallel(b *testing.B) {
	r := benchRig(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f := event(fmt.Sprint("p-", n.Add(1)))
			if err := r.l.Append(context.Background(), f); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// One append at a time: publish and wait.
func BenchmarkAppendOne(b *testing.B) {
	r := benchRig(b)
	n := 0
	for b.Loop() {
		n++
		if err := r.l.Append(context.Background(), event(fmt.Sprint("p-", n))); err != nil {
			b.Fatal(err)
		}
	}
}

// counter is a view that only counts.
type counter struct {
	tape
	n    atomic.Int64
	seen chan uint64
}

func (c *counter) Apply(facts []events.Fact) error {
	c.n.Add(int64(len(facts)))
	c.pos = facts[len(facts)-1].Position()
	if c.seen != nil {
		c.seen <- c.pos.Seq
	}
	return nil
}

// A view catches up with a long log: facts a second.
func BenchmarkFollow(b *testing.B) {
	r := benchRig(b)
	const total = 50_000
	r.append("a", total)
	r.archived()
	for _, from := range []string{"stream", "archive"} {
		b.Run(from, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v := &counter{tape: tape{name: "v"}}
				if from == "stream" {
					r.follow(v)
				} else {
					f := &follower{l: r.l, v: v, next: 1}
					if err := f.replay(context.Background(), total); err != nil {
						b.Fatal(err)
					}
				}
				if v.n.Load() != total {
					b.Fatalf("got %d facts", v.n.Load())
				}
			}
			b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "facts/s")
		})
	}
}

// From append to Apply in a view that has caught up.
func BenchmarkAppendToApply(b *testing.B) {
	r := benchRig(b)
	v := &counter{tape: tape{name: "v"}, seen: make(chan uint64, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	caught, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- r.l.Follow(ctx, v, func() { close(caught) }) }()
	<-caught
	n := 0
	for b.Loop() {
		n++
		if err := r.l.Append(ctx, event(fmt.Sprint("p-", n))); err != nil {
			b.Fatal(err)
		}
		<-v.seen
	}
	cancel()
	<-done
}
