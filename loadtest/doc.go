// Package loadtest is an exchange under our control: it generates bid requests, sends
// them on an open schedule with vegeta, and reports on the responses.
//
// It guarantees that the latency of a request counts from the moment at which the
// schedule required it, so that neither a stalled bidder nor a stalled load generator
// can hide; the report also shows how late the requests were sent. It never imports
// the bidder. Rates are requests per second. cmd/loadtest calls it.
package loadtest
