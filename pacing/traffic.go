package pacing

import (
	"encoding/binary"
	"math"
	"time"

	"rebound/rtb"
)

// traffic estimates the rate of matched requests without a forecast: the
// highest slow average of the last hours, and never below the mean so far. A
// day that grows towards the evening is then not spent in its first half; the
// hold spans the night, and after it the estimate follows traffic down. It is
// never far above the current rate, so that a burst is not mistaken for the
// day's level.
type traffic struct {
	Count   float64 `json:"count"`
	Elapsed float64 `json:"elapsed"`
	Slow    float64 `json:"slow"`
	Weight  float64 `json:"weight"`
	Now     float64 `json:"now"`
	NowSpan float64 `json:"now_span"`
	Peak    float64 `json:"peak"`
	PeakAge float64 `json:"peak_age"` // seconds
}

const (
	trafficPrior  = 120.0     // seconds without requests before the first one
	priorShare    = 1.0 / 720 // share of a window that they are at most: that of a day, for flights of minutes too
	trafficMemory = 7200.0    // seconds of the slow average
	presentMemory = 600.0     // seconds of the current rate
	meanMemory    = 86400.0   // seconds of the mean
	peakHold      = 36000.0
	peakFall      = 21600.0
	aboveNow      = 6.0 // how far the estimate may exceed the current rate
)

func (t *traffic) add(n, dt float64) {
	fade := math.Exp(-dt / trafficMemory)
	t.Slow, t.Weight = t.Slow*fade+n, t.Weight*fade+dt
	fade = math.Exp(-dt / presentMemory)
	t.Now, t.NowSpan = t.Now*fade+n, t.NowSpan*fade+dt
	if t.Elapsed > meanMemory {
		fade = math.Exp(-dt / meanMemory)
		t.Count, t.Elapsed = t.Count*fade, t.Elapsed*fade
	}
	t.Count, t.Elapsed = t.Count+n, t.Elapsed+dt
	t.PeakAge += dt
	if t.PeakAge > peakHold {
		t.Peak *= math.Exp(-dt / peakFall)
	}
	if r := t.Slow / (t.Weight + trafficPrior); r > t.Peak {
		t.Peak, t.PeakAge = r, 0
	}
}

// rate returns the estimate for a window, of a length in seconds, in matched requests per
// second.
func (t *traffic) rate(window float64) float64 {
	prior := min(trafficPrior, priorShare*window)
	usual := max(t.Peak, t.Count/(t.Elapsed+prior))
	return min(usual, aboveNow*t.Now/(t.NowSpan+prior))
}

// level compares the day's traffic with its forecast, minute by minute. A minute counts
// at most three times its forecast, so that a burst is not mistaken for a trend.
type level struct {
	Error  float64 `json:"error"` // of the ratio, from 1
	Weight float64 `json:"weight"`

	started      time.Time
	seen, expect float64 // in the present minute
}

const (
	levelPrior  = 30.0   // minutes of traffic as forecast, before the first one
	levelMemory = 5400.0 // seconds
	levelRange  = 3.0    // a minute's ratio is between a third and this
)

func (l *level) add(n, expected float64, now time.Time) {
	l.seen, l.expect = l.seen+n, l.expect+expected
	if l.started.IsZero() {
		l.started = now
	}
	dt := now.Sub(l.started).Seconds()
	if dt < 60 {
		return
	}
	if l.expect > 0 {
		r := min(max(l.seen/l.expect, 1/levelRange), levelRange)
		l.Weight = l.Weight*math.Exp(-dt/levelMemory) + 1
		l.Error += (r - 1 - l.Error) / (l.Weight + levelPrior)
	}
	l.started, l.seen, l.expect = now, 0, 0
}

// ratio returns the day's traffic as a multiple of its forecast.
func (l *level) ratio() float64 { return 1 + l.Error }

// bins is the number of parts of a day in a history.
const bins = 96

// dayTraffic is the traffic of one day. A negative number is a part in which nothing
// was observed, because the bidder was not running.
type dayTraffic [bins]float32

// history is the traffic of a cap's lines on the last seven days, by weekday, and of
// today. Parts of the day are shares of its length, so that days of 23 and 25 hours
// fit.
type history struct {
	days     [7]dayTraffic
	dates    [7]rtb.Day // of days; 0: none
	today    dayTraffic
	date     rtb.Day
	started  bool // something was observed today
	forecast forecast
	dirty    bool
	closed   int // the last part of today that has been stored
}

