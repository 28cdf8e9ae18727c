// Package journal is the log of facts: append, ordered follow, verification,
// checkpoints. It is the only package that depends on NATS.
//
// # What it guarantees
//
// A fact is on disk before [Log.Append] returns nil, and a [View] sees it only
// then. The log is a folder of plain NDJSON files, one fact a line, each line
// chained to the one before it by a hash (package events, Line): a line that was
// changed, removed or replaced is detected and never folded. A fact's TS never goes
// back along the log; sequences count from 1 and grow by one, except that facts
// appended after a loss begin above every sequence that was ever seen. A message id
// that is repeated within the last 200,000 facts (after a start, at least the last
// 20,000) is written once; beyond that the views detect duplicates.
//
// # Files
//
// FactsDir/<first sequence>.ndjson, sealed into .ndjson.zst at 256 MiB or after an
// hour. The first line is a header. A file's facts end where the next file begins
// according to its header; anything after that was written, but not synced, before a
// failure, and is ignored. Next to them: head (the end of the log, updated every
// second), accepted.json (losses that an operator accepted), base-<sequence>.ndjson
// (the facts that outlive deleted files), cut-<sequence> (a torn end).
//
// # When something is missing
//
// A view whose position is not in the log, and a log that is shorter than its head,
// mean that facts are missing. Before any view is restored to an earlier position,
// Dir/blind.json records what had been seen; while it exists the bidder must not
// spend money ([Stats.BlindFor]). A damaged line stops the views that need it
// ([DamageError]). [Repair] restores lines from another copy; [AcceptDamage] gives
// them up. Nothing is repaired silently.
//
// # When there is no space
//
// Space is reserved before it is written. Facts are accepted by class: on a full disk
// visitor events are refused first, then money, then opt-outs. After any other failed
// write or sync the batch is written to a new file; if that fails too, [Log.Broken]
// reports that the process should end.
//
// cmd/bidder opens the log and hands Append to collect, tracking and pacing;
// segments and pacing implement View.
package journal
