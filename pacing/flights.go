package pacing

import (
	"encoding/binary"
	"sync"
	"time"

	"rebound/rtb"
)

// flightRef locates the counts of one bid in flight. It is part of the bid's reservation. A
// bid is in flight here until its impression cannot come any more or is in the profile.
type flightRef struct {
	visitor int32 // slot of the visitor
	slot    int32 // slot of its flight; -1 if it has none
	issued  rtb.Second
	shard   uint8 // of the visitor
	own     uint8 // bits of the visitor's own scopes that the bid has; used if slot is -1
}

// flight is what is stored for a bid in flight that was shown, or that has a scope in
// overflow. Other bids are only counted.
type flight struct {
	scopeSlots
	queued     bool   // among the visitor's impressions that the profile does not have
	prev, next int32  // neighbors in that queue; -1 at its ends
	seen       uint64 // sequence of the fact that made it an impression; 0 if none did
}

// scopeSlots are the slots of a bid's scopes, see visitorShard.scope.
type scopeSlots struct {
	at [maxScopes]int32
	n  int8
}

func (s *scopeSlots) add(slot int32) {
	s.at[s.n] = slot
	s.n++
}

// scopeCount counts a visitor's bids in one scope.
type scopeCount struct {
	scope rtb.ScopeID
	refs  int32      // bids in flight; 0: unused
	open  int32      // those of them that were not shown yet
	seen  int32      // those of them that were shown and are not in the profile
	last  rtb.Second // time of the most recent impression
}

// overflowScope is a scope of a visitor that has no room in its visitorFlights.
type overflowScope struct {
	scopeCount
	visitor int32 // slot of the visitor
}

// visitorFlights counts the bids in flight of one visitor, in two cache lines.
type visitorFlights struct {
	key         rtb.Key
	refs        int32  // bids in flight
	first, last int32  // queue of impressions that the profile does not have, by sequence; -1
	overflowed  int32  // scopes that are not in scopes
	handed      uint64 // position of the newest profile that impressions were handed over to
	scopes      [ownScopes]scopeCount
	recent      recentFlights
}

// ownScopes is the number of scopes that are counted next to their visitor, where they
// cost no search of their own. Most visitors have bids of one or two lines in flight.
const ownScopes = 2

// recentFlights counts the bids of the last seconds that have not become impressions.
type recentFlights struct {
	newest rtb.Second
	counts [32]uint8 // by second modulo the array length; a count stops at 255
}

// advance makes a second the newest.
func (r *recentFlights) advance(now rtb.Second) {
	for n := 0; r.newest < now; n++ {
		if n == len(r.counts) {
			r.newest = now
			return
		}
		r.newest++
		r.counts[r.newest%rtb.Second(len(r.counts))] = 0
	}
}

// add changes the count of a second.
func (r *recentFlights) add(issued rtb.Second, by int) {
	if by > 0 {
		r.advance(issued)
	}
	if r.newest-issued >= rtb.Second(len(r.counts)) || issued > r.newest {
		return
	}
	c := &r.counts[issued%rtb.Second(len(r.counts))]
	if n := int(*c) + by; n >= 0 && n <= 255 && *c < 255 {
		*c = uint8(n)
	}
}

// within returns how many were issued in FlightWindow up to now.
func (r *recentFlights) within(now rtb.Second) (n int) {
	r.advance(now)
	for i := range rtb.Second(FlightWindow / time.Second) {
		if i <= r.newest {
			n += int(r.counts[(r.newest-i)%rtb.Second(len(r.counts))])
		}
	}
	return n
}

// visitorShard counts the bids in flight of some of the visitors. mu protects it; no other
// lock is taken while mu is held.
type visitorShard struct {
	mu       sync.Mutex
	byKey    index // of visitors
	visitors slab[visitorFlights]
	flights  slab[flight]
	byScope  index // of overflow, by the visitor's slot and the scope's id
	overflow slab[overflowScope]
}

type flights struct{ shards [visitorShards]visitorShard }

func newFlights() *flights { return &flights{} }

// shardOf returns the number of the shard of a visitor.
func shardOf(k rtb.Key) uint8 { return k[0] % visitorShards }

func (f *flights) shard(k rtb.Key) *visitorShard { return &f.shards[shardOf(k)] }

