package bidder

import (
	"cmp"
	"math"
	"slices"
	"time"

	"rebound/campaigns"
	"rebound/rtb"
)

// Keys order the options of a request and the lines that were not evaluated: the
// highest comes first. From the top, a key holds whether the bid is guaranteed, the
// line's priority, whether there is a deal, whether it can reach a floor, and the
// price. Of equal keys the lower ordinal of the line comes first.
const (
	keyGuaranteed = 1 << 63
	keyPriority   = 56 // the shift; seven bits
	keyDeal       = 1 << 55
	keyReaches    = 1 << 54

	// Keys of lines that cannot reach the floor of any impression: because of the
	// multiplier, or with their full value.
	keyPaced = 1
	keyFloor = 0
)

// ranked is a candidate line that was not evaluated. Its key is at least that of each
// of its options.
type ranked struct {
	key     uint64
	ordinal int32
	weight  uint16 // of what is observed of it
	full    bool   // the key is that of the full price, which the multiplier may lower
}

func (a ranked) before(b ranked) bool {
	return a.key > b.key || a.key == b.key && a.ordinal < b.ordinal
}

// ranking holds the candidate lines of a request, of which the best is evaluated
// first. Most requests evaluate a few, so the list is sorted only when they do not, and
// multipliers, each of which is somewhere else in memory, are read for the lines that
// come first.
type ranking struct {
	list    []ranked
	next    int // index of the next line
	placed  int // list[:placed] is in order
	lowered int // lines of which the multiplier was read
}

// selectFirst is how many lines are selected one by one before the rest is sorted, and how
// many multipliers are read one by one.
const selectFirst = 8

// peekLine returns the best line that was not evaluated; ok is false when there is none.
func (d *Decision) peekLine() (_ ranked, ok bool) {
	r := &d.ranking
	if r.next >= len(r.list) {
		return ranked{}, false
	}
	if r.next >= r.placed {
		d.placeLine()
	}
	return r.list[r.next], true
}

// placeLine puts the best line first. A key that may have to be lowered is the best only
// if it is the best once it was lowered.
func (d *Decision) placeLine() {
	r := &d.ranking
	rest := r.list[r.next:]
	for {
		if r.next >= selectFirst || r.lowered >= selectFirst {
			for i := range rest {
				d.lower(&rest[i])
			}
		}
		if r.next >= selectFirst {
			break
		}
		best, first := 0, rest[0]
		for i := range rest {
			if rest[i].before(first) {
				best, first = i, rest[i]
			}
		}
		if d.lower(&rest[best]); rest[best].key == first.key {
			rest[0], rest[best] = rest[best], rest[0]
			r.placed++
			return
		}
	}
	slices.SortFunc(rest, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(a.ordinal, b.ordinal))
	})
	r.placed = len(r.list)
}

// skip leaves out the rest of the lines and returns their number.
func (r *ranking) skip() int {
	n := len(r.list) - r.next
	r.list = r.list[:r.next]
	return n
}

// keep leaves out the lines of the rest for which keep returns false, and returns
// their number.
func (r *ranking) keep(keep func(*ranked) bool) int {
	rest, kept := r.list[r.next:], r.list[:r.next]
	for i := range rest {
		if keep(&rest[i]) {
			kept = append(kept, rest[i])
		}
	}
	if r.placed < len(r.list) { // the rest is not in order
		r.placed = r.next
	} else {
		r.placed = len(kept)
	}
	n := len(r.list) - len(kept)
	r.list = kept
	return n
}

// rank ranks the candidate lines by the highest price that each can bid on the
// request. It looks at what the index keeps about lines, but not at the lines; lower looks
// at their multipliers as well.
func (d *Decision) rank(lines []int32) {
	r := &d.ranking
	*r = ranking{list: r.list[:0]}
	x := d.catalog.Index
	b, ok := d.readBounds(lines)
	d.bounds = b
	for _, n := range lines {
		t := x.Terms(n)
		next := ranked{key: classOf(t) | uint64(rtb.MaxCPM), ordinal: n, weight: 1}
		switch {
		case !ok:
		case t.Deals && b.deals:
			next.key = classOf(t) | keyGuaranteed
		default:
			next.key, next.full = d.bounds.fullKey(d, t)
		}
		r.list = append(r.list, next)
	}
}

// bounds is what bounds the prices of all lines on a request.
type bounds struct {
	inverse rtb.Rate // from the lines' currency to the response's
	floor   rtb.CPM  // the lowest of all impressions, in the response's currency
	age     time.Duration
	count   uint32
	deals   bool // an impression has deals
}

