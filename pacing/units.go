package pacing

import (
	"math"
	"sync/atomic"
	"time"

	"rebound/rtb"
)

// microsValue is an amount that the bid path and the fold share.
type microsValue struct{ n atomic.Int64 }

func (v *microsValue) Load() rtb.Micros             { return rtb.Micros(v.n.Load()) }
func (v *microsValue) Store(m rtb.Micros)           { v.n.Store(int64(m)) }
func (v *microsValue) Add(m rtb.Micros)             { v.n.Add(int64(m)) }
func (v *microsValue) Swap(m rtb.Micros) rtb.Micros { return rtb.Micros(v.n.Swap(int64(m))) }
func (v *microsValue) CompareAndSwap(old, m rtb.Micros) bool {
	return v.n.CompareAndSwap(int64(old), int64(m))
}

// secondValue is a time that the bid path and the fold share.
type secondValue struct{ n atomic.Uint32 }

func (v *secondValue) Load() rtb.Second   { return rtb.Second(v.n.Load()) }
func (v *secondValue) Store(s rtb.Second) { v.n.Store(uint32(s)) }

// durationValue is a duration that goroutines share.
type durationValue struct{ n atomic.Int64 }

func (v *durationValue) Load() time.Duration   { return time.Duration(v.n.Load()) }
func (v *durationValue) Store(d time.Duration) { v.n.Store(int64(d)) }
func (v *durationValue) CompareAndSwap(old, d time.Duration) bool {
	return v.n.CompareAndSwap(int64(old), int64(d))
}

// multiplier is the number by which a line's value is divided, at least 1, which the bid
// path and the rounds share.
type multiplier struct{ bits atomic.Uint64 }

func (m *multiplier) get() float64  { return math.Float64frombits(m.bits.Load()) }
func (m *multiplier) set(x float64) { m.bits.Store(math.Float64bits(x)) }

// terms is what a request reads of its candidate lines, and the rounds set.
type terms struct {
	multiplier multiplier
	every      atomic.Uint32 // see [Pacer.SampleEvery]
}

// termsBlock allocates the terms of lines next to each other, because a request reads
// those of many lines.
type termsBlock struct{ free []terms }

func (b *termsBlock) next() *terms {
	if len(b.free) == 0 {
		b.free = make([]terms, 1024)
	}
	x := &b.free[0]
	b.free = b.free[1:]
	return x
}

const maxSecond = ^rtb.Second(0)

// after returns the time d after t, at most the last one that a Second can hold.
func after(t rtb.Second, d time.Duration) rtb.Second {
	return rtb.Second(min(uint64(t)+uint64(max(d, 0)/time.Second), uint64(maxSecond)))
}

// before returns the time d before t, at least 1970.
func before(t rtb.Second, d time.Duration) rtb.Second {
	return t - rtb.Second(min(uint64(max(d, 0)/time.Second), uint64(t)))
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
