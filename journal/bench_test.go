package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rebound/events"
)

// wide is an event whose line has about 500 bytes.
func wide(id string) events.Fact {
	f := event(id)
	f.At = time.Now()
	f.Event.Query = "red running shoes size 42 with a wide fit and a soft sole for long distances on asphalt"
	return f
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppend appends facts of 500 bytes from a number of callers that each
// wait for their own. For comparison it writes and syncs batches of as many
// lines to a separate file, which is the limit of the disk.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("log/callers=%d", callers), func(b *testing.B) {
			l, err := Open(context.Background(), Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			var wg sync.WaitGroup
			cpu := cpuTime()
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						if err := l.Append(context.Background(), wide(fmt.Sprint("p-", i))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "facts/s")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/fact")
			if err := l.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
		b.Run(fmt.Sprintf("bare/batch=%d", callers), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			batch := make([]byte, 500*callers)
			b.ResetTimer()
			for i := 0; i < b.N; i += callers {
				if _, err := f.Write(batch); err != nil {
					b.Fatal(err)
				}
				if err := syncData(f); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "facts/s")
		})
	}
}

// counter is a view that only counts.
type counter struct {
	tape
	n atomic.Int64
}

func (c *counter) Apply(facts []events.Fact) error {
	c.n.Add(int64(len(facts)))
	c.pos = facts[len(facts)-1].Position()
	return nil
}

// BenchmarkFollow reads a log of 100,000 facts from its files: verified, decoded
// and handed over.
func BenchmarkFollow(b *testing.B) {
	const total = 100_000
	r := newRig(b)
	r.o.Now = time.Now
	l := r.open()
	for i := 0; i < total; i += 1000 {
		facts := make([]events.Fact, 1000)
		for j := range facts {
			facts[j] = wide(fmt.Sprint("p-", i+j))
		}
		if err := l.Append(context.Background(), facts...); err != nil {
			b.Fatal(err)
		}
	}
	r.close()
	r.open() // the ring is empty: files are read
	b.ResetTimer()
	for b.Loop() {
		v := &counter{tape: tape{name: "v"}}
		r.follow(v)
		if v.n.Load() != total {
			b.Fatalf("got %d facts; want %d", v.n.Load(), total)
		}
	}
	b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "facts/s")
}
