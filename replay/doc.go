// Package replay runs recorded or generated traffic through the bidder's own
// decision, with a virtual clock and, where the records carry one, a market.
//
// It guarantees that the same input and the same seed give the same report, but
// for the timings; that money goes through the same pacer as in a bidder, with
// grants, reservations and notices as facts; and that nothing of the real world
// is touched: no network, no wall clock in a decision. cmd/replay calls it.
// Amounts are micros, prices CPM in major units, times UTC.
package replay
