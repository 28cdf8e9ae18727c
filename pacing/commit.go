package pacing

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"rebound/events"
)

// commit writes what the Apply under way changed.
func (p *Pacer) commit(pos events.Position) error {
	if p.store.db == nil {
		return fmt.Errorf("cannot write money view: %w", errClosed)
	}
	b := p.store.db.NewBatch()
	defer b.Close()
	for _, x := range p.changed.budgets {
		x.dirty = false
		if err := set(b, nameKey(keyBudget, x.id.String()), x); err != nil {
			return err
		}
		if a := p.accounts[x.id]; a != nil {
			a.refresh(x, p.o.Run, p.now, p.stopping.Load())
		}
	}
	for _, id := range p.changed.totals {
		t := p.totals[id]
		t.dirty = false
		if err := set(b, nameKey(keyLine, id.String()), t); err != nil {
			return err
		}
	}
	for _, scope := range p.changed.pauses {
		if err := set(b, nameKey(keyPause, scope), p.pauses[scope]); err != nil {
			return err
		}
	}
	next, err := p.commitNotices(b)
	if err != nil {
		return err
	}
	if err := p.dropDays(b); err != nil {
		return err
	}
	if err := set(b, []byte{keyPosition}, &pos); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("cannot write money view: %w", err)
	}
	p.changed = changes{budgets: p.changed.budgets[:0], totals: p.changed.totals[:0], pauses: p.changed.pauses[:0]}
	clear(p.notices)
	p.forget = next
	return nil
}

// commitNotices writes the notices that changed and drops some that nobody
// believes any more. What it returns counts once the batch is written.
func (p *Pacer) commitNotices(b *pebble.Batch) (forgotten, error) {
	at := p.now + int64(remembered)
	for id, n := range p.notices {
		if err := b.Set(noticeKey(id), n.encode(), nil); err != nil {
			return p.forget, fmt.Errorf("cannot write money view: %w", err)
		}
		if err := b.Set(forgetKey(at, id), nil, nil); err != nil {
			return p.forget, fmt.Errorf("cannot write money view: %w", err)
		}
	}
	return p.forgetNotices(b, max(leastForgotten, 2*len(p.notices)))
}

// leastForgotten is how many notices one Apply drops at least, where so many are
// due; or twice what it adds, so that the view cannot grow without end.
const leastForgotten = 256

// forgotten is where dropping notices stands. It only saves work.
type forgotten struct {
	from []byte // everything before this key was dropped
	due  int64  // Unix nanoseconds: none is due before
}

// forgetNotices drops at most so many notices that nobody believes any more.
func (p *Pacer) forgetNotices(b *pebble.Batch, most int) (forgotten, error) {
	if p.now <= p.forget.due {
		return p.forget, nil
	}
	next := forgotten{from: p.forget.from, due: p.now + int64(remembered)} // when those of now are due, if there are no others
	n := 0
	err := p.store.eachFrom(keyForget, p.forget.from, func(k, _ []byte) error {
		if len(k) != 24 {
			return nil
		}
		if at := int64(binary.BigEndian.Uint64(k)); n == most || at >= p.now {
			next.due = at
			return errEnough
		}
		n++
		next.from = bytes.Clone(k)
		if err := b.Delete(append([]byte{keyForget}, k...), nil); err != nil {
			return err
		}
		return b.Delete(append([]byte{keyNotice}, k[8:]...), nil)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return p.forget, err
	}
	return next, nil
}

// dropDays drops the budgets of days that no bill is believed for any more, once
// a minute of the log.
func (p *Pacer) dropDays(b *pebble.Batch) error {
	if p.now-p.forgotAt < int64(time.Minute) {
		return nil
	}
	p.forgotAt = p.now
	for id := range p.budgets {
		if !oldBudget(id, p.now) {
			continue
		}
		delete(p.budgets, id)
		if err := b.Delete(nameKey(keyBudget, id.String()), nil); err != nil {
			return fmt.Errorf("cannot write money view: %w", err)
		}
	}
	return nil
}

func set(b *pebble.Batch, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode money view: %w", err)
	}
	if err := b.Set(key, text, nil); err != nil {
		return fmt.Errorf("cannot write money view: %w", err)
	}
	return nil
}
