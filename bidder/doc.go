// Package bidder decides how to answer a bid request, and carries the request
// from the bytes received to the bytes sent back.
//
// A [Decision] passes through the stages in the order of their files: identify,
// match, filter, price, reserve, build, respond, record. It depends only on the
// request, the visitor, the catalog, the budgets, the time and the random draws,
// so the HTTP handler, explain, replay and the tests all get the same answer
// from the same code.
//
// The package guarantees that every line that does not bid has a named reason,
// and that the reason of a request is the furthest one that any of its lines
// reached; that no bid is sent without a reservation of its worst cost, and
// that the reservation of a bid that is not sent is released; and that a fault
// in one request, even a panic, costs only that request its bid.
//
// Prices are CPM micros: values and reservations in the advertiser's currency,
// offers in the currency of the response. A request starts no goroutine and no
// timer, waits for no lock that is held across I/O, and makes no network call.
// The bid listener calls [Bidder.Serve]; replay calls [Bidder.Answer] and explain
// calls [Bidder.DryRun].
package bidder