// hashOfVisitor hashes a visitor's key, which is a keyed hash itself.
func hashOfVisitor(k *rtb.Key) uint32 {
	return hashOf(binary.LittleEndian.Uint64(k[:8]), binary.LittleEndian.Uint64(k[8:]))
}

// visitor returns the slot of a visitor; -1 if none of its bids is in flight.
func (sh *visitorShard) visitor(k *rtb.Key) int32 {
	hash := hashOfVisitor(k)
	at, slot := sh.byKey.first(hash)
	for slot >= 0 && sh.visitors.at(slot).key != *k {
		at, slot = sh.byKey.next(at, hash)
	}
	return slot
}

func hashOfScope(visitor int32, scope rtb.ScopeID) uint32 {
	return hashOf(uint64(scope), uint64(visitor))
}

// scope returns one of a visitor's scopes and its slot: its index among the visitor's own
// scopes, or else its slot in overflow plus ownScopes. It returns nil if none of the visitor's
// bids in flight has the scope.
func (sh *visitorShard) scope(visitor int32, id rtb.ScopeID) (*scopeCount, int32) {
	vf := sh.visitors.at(visitor)
	for i := range vf.scopes {
		if c := &vf.scopes[i]; c.scope == id && c.refs > 0 {
			return c, int32(i)
		}
	}
	if vf.overflowed == 0 {
		return nil, 0
	}
	hash := hashOfScope(visitor, id)
	for at, slot := sh.byScope.first(hash); slot >= 0; at, slot = sh.byScope.next(at, hash) {
		if o := sh.overflow.at(slot); o.visitor == visitor && o.scope == id {
			return &o.scopeCount, slot + ownScopes
		}
	}
	return nil, 0
}

// scopeAt returns the scope of a visitor in a slot.
func (sh *visitorShard) scopeAt(vf *visitorFlights, slot int32) *scopeCount {
	if slot < ownScopes {
		return &vf.scopes[slot]
	}
	return &sh.overflow.at(slot - ownScopes).scopeCount
}

// addScope adds a scope that none of the visitor's bids in flight has, and returns it and
// its slot.
func (sh *visitorShard) addScope(visitor int32, id rtb.ScopeID) (*scopeCount, int32) {
	vf := sh.visitors.at(visitor)
	for i := range vf.scopes {
		if c := &vf.scopes[i]; c.refs == 0 {
			*c = scopeCount{scope: id}
			return c, int32(i)
		}
	}
	vf.overflowed++
	slot := sh.overflow.take()
	o := sh.overflow.at(slot)
	*o = overflowScope{scopeCount{scope: id}, visitor}
	sh.byScope.add(hashOfScope(visitor, id), slot)
	return &o.scopeCount, slot + ownScopes
}

// dropScope removes the scope in a slot, which no bid in flight has any more.
func (sh *visitorShard) dropScope(visitor, slot int32) {
	if slot < ownScopes {
		return
	}
	slot -= ownScopes
	sh.byScope.remove(hashOfScope(visitor, sh.overflow.at(slot).scope), slot)
	sh.overflow.put(slot)
	sh.visitors.at(visitor).overflowed--
}

// record adds a flight and returns its slot.
func (sh *visitorShard) record(scopes *scopeSlots) int32 {
	slot := sh.flights.take()
	*sh.flights.at(slot) = flight{scopeSlots: *scopes, prev: -1, next: -1}
	return slot
}

// scopesOf returns the slots of a bid's scopes.
func (sh *visitorShard) scopesOf(f *flightRef) (scopes scopeSlots) {
	if f.slot >= 0 {
		return sh.flights.at(f.slot).scopeSlots
	}
	for slot := range int32(ownScopes) {
		if f.own&(1<<slot) != 0 {
			scopes.add(slot)
		}
	}
	return scopes
}

// unqueue takes a flight out of the queue of impressions.
func (sh *visitorShard) unqueue(vf *visitorFlights, i int32) {
	fl := sh.flights.at(i)
	if !fl.queued {
		return
	}
	fl.queued = false
	if fl.prev >= 0 {
		sh.flights.at(fl.prev).next = fl.next
	} else {
		vf.first = fl.next
	}
	if fl.next >= 0 {
		sh.flights.at(fl.next).prev = fl.prev
	} else {
		vf.last = fl.prev
	}
	for _, slot := range fl.at[:fl.n] {
		sh.scopeAt(vf, slot).seen--
	}
}
