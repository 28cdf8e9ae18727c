// Package replay runs recorded or generated traffic through the bidder's own
// decision, with a virtual clock and, where the records have one, a market.
//
// It guarantees that the same input and seed give the same report, except for the
// timings; that money passes through the same pacer as in a bidder, with grants,
// reservations and notices as facts; and that a replay has no effects: it uses no
// network, and no decision reads the wall clock. cmd/replay calls it. Amounts are
// micros, prices are CPM in major units, times are UTC.
package replay
