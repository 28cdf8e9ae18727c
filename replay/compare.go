package replay

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"rebound/rtb"
)

// compare counts the difference between the old and the new decision on one request
// and returns its kind; empty when there is none.
func (d *Differences) compare(old, now *outcome) string {
	d.Compared++
	switch {
	case len(old.bids) == 0 && len(now.bids) == 0:
		if old.reason == now.reason {
			d.Same++
			return ""
		}
		if d.ReasonMove == nil {
			d.ReasonMove = map[string]int{}
		}
		d.ReasonMove[old.reason.String()+" -> "+now.reason.String()]++
		return "reason"
	case len(old.bids) == 0:
		d.BidGained++
		return "bid_gained"
	case len(now.bids) == 0:
		d.BidLost++
		return "bid_lost"
	}
	x, y := &old.bids[0], &now.bids[0]
	switch {
	case len(old.bids) != len(now.bids) || x.Line != y.Line || x.Campaign != y.Campaign || x.Creative != y.Creative:
		d.OtherLine++
		return "other_line"
	case y.Price > x.Price:
		d.PriceUp++
		return "price_up"
	case y.Price < x.Price:
		d.PriceDown++
		return "price_down"
	}
	d.Same++
	return ""
}

func (o *outcome) decided() Decided {
	if len(o.bids) == 0 {
		return Decided{NoBid: o.reason.String()}
	}
	return Decided{Bids: o.bids}
}

// LineDifference is the difference of a line's figures, new less old. Amounts are micros
// of Currency.
type LineDifference struct {
	Line        string     `json:"line,omitempty"`
	Campaign    string     `json:"campaign,omitempty"`
	Advertiser  string     `json:"advertiser,omitempty"`
	Currency    string     `json:"currency"`
	Wins        int        `json:"wins"`
	Spend       rtb.Micros `json:"spend_micros"`
	Value       rtb.Micros `json:"value_micros"`
	Clicks      int        `json:"clicks"`
	Conversions int        `json:"conversions"`
	Interval    Intervals  `json:"interval"` // 95 %, of the differences
	// Better names the configuration with the higher value, "new" or "old", where the
	// interval leaves no doubt.
	Better string `json:"better,omitempty"`
}

// comparison sums up the differences of the auctions, record by record. Both
// configurations meet the same competition, so that what they have in common cancels.
type comparison struct {
	lines map[rtb.LineID]*estimates
}

// add adds the auctions of one record.
func (c *comparison) add(old, now []sale) {
	if len(old) == 0 && len(now) == 0 {
		return
	}
	if c.lines == nil {
		c.lines = map[rtb.LineID]*estimates{}
	}
	sums := map[rtb.LineID]*amounts{}
	side := func(sales []sale, sign float64) {
		for i := range sales {
			x := &sales[i]
			if c.lines[x.line] == nil {
				c.lines[x.line] = &estimates{}
			}
			if sums[x.line] == nil {
				sums[x.line] = &amounts{}
			}
			for f, v := range x.amounts {
				sums[x.line][f] += sign * v
			}
			c.lines[x.line].shift(&x.auction, x.perCPM, x.value, sign)
		}
	}
	side(old, -1)
	side(now, 1)
	for id, sum := range sums {
		c.lines[id].add(sum)
	}
}

// report returns the differences of two reports.
func (c *comparison) report(now, old *Report) (lines, total []LineDifference) {
	byLine := map[rtb.LineID]*LineDifference{}
	add := func(r *Report, sign int) {
		for i := range r.Lines {
			l := &r.Lines[i]
			id := rtb.LineID{Advertiser: l.Advertiser, Campaign: l.Campaign, Line: l.Line}
			d := byLine[id]
			if d == nil {
				d = &LineDifference{Line: l.Line, Campaign: l.Campaign, Advertiser: l.Advertiser, Currency: l.Currency}
				byLine[id] = d
			}
			d.sum(&LineDifference{Wins: l.Wins, Spend: l.Spend, Value: l.Value, Clicks: l.Clicks, Conversions: l.Conversions}, sign)
		}
	}
	add(now, 1)
	add(old, -1)
	sums, doubts := map[string]*LineDifference{}, map[string]*estimates{}
	ids := slices.Collect(maps.Keys(byLine))
	slices.SortFunc(ids, func(a, b rtb.LineID) int { return cmp.Compare(a.String(), b.String()) })
	for _, id := range ids {
		d := byLine[id]
		if sums[d.Currency] == nil {
			sums[d.Currency], doubts[d.Currency] = &LineDifference{Currency: d.Currency}, &estimates{}
		}
		sums[d.Currency].sum(d, 1)
		e := c.lines[id]
		if e == nil {
			e = &estimates{}
		}
		d.judge(e)
		doubts[d.Currency].merge(e)
		lines = append(lines, *d)
	}
	for currency, d := range sums {
		d.judge(doubts[currency])
		total = append(total, *d)
	}
	order := func(a, b LineDifference) int {
		return cmp.Or(cmp.Compare(a.Currency, b.Currency), cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.Line, b.Line))
	}
	slices.SortFunc(lines, order)
	slices.SortFunc(total, order)
	return lines, total
}

func (d *LineDifference) sum(o *LineDifference, sign int) {
	d.Wins += sign * o.Wins
	d.Spend += rtb.Micros(sign) * o.Spend
	d.Value += rtb.Micros(sign) * o.Value
	d.Clicks += sign * o.Clicks
	d.Conversions += sign * o.Conversions
}

// judge sets the intervals and names the better configuration.
func (d *LineDifference) judge(e *estimates) {
	at := [figures]int64{int64(d.Wins), int64(d.Spend), int64(d.Value), int64(d.Clicks), int64(d.Conversions)}
	d.Interval = e.intervals(&at, math.MinInt64)
	switch v := d.Interval.Value; {
	case v[0] > 0:
		d.Better = "new"
	case v[1] < 0:
		d.Better = "old"
	}
}

// merge adds independent differences.
func (e *estimates) merge(o *estimates) {
	for i := range figures {
		e.squares[i] += o.squares[i]
		for k := range replicas {
			e.shifts[k][i] += o.shifts[k][i]
		}
	}
}
