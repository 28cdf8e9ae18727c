// Package pacing decides how much is bid and how often: the price multiplier,
// grants and reservations, the ledger, and the arithmetic of frequency caps.
//
// # What it guarantees
//
// No bid leaves unless its worst cost fits under every cap that binds it, and
// settled - late_spend + held <= cap whenever a grant is cut, whatever the
// order, the repetition or the loss of notices, and through kill -9. Spend is a
// fold of the log alone: it reads no clock and no configuration, and applying a
// fact twice changes nothing. The bid path ([Pacer.Quote], [Pacer.Observe],
// [Pacer.Reserve], [Pacer.Release], [Pacer.Paused]) does no I/O, waits for no
// goroutine and, once warm, allocates nothing.
//
// # Grants
//
// A run (one start of a node) bids from grants. A grant is a fact: how much the
// run may ever settle from one budget (cumulative), until when it may bid, and
// until when the amount is held for its reservations. It is appended with
// compare-and-set on the budget's last grant, ahead of need, by [Pacer.Step].
// What a dead run did not settle stays held until that time and is free after.
//
// A bill is settled in all four budgets of its line (line and campaign, day and
// total), whatever caps bind, so that a cap that is added later knows what was
// spent. A budget keeps the currency that was spent in; a line in another one is
// not bid for. What is held back of a cap is in no grant: late bills take it.
//
// # When money cannot be seen
//
// Reservations expire by the log's time, so a bid whose own time is more than 2 s
// behind that would be given back at once: such bids are refused as blind. The
// opposite, a jump ahead, makes what is in flight late, once. An exchange that
// reports wins and hardly any bills gets no bids. A view whose files are damaged
// is emptied, and the log's checkpoint or facts make it anew.
//
// # When a bill is late
//
// A bid's money is reserved until its WinExpiry, and when a win notice is folded
// with a TS up to then, until its BillExpiry. A bill whose TS is after that, or
// that follows a loss notice of its bid, or whose run has no grant that is still
// held, is charged and counted as late spend. So is the part of a bill that its
// grant does not cover. A bill up to WinExpiry proves its own win.
//
// While a cap still has room outside its grants, late spend takes from that room
// too: settled goes above the cap only by what was in flight or granted already.
//
// # Pacing
//
// An even budget divides prices by a multiplier of at least 1: one per cap, the
// largest of a line's caps binds. It follows the expected cost of each matched
// request at bid time, not the notices, which come late; a measured trim keeps
// the expectation honest. Where all that is left of the day, at full price, is
// within what is left of the budget, it is 1. Without a forecast traffic is
// taken to go on at the highest slow average of the last hours. The multiplier is
// no part of the fold: losing it costs a cold start, never money.
//
// Amounts are micros of the advertiser's currency, prices CPM, times UTC; days
// are the advertiser's. bidder prices and reserves through a Pacer, journal
// feeds it, cmd and replay own it, server shows its rows and figures.
package pacing
