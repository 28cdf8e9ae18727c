// Package loadtest is an exchange under our control: it makes bid requests,
// sends them on an open schedule with vegeta, and says honestly what came back.
//
// It guarantees that a request's latency counts from the moment the schedule
// asked for it, so that a stalled bidder or a stalled load generator cannot
// hide; how late the sends themselves were is reported beside it. It never
// imports the bidder. cmd/loadtest calls it. Rates are requests a second.
package loadtest
