// Package rtb holds the words that Rebound's rooms share: money, identifiers,
// the bid opportunity, privacy signals and permissions, the visitor as the
// decision sees it, the offer, the claims of a signed notice and the no-bid
// reasons.
//
// It guarantees values only: no I/O, no clocks, no behaviour beyond parsing,
// formatting and arithmetic, and no import outside the standard library. Money
// is int64 micros of the major currency unit ([Micros]); prices are CPM in
// micros ([CPM]); times are UTC. Every other package may import it.
package rtb
