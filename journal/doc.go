// Package journal is the log of facts: append, ordered follow, archive,
// checkpoints. It is the only package that knows NATS.
//
// # What it guarantees
//
// A fact is stored by JetStream before [Log.Append] returns nil; its TS never
// goes back along the stream; the same message id again within two minutes is
// not stored twice (later than that a view's own check counts). A killed
// process loses nothing that was acknowledged. A power cut can lose what was
// written in the last 100 ms (the sync interval of JetStream), less what the
// archive had synced.
//
// A [View] gets every fact once, in order, and is never carried past a log that
// does not hold the fact it stands at. Sequences count from 1; times are UTC.
//
// # When the pieces on disk disagree
//
// The stream (Dir/stream), the archive (NDJSON files in ArchiveDir) and the
// views each know how far they are. At [Open]:
//
//   - The stream ends before the archive does, and its last fact is the
//     archive's too (an older copy was restored, power was cut), or the stream
//     is gone or empty: the archive's later facts are appended again with their
//     own sequence, id and TS. Positions match again.
//   - The stream and the archive hold different facts at one sequence: the
//     stream is right. The archive's files from there on are moved to
//     ArchiveDir/diverged-<time>, and are archived anew from the stream.
//   - Facts that neither holds are counted and named in the log; nothing is
//     skipped silently.
//
// At [Log.Follow]: a view whose position (stream id, sequence, TS) is in neither
// the stream nor the archive is taken back to its newest checkpoint that is, or
// else emptied, and fed again from the archive and then the stream. An empty view
// begins at its newest checkpoint too. Facts that it must be carried past without
// are counted in [ViewStats].LostFacts, also over a restart, until the view is
// built anew from a log that has them.
//
// # When the disk was full
//
// The embedded server keeps the first error of a write and takes nothing more.
// Once the disk has room it is started anew in place; facts of [Log.AppendOrSpool]
// wait in the spool meanwhile. When that does not help [Log.Broken] says so: the
// process should end and be started again.
//
// # What is kept
//
// The stream is trimmed by age and bytes, but only below the oldest checkpoint
// of every view and below what the archive has synced. Checkpoints are
// taken hourly; two of each view are kept. The archive is kept by age and bytes.
//
// cmd/bidder opens the log and hands Append to collect, tracking and pacing;
// segments and pacing implement View.
package journal
