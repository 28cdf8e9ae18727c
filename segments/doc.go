// Package segments knows who a visitor is: it folds the facts of the log into
// profiles, resolves outside identifiers to visitors, and lends profiles to bids.
//
// It guarantees that
//   - a profile is a deterministic function of the log: no wall clock and no
//     configuration is read, only facts; a fact applied twice changes nothing;
//   - one atomic batch carries the data and the log position that it reflects.
//     Batches are not fsynced: after a power cut the position tells what is
//     missing, and the log gives it again;
//   - [Store.Find] reads local memory, and on a cache miss local disk; a visitor
//     that is not ours costs neither disk nor allocation;
//   - whoever opted out is never found, from the moment the opt-out is appended;
//   - every list in a profile is bounded, and what is dropped is counted.
//
// Times are whole seconds of the events' own clocks; life times run on the time
// of the log. The journal drives a Store, the bidder reads it, cmd owns it.
package segments
