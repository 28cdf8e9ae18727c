package replay

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