// add counts requests at a part of the day.
func (h *history) add(at, n float64) {
	i := min(max(int(at*bins), 0), bins-1)
	if !h.started {
		h.started = true
		for k := range h.today {
			h.today[k] = -1
		}
	}
	h.today[i] = max(h.today[i], 0) + float32(n)
	if i != h.closed {
		h.closed, h.dirty = i, true
	}
}

// turn begins a day and makes its forecast.
func (h *history) turn(day rtb.Day) {
	if h.started && h.date != 0 && h.date < day {
		h.days[weekday(h.date)], h.dates[weekday(h.date)] = h.today, h.date
		h.dirty = true
	}
	if h.date != day {
		h.date, h.started, h.today, h.closed = day, false, dayTraffic{}, 0
	}
	h.forecast = forecast{}
	if d := h.like(day); d != nil {
		h.forecast.make(d)
	}
}

// weekday returns the day of the week, in an arbitrary but fixed numbering.
func weekday(d rtb.Day) int { return int(((d % 7) + 7) % 7) }

// like returns the day that a forecast is made from: the same weekday of last week, else
// the latest day of the last week; nil if there is none.
func (h *history) like(day rtb.Day) *dayTraffic {
	if i := weekday(day); h.dates[i] == day-7 && h.days[i].usable() {
		return &h.days[i]
	}
	best := -1
	for i, date := range h.dates {
		if date != 0 && date >= day-7 && date < day && h.days[i].usable() && (best < 0 || date > h.dates[best]) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return &h.days[best]
}

// leastParts is the number of observed parts that make a day a forecast.
const leastParts = bins / 4

func (d *dayTraffic) usable() bool {
	n, sum := 0, float32(0)
	for _, x := range d {
		if x >= 0 {
			n++
			sum += x
		}
	}
	return n >= leastParts && sum > 0
}

// historySize is the size of an encoded history, in bytes.
const historySize = 8 * (4 + 4*bins)

// encode returns the history as bytes: the dates and parts of each day, today's last.
func (h *history) encode() []byte {
	b := make([]byte, 0, historySize)
	add := func(date rtb.Day, d *dayTraffic) {
		b = binary.LittleEndian.AppendUint32(b, uint32(date))
		for _, x := range d {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	for i := range h.days {
		add(h.dates[i], &h.days[i])
	}
	date := h.date
	if !h.started {
		date = 0
	}
	add(date, &h.today)
	return b
}

// decode reads a history and reports whether it can be used.
func (h *history) decode(b []byte) bool {
	if len(b) != historySize {
		return false
	}
	read := func() (date rtb.Day, d dayTraffic) {
		date, b = rtb.Day(int32(binary.LittleEndian.Uint32(b))), b[4:]
		for i := range d {
			d[i], b = math.Float32frombits(binary.LittleEndian.Uint32(b)), b[4:]
			if !(d[i] >= -1 && d[i] < 1e12) {
				d[i] = -1
			}
		}
		return date, d
	}
	var x history
	for range x.days {
		if date, d := read(); date != 0 {
			x.dates[weekday(date)], x.days[weekday(date)] = date, d
		}
	}
	x.date, x.today = read()
	x.started = x.date != 0
	*h = x
	return true
}

// forecast is the expected traffic of a day: sums from its beginning to each part's end.
type forecast struct {
	sums [bins + 1]float64
}

func (f *forecast) known() bool { return f.sums[bins] > 0 }

// make smooths a day: each part is averaged with its neighbours, except across the edge
// of a daypart. Parts that were not observed count as the others' mean.
func (f *forecast) make(d *dayTraffic) {
	mean, n := 0.0, 0.0
	for _, x := range d {
		if x >= 0 {
			mean, n = mean+float64(x), n+1
		}
	}
	value := func(i int) float64 {
		if d[i] < 0 {
			return mean / n
		}
		return float64(d[i])
	}
	for i := range d {
		sum, k := value(i)*2, 2.0
		for _, j := range []int{i - 1, i + 1} {
			if j >= 0 && j < bins && (value(j) == 0) == (value(i) == 0) {
				sum, k = sum+value(j), k+1
			}
		}
		f.sums[i+1] = f.sums[i] + sum/k
	}
}

// between returns the requests expected between two parts of the day.
func (f *forecast) between(from, to float64) float64 { return max(f.until(to)-f.until(from), 0) }

func (f *forecast) until(at float64) float64 {
	x := min(max(at, 0), 1) * bins
	i := min(int(x), bins-1)
	return f.sums[i] + (x-float64(i))*(f.sums[i+1]-f.sums[i])
}
