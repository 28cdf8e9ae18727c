// Package mock is an ad exchange and the people who use it: visitors of a shop who later
// see ads on pages and in apps, auctions between bidders and a modelled competition, and
// the notices, clicks and orders that follow.
//
// It guarantees that it keeps its own books, independent of any bidder's, in whole
// micros, and that Run compares them with the bidder's at the end, bill by bill where it
// may read the log. With the same seed and the same responses it makes the same
// decisions, whatever their order in time. Prices are in CPM of one currency, US
// dollars; percentages are 0 to 100. cmd/loadtest and the demo of cmd/bidder call it; it
// imports neither the bidder nor the attack library.
package mock
