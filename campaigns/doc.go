// Package campaigns defines advertisers, campaigns and lines,
// validated and compiled into one immutable index.
//
// It guarantees that an index is complete (every reference resolves, all amounts
// are positive, every landing page is on its advertiser's domains), that the cost
// of finding a visitor's lines depends on the visitor's segments and not on the
// number of campaigns, and that candidates always come in the same order: by
// priority, highest first, then by id. Prices are CPM and budgets are micros, both
// in the advertiser's currency; days are civil days in the advertiser's time zone.
//
// config compiles the index, bidder and replay get candidates from it, pacing
// gets the plan, and collect looks up the advertiser of a key.
package campaigns
