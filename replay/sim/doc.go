// Package sim benchmarks pacing and shading on a synthetic market: days of auctions
// whose highest competing price is known to the market and to nobody else.
//
// Rebound bids with its own code: the pricing, shading, reservations and ledger of
// package pacing, with a virtual clock and a log in memory. Baselines from the
// literature bid in the same auctions with a simple ledger, and oracles that know the
// whole day give the scale. The same scenario and seed always give the same day,
// whatever the policy, and a policy's result depends on nothing else.
//
// The market of scenarios S1 to S9, the oracles and the baselines are those of the
// reference simulator: they draw the same numbers and give the same results. S10 to
// S20 extend them.
//
// Prices and values are CPM in units of the market, money is in thousandths of it: an
// impression that is bought at 40 costs 40. Times are seconds since midnight. cmd/replay
// calls this package.
package sim
