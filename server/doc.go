// Package server runs Rebound's HTTP listeners: bid, edge and admin.
//
// It guarantees limits on everything a peer sends (header and body bytes,
// requests in flight, idle time), that a panic in a handler ends its request
// only, that malformed HTTP gets 400 or 413 and never a 5xx, and that a drain
// finishes what is in flight. It knows routes as functions that it is handed
// and nothing of bids or visitors. Sizes are bytes. cmd/bidder is its caller.
package server
