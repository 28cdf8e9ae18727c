package pacing

import (
	"encoding/binary"
	"fmt"
	"math"
)

// What is known of supply paths is stored with the controllers, because some publishers
// need days for enough wins over each path. Losing it costs money only in that
// impressions are bought over the first path again.

// storedMarket is the number of bytes of a market: when it was last offered, and its
// paths.
const storedMarket = 8 + pathsPerPlace*(8+8+8+4+4+2*4*pathsPerPlace)

func (m *placeMarket) encode() []byte {
	be := binary.BigEndian
	b := be.AppendUint64(make([]byte, 0, storedMarket), uint64(m.used))
	for i := range m.sums {
		p := &m.sums[i]
		b = be.AppendUint64(b, m.paths[i])
		b = be.AppendUint64(be.AppendUint64(b, math.Float64bits(p.chances)), math.Float64bits(p.charged))
		b = be.AppendUint32(be.AppendUint32(b, p.wins), p.offers)
		for j := range p.waited {
			b = be.AppendUint32(be.AppendUint32(b, p.waited[j]), p.arrived[j])
		}
	}
	return b
}

// decode reports whether it could read what encode wrote.
func (m *placeMarket) decode(b []byte) bool {
	if len(b) != storedMarket {
		return false
	}
	be := binary.BigEndian
	u32 := func() (v uint32) { v, b = be.Uint32(b), b[4:]; return v }
	u64 := func() (v uint64) { v, b = be.Uint64(b), b[8:]; return v }
	m.used = int64(u64())
	for i := range m.sums {
		p := &m.sums[i]
		m.paths[i], p.chances, p.charged = u64(), math.Float64frombits(u64()), math.Float64frombits(u64())
		p.wins, p.offers = u32(), u32()
		if !(p.chances >= 0 && p.charged >= 0) {
			return false
		}
		for j := range p.waited {
			p.waited[j], p.arrived[j] = u32(), u32()
		}
	}
	return true
}

// saveMarkets stores up to a number of markets that changed. p.mu is held.
func (p *Pacer) saveMarkets(most int) error {
	var batch []placeMarket
	s := &p.paths.markets
	for range marketSets {
		if batch = s.sets[s.saveNext].takeChanged(batch, most-len(batch)); len(batch) >= most {
			break // the set may have more
		}
		s.saveNext = (s.saveNext + 1) % marketSets
	}
	for i := range batch {
		if err := p.db.Put(marketKey(batch[i].id), batch[i].encode()); err != nil {
			return fmt.Errorf("cannot store supply paths: %w", err)
		}
	}
	return nil
}

// takeChanged appends copies of up to a number of the set's markets that changed.
func (set *marketSet) takeChanged(batch []placeMarket, most int) []placeMarket {
	set.mu.Lock()
	defer set.mu.Unlock()
	for i := range set.markets {
		m := &set.markets[i]
		if !m.changed || most <= 0 {
			continue
		}
		most--
		m.changed = false
		batch = append(batch, *m)
	}
	return batch
}

// loadMarkets reads the stored markets. Those for which there is no room any more, or
// which cannot be read, are deleted.
func (p *Pacer) loadMarkets() error {
	var drop [][]byte
	err := each(p.db, keyMarket, func(k, v []byte) error {
		var m placeMarket
		if len(k) != 8 || !m.decode(v) {
			drop = append(drop, append([]byte{keyMarket}, k...))
			return nil
		}
		m.id = binary.BigEndian.Uint64(k)
		s := &p.paths.markets
		x := s.set(m.id).add(m.id, m.used)
		*x = m
		return nil
	})
	if err != nil {
		return err
	}
	err = each(p.db, keyMarket, func(k, _ []byte) error {
		if len(k) != 8 {
			return nil
		}
		id := binary.BigEndian.Uint64(k)
		if p.paths.markets.set(id).find(id) == nil {
			drop = append(drop, append([]byte{keyMarket}, k...))
		}
		return nil
	})
	for _, k := range drop {
		if err == nil {
			err = p.db.Remove(k)
		}
	}
	return err
}

func marketKey(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyMarket}, id) }
