package loadtest

import (
	"math/bits"
	"time"
)

// Buckets of a histogram: linear below histogramSub units, and histogramSub buckets for
// each power of two above.
const (
	histogramUnit = time.Microsecond
	histogramSub  = 64
	histogramSize = histogramSub * 26 // up to about half an hour
)

// histogram counts durations in buckets of 1 µs, or of 1/64 of their value where that is
// more. Longer ones than 35 minutes count as 35 minutes.
type histogram struct {
	counts   [histogramSize]uint32
	n        int
	sum, max time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.n++
	h.sum += d
	h.max = max(h.max, d)
	h.counts[min(bucketOf(uint64(d/histogramUnit)), histogramSize-1)]++
}

// bucketOf returns the index of the bucket of v units.
func bucketOf(v uint64) int {
	if v < histogramSub {
		return int(v)
	}
	shift := bits.Len64(v) - bits.Len64(histogramSub)
	return shift*histogramSub + int(v>>shift)
}

// bucketEnd returns the greatest number of units in a bucket.
func bucketEnd(i int) uint64 {
	if i < 2*histogramSub {
		return uint64(i)
	}
	shift := i/histogramSub - 1
	return uint64(i-shift*histogramSub+1)<<shift - 1
}

// quantiles returns the upper ends of the buckets of the quantiles.
func (h *histogram) quantiles() Quantiles {
	if h.n == 0 {
		return Quantiles{}
	}
	q := Quantiles{Mean: ms(h.sum / time.Duration(h.n)), Max: ms(h.max)}
	seen, i := 0, -1
	at := func(share float64) float64 {
		for rank := min(int(share*float64(h.n)), h.n-1); seen <= rank; {
			i++
			seen += int(h.counts[i])
		}
		return min(ms(time.Duration(bucketEnd(i))*histogramUnit), q.Max)
	}
	q.P50, q.P90, q.P99, q.P999 = at(0.50), at(0.90), at(0.99), at(0.999)
	return q
}
