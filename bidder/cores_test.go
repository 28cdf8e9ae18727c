package bidder_test

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"rebound/bidder"
)

// coreRequests is how many requests each goroutine of BenchmarkCores answers in a round.
const coreRequests = 10_000

// BenchmarkCores compares two goroutines with one, in alternating rounds: cores-x is what
// two cores do as a multiple of one, by the processor time of a request (median of the
// rounds), and elapsed-x the same by elapsed time (best round), which other programs on
// the machine reduce.
func BenchmarkCores(b *testing.B) {
	for _, c := range pathCases[1:3] {
		b.Run(c.name, func(b *testing.B) {
			p := newPath(b, c.o, c.known, recorded(b))
			var byCPU, byElapsed []float64
			for b.Loop() {
				cpu1, elapsed1 := p.parallel(1)
				cpu2, elapsed2 := p.parallel(2)
				byCPU = append(byCPU, 2*2*float64(cpu1)/float64(max(cpu2, 1)))
				byElapsed = append(byElapsed, 2*float64(elapsed1)/float64(max(elapsed2, 1)))
			}
			slices.Sort(byCPU)
			b.ReportMetric(byCPU[len(byCPU)/2], "cores-x")
			b.ReportMetric(slices.Max(byElapsed), "elapsed-x")
		})
	}
}

// parallel answers requests in n goroutines at one moment of the clock and returns the
// processor time of the process and the elapsed time.
func (p *path) parallel(n int) (cpu, elapsed time.Duration) {
	p.now = p.now.Add(time.Second)
	p.step()
	began, before := time.Now(), processCPU(p.t)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() {
			d := bidder.NewDecision()
			for i := range coreRequests {
				rq := bidder.Request{Exchange: "demo", Body: p.bodies[(k*len(p.bodies)/2+i)%len(p.bodies)], Arrival: p.now}
				p.lab.Bidder.Answer(&rq, d)
			}
		})
	}
	wg.Wait()
	return processCPU(p.t) - before, time.Since(began)
}

// processCPU returns the processor time of this process.
func processCPU(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
