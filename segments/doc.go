// Package segments maintains visitor profiles: it folds the facts of the log
// into profiles, resolves external identifiers to visitors, and serves profiles
// to bids.
//
// It guarantees that
//   - a profile is a deterministic function of the log: the fold reads no clock and
//     no configuration, and applying a fact twice changes nothing;
//   - data and log position are written in one atomic batch. Batches are not synced:
//     after a power cut the view is at an earlier position, and the journal applies
//     the facts after it again;
//   - [Store.Find] reads local memory and, on a cache miss, local disk; an unknown
//     visitor costs neither disk access nor allocation;
//   - a visitor who opted out is never found, from the moment the opt-out is appended;
//   - every list in a profile is bounded, and dropped entries are counted.
//
// Times are whole seconds of the events' own clocks; expiry follows the time of the
// log. The journal feeds a Store, the bidder reads it, and cmd owns it.
package segments
