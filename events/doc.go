// Package events defines the entries of the two logs: the fact, which changes
// state and must never be lost, and the bid record, which documents a decision
// for explanation and replay and may be dropped, and counted, under load. It
// also reads and writes their NDJSON files.
//
// It guarantees that everything that it writes can be read back line by line,
// and that a torn last line is detected. Amounts are micros, prices CPM in
// major units, times UTC. It does not depend on how facts are stored or folded:
// journal stores facts, bidder offers records, and replay and reports read
// both.
package events