// readBounds reads what bounds the prices of the lines; ok is false when their prices
// cannot be compared, because they are in different currencies or cannot be converted.
func (d *Decision) readBounds(lines []int32) (b bounds, ok bool) {
	x := d.catalog.Index
	currency := x.Terms(lines[0]).Currency
	for _, n := range lines {
		if x.Terms(n).Currency != currency {
			return b, false
		}
	}
	d.currency = d.responseCurrency(currency)
	rate, r := d.catalog.Rates.Rate(d.currency, currency, d.now)
	if r != rtb.NoBidNone {
		return b, false
	}
	b.inverse, b.floor = rate.Inverse(), d.lowestFloor()
	var newest rtb.Second
	for i := range d.visitor.Segments {
		s := &d.visitor.Segments[i]
		newest, b.count = max(newest, s.Last), max(b.count, s.Count)
	}
	b.age = max(d.now.Sub(newest.Time()), 0)
	for i := range d.opportunity.Imps {
		b.deals = b.deals || len(d.opportunity.Imps[i].Deals) > 0
	}
	if n := len(x.Factors()); cap(d.factors) < n {
		d.factors = make([]factorBound, n)
	}
	d.factors = d.factors[:len(x.Factors())]
	return b, true
}

// lowestFloor returns the lowest floor of an open bid on any impression, in the
// response's currency: no price below it is a bid.
func (d *Decision) lowestFloor() rtb.CPM {
	lowest := rtb.CPM(math.MaxInt64)
	for i := range d.opportunity.Imps {
		imp := &d.opportunity.Imps[i]
		if floorVaries(imp) {
			return 0
		}
		if imp.FloorBad || imp.Floor < 0 {
			continue // no open bid
		}
		currency := imp.FloorCur
		if currency.IsZero() {
			currency = rtb.USD
		}
		rate, r := d.catalog.Rates.Rate(currency, d.currency, d.now)
		if r != rtb.NoBidNone && imp.Floor > 0 {
			continue
		}
		lowest = min(lowest, imp.Floor.Convert(rate, rtb.RoundUp))
	}
	return lowest
}

// factorBound is the bound of one set of factors on the request of a round.
type factorBound struct {
	round         uint64
	bound, adjust float64
}

// factor returns the bound of the factors with an index, and the adjustment.
func (b *bounds) factor(d *Decision, i int32) *factorBound {
	f := &d.factors[i]
	if f.round != d.round {
		b.setFactor(d, f, i)
	}
	return f
}

// setFactor computes the bound of the factors with an index for a round.
func (b *bounds) setFactor(d *Decision, f *factorBound, i int32) {
	set := d.catalog.Index.Factors()[i]
	f.round, f.adjust = d.round, set.Adjust(&d.facts, d.now)
	f.bound = set.Bound(b.age, b.count, f.adjust)
}

// classOf returns how the keys of a line begin that can reach a floor.
func classOf(t *campaigns.Terms) uint64 { return uint64(t.Priority)<<keyPriority | keyReaches }

// fullKey returns the key of a line's full price, and whether its multiplier may lower it.
func (b *bounds) fullKey(d *Decision, t *campaigns.Terms) (key uint64, lowerable bool) {
	full := b.priceOf(d, t, 1)
	if full <= 0 || full < b.floor {
		return keyFloor, false
	}
	return b.priceKey(d, t, full), true
}

// lower lowers the key of a line by its multiplier.
func (d *Decision) lower(x *ranked) {
	if !x.full {
		return
	}
	x.full = false
	d.ranking.lowered++
	b, m := &d.bounds, d.budgets.Multiplier(d.handles[x.ordinal])
	if m <= 1 {
		return
	}
	t := d.catalog.Index.Terms(x.ordinal)
	x.key = b.priceKey(d, t, b.priceOf(d, t, m))
}

// priceOf returns the highest price of a line with a multiplier of at least 1, in the
// response's currency. It is computed as [Decision.price] does it.
func (b *bounds) priceOf(d *Decision, t *campaigns.Terms, multiplier float64) rtb.CPM {
	value := t.CPM.Scale(b.factor(d, t.Factors).bound)
	if multiplier > 1 {
		value = value.Scale(1 / multiplier)
	}
	return min(value, t.MaxCPM).Convert(b.inverse, rtb.RoundDown)
}

// priceKey returns the key of a price.
func (b *bounds) priceKey(d *Decision, t *campaigns.Terms, price rtb.CPM) uint64 {
	if price = d.profile.OnTick(price); price <= 0 || price < b.floor {
		return keyPaced
	}
	return classOf(t) | uint64(price)
}
