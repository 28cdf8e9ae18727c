package journal

import (
	"context"
	"errors"

	"rebound/events"
)

// Log is the log of facts. Its methods may be called from any goroutine.
type Log struct{ o Options }

// Open starts the log: the embedded server or the connection to the cluster, the
// stream, the archive and the spool. It repairs what is torn, appends again what
// the stream lost and the archive still holds, and says so in the log.
func Open(ctx context.Context, o Options) (*Log, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	return nil, errors.ErrUnsupported
}

// Append stores facts in order. It sets V and TS; TS never goes back along the
// stream. nil means that the server has stored all of them; the same ID again is
// nil. A grant whose ExpectSeq is stale gives [ErrConflict]. After any other
// error it is unknown which of the facts are stored: append all of them again.
func (l *Log) Append(ctx context.Context, facts ...events.Fact) error { return errors.ErrUnsupported }

// AppendOrSpool appends facts, or, while the stream takes none, writes them to a
// synced file from which they are appended later, also after a restart. nil
// means that they are in one of the two. It is for notices, whose order does not
// matter and which nobody sends twice.
func (l *Log) AppendOrSpool(ctx context.Context, facts ...events.Fact) error {
	return errors.ErrUnsupported
}

// Follow feeds v with every fact after its position, in order and in batches,
// until ctx ends (nil), the log closes (ErrClosed) or v fails. caughtUp, which
// may be nil, is called once, when v has every fact that was there at the start.
func (l *Log) Follow(ctx context.Context, v View, caughtUp func()) error {
	return errors.ErrUnsupported
}

// Last is the position of the newest fact; zero when there is none.
func (l *Log) Last() events.Position { return events.Position{} }

// Stats is the log's state now. It does no I/O.
func (l *Log) Stats() Stats { return Stats{} }

// Close takes no more facts, waits for the appends in flight, for the archive to
// reach the end of the stream and for the followers to stop, and shuts the
// server down. When ctx ends first it hurries; nothing acknowledged is lost.
func (l *Log) Close(ctx context.Context) error { return errors.ErrUnsupported }
