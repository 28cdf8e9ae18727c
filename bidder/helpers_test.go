package bidder

import "rebound/events"

// noRecords drops every record.
type noRecords struct{}

func (noRecords) Write(*events.BidRecord, events.Redacted) {}
