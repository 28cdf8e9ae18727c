// Package tracking tells our own notices from everybody else's, and turns them
// into facts: win, bill, loss, impression, view, click and video.
//
// It guarantees that a notice is believed only with a token that this bidder
// signed for that very kind of notice, that whatever arrives is answered as the
// sender expects (204, a GIF, a redirect) and with an error that makes it retry
// only where nothing could store it, and that what one impression is charged never exceeds what its bid
// reserved. Counting each notice once is the folds' work: every fact carries the
// message id "<kind>:<bid id>".
//
// # Where a price comes from
//
// Only the bid's billing source books money, and only one kind of notice is
// that source. A price told by the exchange's server (burl, or nurl where there is
// nothing else) is taken, in first-price auctions too, when it is above zero and
// not above the bid. A price above the bid, however large, is booked at the bid and
// flagged. A bill whose price cannot be read (zero, an unexpanded macro, words, a
// cipher that fails) is booked at the bid and flagged price_missing; one whose price
// is absent or empty too, but in first price, where the bid is the price, without
// the flag: an impression that was delivered is never free. AUDIT is a rendering
// for review, never an impression: it is counted and dropped. Where a browser
// is the billing source (pixel, VAST) its price is not believed: the bid is booked.
//
// Prices are CPM micros in the bid's currency, charges micros in the
// advertiser's, both rounded up. The bidder asks the [Signer] for links; the
// edge listener calls the [Handler].
//
// # Films and native
//
// /v1/vast/{ev} takes impression, start, q1, mid, q3, complete and error, all with
// one token; only impression can bill, and error keeps VAST's code as a flag. A
// click URL with &t=1 behind it is told by a player or a native placement: it
// counts, and is answered with a GIF instead of the redirect.
package tracking
