// Package journal is the log of facts: append, ordered follow, verification,
// checkpoints. It is the only package that knows NATS.
//
// # What it guarantees
//
// A fact is on disk before [Log.Append] returns nil, and a [View] sees it only
// then. The log is a folder of plain NDJSON files, one fact a line, each line
// chained to the one before it by a hash (package events, Line): a line that was
// changed, left out or exchanged is found and never folded. A fact's TS never goes
// back along the log; sequences count from 1 and grow by one, except that facts
// appended after a loss begin above every sequence that was ever seen. The same
// message id within the last 200,000 facts, after a start within the last 20,000 at
// least, is written once; beyond that a view's own check counts.
//
// # Files
//
// FactsDir/<first sequence>.ndjson, sealed into .ndjson.zst at 256 MiB or after an
// hour. The first line is a header. A file's facts end where the header of the
// next one says that it goes on; what follows in the file was written, but not
// synced, before a failure, and never counted. Next to them: head (where the log
// ended, each second), accepted.json (losses that an operator accepted),
// base-<sequence>.ndjson (what outlives deleted files), cut-<sequence> (a torn end).
//
// # When something is missing
//
// A view whose position is not in the log, and a log that is shorter than its head,
// mean that facts are gone. Before anything is taken back, Dir/blind.json says what
// had been seen; while it exists the bidder must not spend money ([Stats.BlindFor]).
// A damaged line stops the views that need it ([DamageError]). [Repair] puts lines
// back from another copy; [AcceptDamage] gives them up. Nothing is healed silently.
//
// # When there is no space
//
// Space is reserved ahead of what is written. Facts are taken by class: on a full
// disk visitor events are refused first, then money, then opt-outs. A write or sync
// that fails otherwise moves the batch to a new file; if that fails too, [Log.Broken]
// says that the process should end.
//
// cmd/bidder opens the log and hands Append to collect, tracking and pacing;
// segments and pacing implement View.
package journal
