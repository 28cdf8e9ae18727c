package bidder

import "rebound/events"

// noRecords says that records are wanted, and drops them.
type noRecords struct{}

func (noRecords) Borrow() *events.BidRecord { return nil }
func (noRecords) Offer(*events.BidRecord)   {}
