package bidder

import "rebound/events"

// noRecords drops every record.
type noRecords struct{}

func (noRecords) Borrow() *events.BidRecord { return nil }
func (noRecords) Offer(*events.BidRecord)   {}
