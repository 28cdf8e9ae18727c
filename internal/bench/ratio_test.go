//go:build linux

package bench

import (
	"encoding/json"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/prebid/openrtb/v20/openrtb2"
	"github.com/valyala/fastjson"
	"golang.org/x/sys/unix"

	goccy "github.com/goccy/go-json"

	"rebound/exchange"
	"rebound/rtb"
)

// BenchmarkRatio measures our decoder and the libraries in alternating rounds of one
// process, by the CPU time of the thread, so that it can be trusted on a busy machine.
// It reports the least time of each and its ratio to that of Head. The time of the
// garbage collector, which only the libraries need, is not included.
func BenchmarkRatio(b *testing.B) {
	spec := exchange.ProfileSpec{ID: "demo", Seat: "seat-1"}
	p, problems := spec.Compile()
	if len(problems) > 0 {
		b.Fatalf("cannot compile profile: %v", problems)
	}
	for _, shape := range []string{"web", "app", "site", "video", "native"} {
		body, err := os.ReadFile("../../exchange/testdata/bench/" + shape + ".json")
		if err != nil {
			b.Fatal(err)
		}
		var d exchange.Decoder
		var o rtb.Opportunity
		var fp fastjson.Parser
		variants := []struct {
			name   string
			decode func() error
		}{
			{"head", func() error { return d.Head(body, p, &o) }},
			{"head+rest", func() error {
				if err := d.Head(body, p, &o); err != nil {
					return err
				}
				return d.Rest(p, &o, rtb.AllParts)
			}},
			{"fastjson-parse", func() error { _, err := fp.ParseBytes(body); return err }},
			{"fastjson-extract", func() error {
				v, err := fp.ParseBytes(body)
				if err == nil {
					fastjsonExtract(v)
				}
				return err
			}},
			{"goccy", func() error { var r openrtb2.BidRequest; return goccy.Unmarshal(body, &r) }},
			{"encoding-json", func() error { var r openrtb2.BidRequest; return json.Unmarshal(body, &r) }},
		}
		least := make([]float64, len(variants))
		for i := range least {
			least[i] = math.Inf(1)
		}
		const rounds, times = 30, 200
		for range rounds {
			for i, v := range variants {
				least[i] = min(least[i], threadTime(b, times, v.decode)/times)
			}
		}
		for i, v := range variants {
			b.Run(shape+"/"+v.name, func(b *testing.B) {
				for b.Loop() {
					// Measured above.
				}
				b.ReportMetric(least[i], "cpu-ns/op")
				b.ReportMetric(least[i]/least[0], "x-head")
				b.ReportMetric(0, "ns/op") // leave it out
			})
		}
	}
}

// threadTime returns the CPU time in nanoseconds that the thread needs for n calls.
func threadTime(b *testing.B, n int, f func() error) float64 {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadCPU(b)
	for range n {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	return float64((threadCPU(b) - start).Nanoseconds())
}

func threadCPU(b *testing.B) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		b.Fatal(err)
	}
	return time.Duration(now.Nano())
}
