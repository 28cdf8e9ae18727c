// Package events holds the words of the two logs: the fact, which changes state
// and must never be lost, and the bid record, which explains and teaches and
// may be dropped under pressure, counted. It also holds their NDJSON files.
//
// It guarantees that what it writes it can read again, line by line, and that a
// torn last line is noticed. Amounts are micros, prices CPM in major units,
// times UTC. It knows no engine; journal stores facts, bidder offers records,
// replay and reports read both.
package events
