package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"time"

	"rebound/campaigns"
	"rebound/events"
	"rebound/rtb"
)

// Day generates one day of bid records: visitors of the index's lines on pages with
// banners, and a market that competes for each impression. The market is modelled
// on the iPinYou sample of campaign 1458: log-normal prices, a third of them at a
// few round numbers, that rise slightly with the visitor's value. Traffic follows
// two daily harmonics with noise from minute to minute.
type Day struct {
	Index    *campaigns.Index
	Exchange string
	// Start is the day's first instant; the day is the civil day of its time zone,
	// of 23 or 25 hours where the clocks change.
	Start time.Time
	// Requests is the expected number of requests; the noise changes it slightly.
	Requests int
	// Price is the median of the highest competing bid, as CPM.
	Price rtb.CPM
	Seed  uint64
	// Progress is called after every minute of the day with the number of requests and
	// the share of the day that is done; an error ends the generation. nil: not called.
	Progress func(done int, share float64) error
}

// atoms are the round numbers of a third of the prices, relative to a median of 47,
// with their weights.
var atoms = []struct{ price, weight float64 }{{20, .26}, {40, .12}, {50, .20}, {70, .28}, {80, .14}}

const (
	logMedian  = 3.85 // ln of the sample's median price
	logSpread  = 0.80
	atomShare  = 0.33
	valueSlope = 0.10 // how much the market's price follows the visitor's value
)

// diurnal returns the relative traffic at an hour: lowest at four in the morning,
// highest at nine in the evening.
func diurnal(h float64) float64 {
	return max(0.08, 1+0.55*math.Cos(2*math.Pi*(h-19.5)/24)+0.22*math.Cos(4*math.Pi*(h-11)/24))
}

// Write writes the records as NDJSON in order of time.
func (d *Day) Write(w io.Writer) error {
	lines := d.reachable()
	if len(lines) == 0 {
		return fmt.Errorf("cannot generate a day: got no active line that a visitor with one event can match; want at least one")
	}
	r := rand.New(rand.NewPCG(d.Seed, 77))
	norm := 0.0
	minutes := d.minutes()
	for m := range minutes {
		norm += diurnal(float64(m) / 60)
	}
	noise, drift := 0.0, 0.0
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	n := 0
	for m := range minutes {
		h := float64(m) / 60
		noise = 0.97*noise + 0.03*r.NormFloat64()
		drift = 0.995*drift + 0.012*r.NormFloat64()
		want := float64(d.Requests) * diurnal(h) / norm * math.Exp(noise)
		for _, at := range moments(r, want) {
			n++
			rec := d.record(r, n, d.Start.Add(time.Duration(m)*time.Minute+at), lines, drift)
			if err := enc.Encode(rec); err != nil {
				return fmt.Errorf("cannot write day: %w", err)
			}
		}
		if d.Progress != nil {
			if err := d.Progress(n, float64(m+1)/float64(minutes)); err != nil {
				return err
			}
		}
	}
	return nil
}

// minutes returns the length of the day.
func (d *Day) minutes() int {
	zone := d.Start.Location()
	return int((rtb.DayOf(d.Start, zone) + 1).Start(zone).Sub(d.Start) / time.Minute)
}

