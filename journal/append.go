package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"rebound/events"
)

const (
	// maxFactBytes ensures that a fact fits into one message of the fleet's stream.
	maxFactBytes = 1<<20 - 4096
	maxIDBytes   = 1024
)

// grantCheck is the compare-and-set of a grant.
type grantCheck struct {
	budget string
	expect uint64 // sequence of the budget's last grant that the writer of the new one had seen
}

// Append writes facts in the order in which they are given within their class
// (money before opt-outs before events). nil means that each of them is synced to
// disk; several facts are not atomic. A repeated id is written once. A grant whose
// ExpectSeq is stale gives [ErrConflict]; [ErrBusy] and [ErrFull] mean that facts
// of a class are not accepted at present. After any other error it is not known
// which of the facts are stored: append all of them again.
func (l *Log) Append(ctx context.Context, facts ...events.Fact) error {
	if len(facts) == 0 {
		return nil
	}
	if !l.enter() {
		return ErrClosed
	}
	defer l.appends.Done()
	start := l.o.Now()
	err := l.append(ctx, facts)
	l.meter.observe(l.o.Now(), start, err)
	return err
}

func (l *Log) append(ctx context.Context, facts []events.Fact) error {
	list := make([]*pending, len(facts))
	for i := range facts {
		p, err := l.encode(&facts[i])
		if err != nil {
			return err
		}
		if err := l.admit(p.class); err != nil {
			return err
		}
		list[i] = p
	}
	if l.fleet != nil {
		return l.fleet.append(ctx, facts, list)
	}
	if err := l.queue.put(list); err != nil {
		return err
	}
	return await(ctx, list)
}

// await returns once every fact is written, or as soon as one of them fails.
func await(ctx context.Context, list []*pending) error {
	var first error
	for _, p := range list {
		select {
		case err := <-p.done:
			first = errors.Join(first, err)
		case <-ctx.Done():
			return fmt.Errorf("cannot append facts: not written yet: %w", ctx.Err())
		}
	}
	return first
}

// encode returns the written form of a fact, except for its place in the log.
func (l *Log) encode(f *events.Fact) (*pending, error) {
	if f.ID == "" || len(f.ID) > maxIDBytes {
		return nil, fmt.Errorf("cannot append fact: got an id of %d bytes; want 1 to %d (kind %q): %w", len(f.ID), maxIDBytes, f.Kind, ErrInvalid)
	}
	if f.Kind == "" {
		return nil, fmt.Errorf("cannot append fact %s: got no kind: %w", f.ID, ErrInvalid)
	}
	var salt [16]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fmt.Errorf("cannot append fact %s: %w", f.ID, err)
	}
	body, err := events.AppendBody(make([]byte, 0, 512), f)
	if err != nil {
		return nil, fmt.Errorf("cannot append fact %s: %w: %w", f.ID, ErrInvalid, err)
	}
	n := len(body)
	body = events.AppendWho(body, f, salt)
	p := &pending{id: idOf([]byte(f.ID)), class: classOf(f, l.o.Now()), done: make(chan error, 1)}
	p.line.Body, p.line.Who = body[:n:n], body[n:]
	if len(body) > maxFactBytes {
		return nil, fmt.Errorf("cannot append fact %s: got %d bytes; want at most %d: %w", f.ID, len(body), maxFactBytes, ErrInvalid)
	}
	if f.Kind == events.KindGrant && f.Grant != nil {
		p.grant = &grantCheck{budget: f.Grant.Budget.String(), expect: f.Grant.ExpectSeq}
	}
	p.sum, err = p.line.Digest()
	return p, err
}

// admit refuses facts of a class while there is no space or capacity for them.
func (l *Log) admit(c class) error {
	if l.room.Load()&(1<<c) == 0 {
		return ErrFull
	}
	if c < classEvent {
		return nil
	}
	if name, lag := l.worstLag(); lag > l.o.MaxLag {
		return fmt.Errorf("cannot append events: view %s is %d facts behind: %w", name, lag, ErrBusy)
	}
	return nil
}

// enter registers an append, unless the log is closing.
func (l *Log) enter() bool {
	l.closeMu.RLock()
	defer l.closeMu.RUnlock()
	if l.closing {
		return false
	}
	l.appends.Add(1)
	return true
}
