// Package pacing controls how much is bid and how often: the price multiplier,
// grants and reservations, the ledger, and the arithmetic of frequency caps.
//
// # Guarantees
//
// No bid is sent unless its worst cost fits under every cap that applies to it, and
// settled - late_spend + held <= cap whenever a grant is cut, whatever the order,
// repetition or loss of notices, and after kill -9. Spend is a fold of the log: it
// reads no clock and no configuration, and applying a fact twice changes nothing.
// The bid path ([Pacer.Quote], [Pacer.Observe], [Pacer.Reserve], [Pacer.Release],
// [Pacer.Paused]) does no I/O, waits for no goroutine and, once warm, does not
// allocate.
//
// # Grants
//
// A run (one start of a node) bids from grants. A grant is a fact that says how much
// the run may ever settle from one budget (cumulative), until when it may bid, and
// until when the amount is held for its reservations. [Pacer.Step] appends grants
// ahead of need, with a compare-and-set on the budget's last grant. The amount that
// a dead run did not settle stays held until the grant's end and is free afterwards.
//
// A bill is settled in all four budgets of its line (line and campaign, day and
// total), whether or not a cap binds, so that a cap that is added later counts
// earlier spend. A budget keeps the currency in which it was spent; a line in another
// currency does not bid. The holdback of a cap is never granted: it covers late
// bills.
//
// # Blindness and damage
//
// Reservations expire by the log's time. A bid whose own time is more than 2 s
// behind it would expire at once, so such bids are refused as blind. If the
// clock jumps ahead, the bills of the bids in flight at that moment are late. An
// exchange that reports wins and hardly any bills gets no bids. A view whose
// files are damaged is emptied, and the journal restores it from a checkpoint or
// rebuilds it from the log.
//
// # Late bills
//
// A bid's money is reserved until its WinExpiry and, when a win notice with a TS up
// to then is folded, until its BillExpiry. A bill is charged and counted as late
// spend when its TS is after that, when it follows a loss notice of its bid, or when
// its run has no grant that is still held. The part of a bill that its grant does
// not cover is late spend too. A bill up to WinExpiry proves its own win.
//
// Late spend uses the room that a cap has outside its grants, so settled
// exceeds the cap only by amounts that were already in flight or granted.
//
// # Pacing
//
// An even budget divides prices by a multiplier of at least 1. Each cap has one; the
// largest of a line's caps applies. It follows the expected cost of each matched
// request at bid time rather than the notices, which come late; a measured
// correction keeps the expectation accurate. The multiplier is 1 while the rest of
// the day's traffic at full price costs less than the rest of the budget. Without a
// forecast, traffic is expected to continue at the highest slow average of the last
// hours. The multiplier is not part of the fold: losing it costs a cold start, never
// money.
//
// Amounts are micros of the advertiser's currency, prices CPM, times UTC; days are
// civil days of the advertiser's time zone. bidder prices and reserves through a
// Pacer, journal feeds it, cmd and replay own it, and server shows its rows and
// figures.
package pacing
