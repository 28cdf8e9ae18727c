package journal

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"go.uber.org/zap"

	"rebound/events"
)

// AppendOrSpool appends facts, or, while the stream takes none, writes them to a
// synced file from which they are appended later, also after a restart. nil
// means that they are in one of the two. It is for notices, whose order does not
// matter and which nobody may send twice. While appending is known to fail the
// file comes first, so that nobody waits for what will not be.
func (l *Log) AppendOrSpool(ctx context.Context, facts ...events.Fact) error {
	if !l.enter() {
		return ErrClosed
	}
	defer l.inflight.Done()
	if !l.meter.bad.Load() {
		err := l.Append(ctx, facts...)
		if err == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrInvalid) {
			return err
		}
		if serr := l.spool.put(l.o.Now(), facts); serr != nil {
			return errors.Join(err, serr)
		}
		return nil
	}
	for i := range facts { // the spool must hold nothing that can never be appended
		if err := l.encode(&facts[i], &outgoing{}); err != nil {
			return err
		}
	}
	serr := l.spool.put(l.o.Now(), facts)
	if serr == nil {
		return nil
	}
	if err := l.Append(ctx, facts...); err != nil {
		return errors.Join(serr, err)
	}
	return nil
}

// drain appends what is spooled as soon as the stream takes it.
func (l *Log) drain(ctx context.Context) {
	for wait(ctx, drainEvery) {
		for l.spool.waiting.Load() > 0 {
			if err := l.drainOnce(ctx); err != nil {
				if ctx.Err() == nil {
					l.o.Logger.Debug("spool waits", zap.Error(err))
				}
				break
			}
		}
	}
}

// drainOnce appends a file of the spool, or the reserve once there is none.
func (l *Log) drainOnce(ctx context.Context) error {
	if path := l.spool.take(); path != "" {
		n, err := l.appendSpooled(ctx, events.ReadFactFile(path))
		if err != nil {
			return err
		}
		return l.spool.done(path, n)
	}
	text, err := l.spool.takeReserve()
	if err != nil || len(text) == 0 {
		return err
	}
	n, err := l.appendSpooled(ctx, events.ReadFacts(reserveName, bytes.NewReader(text)))
	if err != nil {
		return err
	}
	return l.spool.doneReserve(len(text), n)
}

func (l *Log) appendSpooled(ctx context.Context, facts iter.Seq2[*events.Fact, error]) (n uint64, err error) {
	batch := make([]events.Fact, 0, appendChunk)
	for f, err := range facts {
		var line *events.LineError
		switch {
		case errors.As(err, &line):
			l.o.Logger.Error("spooled fact is damaged", zap.Error(err))
			continue
		case err != nil:
			return n, err
		}
		n++
		if batch = append(batch, *f); len(batch) == cap(batch) {
			if err := l.appendBatch(ctx, batch); err != nil {
				return n, err
			}
			batch = batch[:0]
		}
	}
	if err := l.appendBatch(ctx, batch); err != nil {
		return n, err
	}
	l.o.Logger.Info("spooled facts appended", zap.Uint64("facts", n))
	return n, nil
}

// appendBatch appends facts; where one of them can never be appended, each by
// itself, and that one is left out.
func (l *Log) appendBatch(ctx context.Context, batch []events.Fact) error {
	within, cancel := context.WithTimeout(ctx, drainWait)
	defer cancel()
	err := l.Append(within, batch...)
	if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrConflict) {
		return err
	}
	for i := range batch {
		err := l.Append(within, batch[i])
		if errors.Is(err, ErrInvalid) || errors.Is(err, ErrConflict) {
			l.o.Logger.Error("spooled fact cannot be appended; it is left out", zap.Error(err))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}
