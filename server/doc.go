// Package server runs the HTTP listeners of Rebound: bid, edge and admin.
//
// It guarantees limits on everything that a client sends (bytes of headers and body,
// requests in flight, idle time), that a panic in a handler ends only its own
// request, that malformed HTTP is answered with 400 or 413 and never with a 5xx, and
// that draining finishes the requests in flight. Routes are functions that the caller
// passes; the package knows nothing about bids or visitors. Sizes are in bytes.
// cmd/bidder calls it.
package server
