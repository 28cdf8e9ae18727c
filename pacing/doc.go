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
// a dead run did not settle stays held until the grant's end and is free afterwards;
// where its bids in flight are known, only what they can still cost is held. A bid
// that lives longer than Options.BidLife draws from a grant of its own (run
// "<run>:long"), unless the ordinary grants are held long enough for it. A grant is
// renewed only while bids ask for its budget.
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
// exchange that reports wins and hardly any bills, or whose bids are billed far less often
// than usual, gets no bids. A view whose
// files are damaged is emptied, and the journal restores it from a checkpoint or
// rebuilds it from the log.
//
// # The end of a run
//
// Reservations are written to a memory-mapped file (Options.Reservations) before
// Reserve returns. The next run counts them for the caps of their visitors until they
// can no longer be billed. After a power cut, or where the file cannot be read, lines
// with a frequency cap do not bid until the last run's grants have ended.
//
// # Losses
//
// A loss notice is a claim. It moves the cost of its bid from reserved to doubted
// until the reservation would have ended. Doubted money stays covered in full below
// 500 losses of the exchange whose outcome is known, and then by the upper 99 % bound
// of the share of them that was billed after all.
//
// An exchange that bills more than twice its usual share of them gets no bids until an
// operator resumes it.
//
// # Overdue bids
//
// The delay from a bid to the notice that proves its win is measured for each exchange and
// format, as a fold of the log. A bid of which nothing was heard by the time that 9 of 10
// notices take is overdue: until its promise ends its money is doubted too. It stays
// covered in full below 500 overdue bids whose outcome is known; then by the upper 99 %
// bound of the share of them that was won or billed, by what chance may add to it, and by
// what the bids would cost if the exchange's notices had stopped, up to the number of
// impressions after which that is noticed and all of it counts in full again. A bill up to
// the end of the promise is on time, and a late win reserves the full cost again.
//
// # Late bills
//
// A bid's money is reserved until its WinExpiry and, when a win notice with a TS up
// to then is folded, until its BillExpiry. A bill is charged and counted as late
// spend when its TS is after that, or when its run has no grant that is still held. An
// exchange whose late spend exceeds a tenth of a cap, or its holdback, gets no bids. The part of a bill that its grant does
// not cover is late spend too. A bill up to WinExpiry proves its own win.
//
// Late spend uses the room that a cap has outside its grants, so settled
// exceeds the cap only by amounts that were already in flight or granted.
//
// # Pacing
//
// A budget that is spread over its window divides values by a multiplier of at least 1.
// Each cap has one; the largest of a line's caps applies. It follows the expected cost of
// each matched request at bid time rather than the notices, which come late; a measured
// correction keeps the expectation accurate. Bids that a cap refuses count as demand. The
// target is what is left, divided by the traffic that is expected until the end of the
// window: that of the same weekday last week, else of the last day, corrected by today's
// level; without history, traffic is expected to continue at the highest slow average of
// the last hours. The multiplier is 1 while the rest of the traffic at full price costs
// less than what is left, and rises when the money that bids would reserve does not fit
// into it. It is not part of the fold: losing it costs a cold start, never money.
//
// Where a report of an exchange shows spend that no notice showed, the same share of each
// cap is held back on the following days.
//
// # Shading
//
// In first-price auctions the bid maximises (worth - bid) x chance to win, where the worth
// is the value divided by the multiplier. The chances are learned for each exchange,
// currency and kind of slot, from outcomes of the same age: bids that were billed, bids
// that were not by the end of their reservation, and the price to beat where an exchange
// reports it. They show the floors that many auctions share. Of the bids, 2 % are
// randomised, by the request's recorded draw.
//
// Amounts are micros of the advertiser's currency, prices CPM, times UTC; days are
// civil days of the advertiser's time zone. bidder prices and reserves through a
// Pacer, journal feeds it, cmd and replay own it, and server shows its rows and
// figures.
package pacing
