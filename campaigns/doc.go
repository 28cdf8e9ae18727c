// Package campaigns holds what may be bought: advertisers, campaigns and lines,
// validated and compiled into one immutable index.
//
// It guarantees that an index is complete (every reference of it resolves, all
// money is positive, every landing page is inside its advertiser's domains), that
// finding a visitor's lines costs what the visitor's own segments cost and not
// what the number of campaigns would, and that the order of candidates is the
// same on every run: priority, the higher first, then the line's id. Prices are
// CPM and budgets micros, in the advertiser's currency; days are civil days in
// the advertiser's zone.
//
// config compiles; bidder and replay ask for candidates; pacing is given the
// plan; collect asks which advertiser a key belongs to.
package campaigns