// moments returns the arrivals within one minute, in order.
func moments(r *rand.Rand, want float64) []time.Duration {
	out := make([]time.Duration, poisson(r, want))
	for i := range out {
		out[i] = time.Duration(r.Int64N(int64(time.Minute))).Truncate(time.Microsecond)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

func poisson(r *rand.Rand, mean float64) int {
	if mean > 30 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	limit, k, p := math.Exp(-mean), 0, r.Float64()
	for p > limit {
		k++
		p *= r.Float64()
	}
	return k
}

// reachable returns the active lines that a visitor with one event can match.
func (d *Day) reachable() []*campaigns.Line {
	var out []*campaigns.Line
	for _, l := range d.Index.Lines() {
		if !l.Live(d.Start.Add(12*time.Hour)) || !l.On(d.Exchange) || l.Status != campaigns.StatusActive || len(l.Audience.Include) == 0 {
			continue
		}
		v := d.visitor(l, d.Start.Add(12*time.Hour), 2*time.Hour+l.Audience.Window.NotWithin, 1)
		if l.Audience.Match(v, nil, d.Start.Add(12*time.Hour)).Reason == rtb.NoBidNone {
			out = append(out, l)
		}
	}
	return out
}

// visitor returns a visitor with count events of those that the line's audience
// includes, the latest of them age ago.
func (d *Day) visitor(l *campaigns.Line, now time.Time, age time.Duration, count int) *rtb.Visitor {
	v := &rtb.Visitor{}
	last := rtb.SecondOf(now.Add(-age))
	for _, p := range l.Audience.Include {
		for _, id := range p.Triggers() {
			s := rtb.SegmentState{ID: id, First: last, Last: last, Count: uint32(count)}
			for k := range min(count, rtb.MaxRecent) {
				s.Recent = append(s.Recent, last-rtb.Second(60*k))
			}
			s.First = s.Recent[len(s.Recent)-1]
			v.Segments = append(v.Segments, s)
		}
	}
	sort.Slice(v.Segments, func(i, j int) bool { return v.Segments[i].ID < v.Segments[j].ID })
	return v
}

var daySizes = []rtb.Size{{W: 300, H: 250}, {W: 728, H: 90}, {W: 320, H: 50}}

// record returns one request with its visitor and its market.
func (d *Day) record(r *rand.Rand, n int, at time.Time, lines []*campaigns.Line, drift float64) *events.BidRecord {
	l := lines[0]
	if len(lines) > 1 && r.Float64() > 0.7 {
		l = lines[1+r.IntN(len(lines)-1)]
	}
	// Ages spread from minutes to weeks, so that recency makes values differ.
	age := time.Duration(math.Exp(math.Log(float64(6*time.Hour))+1.6*r.NormFloat64())) + l.Audience.Window.NotWithin
	v := d.visitor(l, at, min(age, 28*24*time.Hour), 1+r.IntN(6)/5*r.IntN(5))
	v.Key = rtb.NewKeyring([32]byte{}).Key(rtb.IDVisitor, "", strconv.AppendInt(nil, int64(n), 10))
	slot := r.IntN(len(daySizes))
	worth := math.Log(max(l.Bid.RecencyFactor(age)*l.Bid.CPM.Units(), 0.01)) - math.Log(max(lines[0].Bid.CPM.Units(), 0.01))
	price := d.price(r, float64(at.Sub(d.Start))/float64(time.Hour), slot, worth, drift)
	floor := rtb.CPM(0)
	size := daySizes[slot]
	request := fmt.Appendf(nil, `{"id":"day-%d","tmax":120,"cur":["USD"],"imp":[{"id":"1","banner":{"format":[{"w":%d,"h":%d}]},"bidfloor":%s,"secure":1}],"site":{"id":"s%d","domain":"site%d.example","page":"https://site%d.example/"},"device":{"ua":"Mozilla/5.0 (X11; Linux x86_64) Chrome/130","geo":{"country":"CAN"}},"user":{"buyeruid":%q},"regs":{"gdpr":0}}`,
		n, size.W, size.H, floor, n%300, n%300, n%300, rtb.AppendPseudonym(nil, v.Key))
	return &events.BidRecord{V: 1, TS: at.UTC(), Exchange: d.Exchange, SampleWeight: 1, Request: request, Visitor: v,
		Market: map[string]events.Market{"1": {MinToWin: price, Clicked: r.Float64() < 0.004}}}
}

// price returns a random highest competing bid.
func (d *Day) price(r *rand.Rand, hour float64, slot int, worth, drift float64) rtb.CPM {
	x := math.Exp(logMedian + []float64{0, 0.30, -0.35}[slot] + 0.10*math.Cos(2*math.Pi*(hour-20)/24) + valueSlope*worth + drift + logSpread*r.NormFloat64())
	if r.Float64() < atomShare {
		u := r.Float64()
		for _, a := range atoms {
			x = a.price
			if u -= a.weight; u < 0 {
				break
			}
		}
	}
	x = min(300, max(1, x))
	return max(1, d.Price.Scale(x/math.Exp(logMedian)))
}
