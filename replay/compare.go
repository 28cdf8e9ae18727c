package replay

// compare counts the difference between two decisions on one request and returns
// its kind; empty when there is none.
func (d *Differences) compare(a, b *outcome) string {
	d.Compared++
	switch {
	case len(a.bids) == 0 && len(b.bids) == 0:
		if a.reason == b.reason {
			d.Same++
			return ""
		}
		if d.ReasonMove == nil {
			d.ReasonMove = map[string]int{}
		}
		d.ReasonMove[a.reason.String()+" -> "+b.reason.String()]++
		return "reason"
	case len(a.bids) == 0:
		d.BidGained++
		return "bid_gained"
	case len(b.bids) == 0:
		d.BidLost++
		return "bid_lost"
	}
	x, y := &a.bids[0], &b.bids[0]
	switch {
	case len(a.bids) != len(b.bids) || x.Line != y.Line || x.Campaign != y.Campaign || x.Creative != y.Creative:
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
