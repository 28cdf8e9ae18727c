// Package bidder decides which offer, if any, answers a bid request, and carries
// a request from the bytes that came to the bytes that go.
//
// It guarantees one decision: [Decide] works from the opportunity, the visitor, the
// catalog, the budgets, the time and the random draws that it is handed, and
// from nothing else; the HTTP handler, explain, replay and the tests all call it.
// Every line that is not bid on has a named reason, and the reason of a request
// is the furthest that any of its lines came. No offer leaves without a
// reservation of its worst cost, and what is reserved for an offer that does not
// leave is released. A request fails alone: what goes wrong in one is a no-bid.
//
// Prices are CPM micros: values and reservations in the advertiser's currency,
// offers in the currency of the answer. Per request there is no goroutine, no
// timer, no lock and no network call. [Bidder.Serve] is called by the bid
// listener, [Bidder.Answer] by explain and replay.
package bidder
