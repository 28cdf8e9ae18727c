package pacing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"rebound/events"
	"rebound/rtb"
)

// commit writes what the Apply under way changed.
func (p *Pacer) commit(pos events.Position) error {
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
	if err := p.commitNotices(b); err != nil {
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
	return nil
}

func (p *Pacer) commitNotices(b *pebble.Batch) error {
	forget := p.now + int64(p.o.NoticeTTL) + int64(time.Hour)
	for id, n := range p.notices {
		if err := b.Set(noticeKey(id), n.encode(), nil); err != nil {
			return fmt.Errorf("cannot write money view: %w", err)
		}
		if err := b.Set(forgetKey(forget, id), nil, nil); err != nil {
			return fmt.Errorf("cannot write money view: %w", err)
		}
	}
	if p.now-p.forgotAt < int64(time.Minute) {
		return nil
	}
	p.forgotAt = p.now
	for id := range p.budgets {
		if oldBudget(id, p.now) {
			delete(p.budgets, id)
		}
	}
	return p.forgetNotices(b)
}

// forgetNotices drops a bounded number of notices that nobody believes any more.
func (p *Pacer) forgetNotices(b *pebble.Batch) error {
	const most = 100_000
	n := 0
	end := forgetKey(p.now, rtb.BidID{})[1:]
	err := p.store.each(keyForget, func(k, _ []byte) error {
		if n == most || bytes.Compare(k, end) >= 0 || len(k) != 24 {
			return errEnough
		}
		n++
		if err := b.Delete(append([]byte{keyForget}, k...), nil); err != nil {
			return err
		}
		return b.Delete(append([]byte{keyNotice}, k[8:]...), nil)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
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
