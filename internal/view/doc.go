// Package view stores a view of the log in Pebble: it opens the files, keeps the
// log position with the data, takes and restores checkpoints, and finds damage.
//
// It guarantees that
//   - the files always hold the view as it was at one position. A batch carries
//     its data and its position. There is no write-ahead log: Pebble writes its
//     memory tables to disk in order, so a crash takes the view back to an earlier
//     position, never to a mixture of two, and the journal applies the facts after
//     that position again;
//   - damage in any file is found when the view is opened or restored, because
//     every block's checksum is verified. A damaged view is emptied, and its
//     position is then the zero one. Whether it may be rebuilt from the log or
//     must be restored from a checkpoint is the journal's decision;
//   - damage that Pebble finds later does not end the program. From then on reads
//     and writes fail with [ErrDamaged], until [DB.Reset] or [DB.Restore];
//   - a view that was written in another format is neither emptied nor read:
//     [Open] fails with [ErrFormat];
//   - a checkpoint shares no file with the view, so damage to one of them does
//     not reach the other.
//
// One goroutine at a time may write, checkpoint, restore and reset; any goroutine
// may read meanwhile. segments and pacing each own a DB. Keys that begin with a
// zero byte, and the key of 64 bytes 0xff, belong to this package.
package view
