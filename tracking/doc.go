// Package tracking recognizes the notices of our own bids and turns them into
// facts: win, bill, loss, impression, view, click and video.
//
// It guarantees that a notice is accepted only with a token that this bidder
// signed for that kind of notice; that every request gets the response that its
// sender expects (204, a GIF or a redirect), and an error that makes the sender
// retry only when the notice could not be stored; and that one impression is never
// charged more than its bid reserved. The views count each notice once: every fact
// has the message id "<kind>:<bid id>".
//
// # Prices
//
// Only the bid's billing source charges money, and only one kind of notice is that
// source. A price from the exchange's server (burl, or nurl if there is no burl) is
// accepted, in first-price auctions too, when it is above zero and not above the bid.
// A price above the bid, however large, is charged at the bid and flagged. A bill
// without a readable price (zero, an unexpanded macro, text, a cipher that fails) is
// charged at the bid and flagged price_missing, because an impression that was
// delivered is never free; in first price an absent or empty price means the bid and
// is not flagged. A price whose currency macro was not expanded, or which is below a
// quarter of a first-price bid without a discount in the notice, is probably in
// another currency or unit: the bid is charged and flagged currency or
// price_below_bid. AUDIT is a rendering for review, not an impression: it is counted
// and dropped. If a browser is the billing source (pixel, VAST), its price is not
// trusted and the bid is charged.
//
// Prices are CPM micros in the bid's currency, charges are micros in the
// advertiser's currency, both rounded up. The bidder calls the [Signer] for links;
// the edge listener calls the [Handler].
//
// # Video and native
//
// /v1/vast/{event} takes impression, start, q1, mid, q3, complete and error, all
// with the same token. Only impression can bill; error keeps VAST's code as a flag.
// A click URL with &t=1 reports a click on behalf of a player or a native
// placement: it is recorded, and answered with a GIF instead of the redirect.
package tracking
