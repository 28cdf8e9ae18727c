// Package reports answers questions about the logs: how much was bid, won, spent and
// clicked, by day, line, site and so on, and why bids were not made.
//
// It keeps rollups: sums by hour and dimension in an SQLite file, which it builds from the
// facts and the bid records. They hold no personal data and can always be rebuilt from the
// logs. The builder counts in memory; a commit changes the sums and the log position that
// they reflect in one transaction, so a crash leaves neither a gap nor a double count.
// Several processes may build and read one file. A fact or record counts once, and
// everything that became of a bid counts at the time of the bid, however late it is
// reported.
//
// Money is in micros of the named currency. Requests are in millionths: a sampled record
// counts with its weight. The bidder builds rollups in the background; "bidder report" and
// GET /v1/reports count what is new, and read them.
package reports
