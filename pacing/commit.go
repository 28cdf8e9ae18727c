package pacing

import (
	"bytes"
	"errors"
	"maps"
	"time"

	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// commit writes the changes of the current Apply.
func (p *Pacer) commit(pos events.Position) error {
	b, err := p.db.NewBatch()
	if err != nil {
		return err
	}
	defer b.Close()
	for _, x := range p.changed.budgets {
		x.dirty = false
		if err := setJSON(b, nameKey(keyBudget, x.id.String()), x); err != nil {
			return err
		}
		for _, a := range []*account{p.accounts[x.id], p.longs[x.id]} {
			if a != nil {
				a.refresh(x, p.now, p.stopping.Load())
				p.agenda.add(a)
			}
		}
	}
	for _, id := range p.changed.totals {
		t := p.totals[id]
		t.dirty = false
		if err := setJSON(b, nameKey(keyLine, id.String()), t); err != nil {
			return err
		}
	}
	if err := p.commitDelays(b); err != nil {
		return err
	}
	for _, scope := range p.changed.pauses {
		if err := setJSON(b, nameKey(keyPause, scope), p.pauses[scope]); err != nil {
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
	for id := range p.adjusted {
		if err := b.Set(nameKey(keyAdjust, id), nil); err != nil {
			return err
		}
	}
	if err := p.values.commit(b); err != nil {
		return err
	}
	if err := b.Commit(pos); err != nil {
		return err
	}
	p.values.committed()
	p.adoptDelays()
	p.changed = changes{budgets: p.changed.budgets[:0], totals: p.changed.totals[:0], pauses: p.changed.pauses[:0], delays: p.changed.delays[:0]}
	clear(p.notices)
	clear(p.adjusted)
	p.forget = next
	return nil
}

// commitNotices writes the notices that changed and drops some that are
// no longer accepted. The result becomes valid once the batch is written.
func (p *Pacer) commitNotices(b *view.Batch) (forgotten, error) {
	at := p.now.Add(remembered)
	for id, n := range p.notices {
		if err := errors.Join(b.Set(noticeKey(id), n.encode()), b.Set(forgetKey(at, id), nil)); err != nil {
			return p.forget, err
		}
	}
	return p.forgetNotices(b, max(leastForgotten, 2*len(p.notices)))
}

// leastForgotten limits how many due notices one Apply drops. The limit is
// twice the number of notices that it adds if that is more, so that the view
// cannot grow without bound.
const leastForgotten = 256

// forgotten is the progress of dropping notices. It only saves work.
type forgotten struct {
	from []byte    // everything before this key was dropped
	due  time.Time // no notice is due before this time
}

// forgetNotices drops up to a given number of notices that are no longer accepted.
func (p *Pacer) forgetNotices(b *view.Batch, most int) (forgotten, error) {
	if !p.now.After(p.forget.due) {
		return p.forget, nil
	}
	next := forgotten{from: p.forget.from, due: p.now.Add(remembered)} // when notices received now are due, if there are no others
	n := 0
	err := eachFrom(p.db, keyForget, p.forget.from, func(k, _ []byte) error {
		if len(k) != 24 {
			return nil
		}
		if at := readTime(k); n == most || !at.Before(p.now) {
			next.due = at
			return view.ErrStop
		}
		n++
		next.from = bytes.Clone(k)
		return errors.Join(b.Delete(append([]byte{keyForget}, k...)), b.Delete(append([]byte{keyNotice}, k[8:]...)))
	})
	if err != nil {
		return p.forget, err
	}
	return next, nil
}

// dropDays drops the budgets of days for which bills are no longer accepted,
// once per minute of log time.
func (p *Pacer) dropDays(b *view.Batch) error {
	if p.now.Sub(p.forgotAt) < time.Minute {
		return nil
	}
	p.forgotAt = p.now
	for id := range p.budgets {
		if !oldBudget(id, p.now) {
			continue
		}
		delete(p.budgets, id)
		p.epoch++
		maps.DeleteFunc(p.lateBy, func(k lateKey, _ rtb.Micros) bool { return k.budget == id })
		if err := b.Delete(nameKey(keyBudget, id.String())); err != nil {
			return err
		}
	}
	return nil
}
