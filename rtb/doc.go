// Package rtb defines the types that Rebound's packages share: money,
// identifiers, the bid opportunity, privacy signals and permissions, the visitor
// as the decision sees it, the offer, the claims of a signed notice, and the
// no-bid reasons.
//
// It holds plain values: no I/O, no clock, no behavior beyond parsing,
// formatting and arithmetic, and no import outside the standard library. Money
// is int64 micros of the major currency unit ([Micros]); prices are CPM in
// micros ([CPM]); exchange rates are [Rate]; times are UTC. Every other package
// may import it.
package rtb
