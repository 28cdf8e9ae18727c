package campaigns

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"rebound/audiences"
	"rebound/rtb"
)

// Terms are what bounds the price of an active line on any request. They are kept
// together, so that the lines that cannot win need not be read.
type Terms struct {
	CPM, MaxCPM rtb.CPM
	Currency    rtb.Currency // of both
	Factors     int32        // index of the line's [Factors]
	Priority    int32
	Deals       bool // the line may bid under a deal
}

// Terms returns the terms of the active line with an ordinal.
func (x *Index) Terms(ordinal int32) *Terms { return &x.terms[ordinal] }

// Factors are the factors of the price, which many lines have in common.
type Factors struct {
	bid Bid
	// request is set if the audience may count the request as an event.
	request bool
}

// Factors returns the different factors of the active lines. The caller must not
// modify them.
func (x *Index) Factors() []*Factors { return x.factors }

// Bound returns the highest product of recency, intensity and adjustment for a visitor
// whose latest event has an age and who has at most count events of one kind.
func (f *Factors) Bound(age time.Duration, count uint32, adjust float64) float64 {
	if f.request {
		age, count = 0, max(count, 1)
	}
	return f.recency(age) * f.intensity(count) * adjust
}

// Adjust returns the factor by which a request changes the price.
func (f *Factors) Adjust(facts *Facts, now time.Time) float64 {
	if f.bid.Adjust == nil {
		return 1
	}
	return f.bid.Adjust.Factor(facts, now)
}

// recency returns the highest recency factor from an age on.
func (f *Factors) recency(age time.Duration) float64 {
	if len(f.bid.Recency) == 0 {
		return 1
	}
	x := f.bid.Recency[len(f.bid.Recency)-1].X
	for _, step := range f.bid.Recency {
		if age <= step.Within {
			x = max(x, step.X)
		}
	}
	return x
}

// intensity returns the highest intensity factor up to a count.
func (f *Factors) intensity(count uint32) float64 {
	x := 1.0
	for _, step := range f.bid.Intensity {
		if int64(count) >= int64(step.MinCount) {
			x = max(x, step.X)
		}
	}
	return x
}

// terms fills in the terms of the active lines. Lines with equal factors share them.
func (c *compiler) terms() {
	x, index := c.x, map[string]int32{}
	x.terms = make([]Terms, len(x.live))
	for n, l := range x.live {
		reads := func(p *audiences.Program) bool { return p.ReadsRequest() }
		request := slices.ContainsFunc(l.Audience.Include, reads) || slices.ContainsFunc(l.Audience.AnyOf, reads)
		key := l.Bid.factorsKey() + strconv.FormatBool(request)
		i, ok := index[key]
		if !ok {
			i = int32(len(x.factors))
			index[key], x.factors = i, append(x.factors, &Factors{l.Bid, request})
		}
		l.Bid.Recency, l.Bid.Intensity, l.Bid.Adjust = x.factors[i].bid.Recency, x.factors[i].bid.Intensity, x.factors[i].bid.Adjust
		x.terms[n] = Terms{CPM: l.Bid.highest(), MaxCPM: l.Bid.MaxCPM, Currency: l.Advertiser.Currency, Factors: i, Priority: int32(l.Priority), Deals: l.Deals != nil}
		for _, cr := range l.Creatives {
			if x.formats |= cr.Format; cr.Fallback != nil {
				x.formats |= cr.Fallback.Format
			}
		}
	}
}

// factorsKey returns a text that is equal for equal factors.
func (b *Bid) factorsKey() string {
	key := fmt.Sprint(b.Recency, b.Intensity)
	if a := b.Adjust; a != nil {
		key += fmt.Sprint(a.class, a.classes, a.domains)
		if a.hour != nil {
			key += fmt.Sprint(*a.hour, a.zone)
		}
	}
	return key
}
