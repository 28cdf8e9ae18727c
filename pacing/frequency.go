package pacing

import (
	"encoding/binary"
	"sync"
	"time"

	"rebound/rtb"
)

// Frequency caps count impressions from the profile, and bids in flight from
// here, checked and counted in one step under the visitor's shard, so that
// requests in parallel cannot pass a cap together. Bids in flight are counted by
// scope and by second, never listed: a visitor with thousands of them costs a bid no
// more than one with none.

const (
	visitorShards = 16
	maxScopes     = 8 // caps of one bid; a bid with more is refused, so that no cap is ignored
	// MaxInFlight bids of a visitor may be unanswered within FlightWindow where the
	// cap has a minimum gap.
	MaxInFlight = 3
	// FlightWindow is how long a bid counts as unanswered for MaxInFlight.
	FlightWindow = 30 * time.Second
	// settledMemory is how long an impression is counted here if the profile does
	// not contain it.
	settledMemory = time.Minute
)

// scopeSet is the different scopes of a bid's caps, and the visitor whom they cap.
type scopeSet struct {
	ids     [maxScopes]rtb.ScopeID
	n       int8
	visitor rtb.Key
}

// add lists the scopes of a visitor's caps; ok is false where there are too many.
func (s *scopeSet) add(visitor rtb.Key, caps []rtb.FrequencyCap) (ok bool) {
	s.visitor = visitor
next:
	for i := range caps {
		for _, id := range s.ids[:s.n] {
			if id == caps[i].Scope {
				continue next
			}
		}
		if int(s.n) == maxScopes {
			return false
		}
		s.ids[s.n] = caps[i].Scope
		s.n++
	}
	return true
}

// flightRef tells where one bid of a visitor is counted that may become an impression, or
// has become one that may not be in the profile yet. It is part of the bid's reservation.
type flightRef struct {
	visitor int32 // slot of the visitor
	slot    int32 // slot of its flight; -1 if it has none
	issued  rtb.Second
	shard   uint8 // of the visitor
	own     uint8 // the visitor's own scopes that it has, one bit each, if it has no flight
}

// flight is kept of bids that have become impressions, and of those with a scope that is
// not one of the visitor's own.
type flight struct {
	places
	queued     bool   // among the visitor's impressions that the profile does not have
	prev, next int32  // neighbors in that queue; -1 at its ends
	seen       uint64 // sequence of the fact that made it an impression; 0 if none did
}

// places are those of a bid's scopes, see visitorShard.scope.
type places struct {
	at [maxScopes]int32
	n  int8
}

func (p *places) add(place int32) {
	p.at[p.n] = place
	p.n++
}

// scopeCount counts a visitor's flights in one scope.
type scopeCount struct {
	scope rtb.ScopeID
	refs  int32      // flights; 0: unused
	open  int32      // not seen yet
	seen  int32      // seen, and not in the profile
	last  rtb.Second // time of the most recent impression
}

// overflowScope is a scope of a visitor that has no room in its visitorFlights.
type overflowScope struct {
	scopeCount
	visitor int32 // slot of the visitor
}

// visitorFlights are the flights of one visitor, in two cache lines.
type visitorFlights struct {
	key         rtb.Key
	refs        int32  // flights
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

// visitorShard holds the flights of some of the visitors. mu protects it; no other lock
// is taken while mu is held.
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

func (f *flights) shard(k rtb.Key) *visitorShard { return &f.shards[k[0]%visitorShards] }

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

// scope returns one of a visitor's scopes and its place: its index among the visitor's own
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

// scopeAt returns the scope of a visitor at a place.
func (sh *visitorShard) scopeAt(vf *visitorFlights, place int32) *scopeCount {
	if place < ownScopes {
		return &vf.scopes[place]
	}
	return &sh.overflow.at(place - ownScopes).scopeCount
}

// addScope returns a scope that none of the visitor's bids in flight has, and its place.
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

// dropScope removes the scope at a place, which has no flights any more.
func (sh *visitorShard) dropScope(visitor, place int32) {
	if place < ownScopes {
		return
	}
	slot := place - ownScopes
	sh.byScope.remove(hashOfScope(visitor, sh.overflow.at(slot).scope), slot)
	sh.overflow.put(slot)
	sh.visitors.at(visitor).overflowed--
}

// reserve checks every cap of a bid and counts the bid against them.
func (f *flights) reserve(v *rtb.Visitor, caps []rtb.FrequencyCap, set *scopeSet, now rtb.Second) (flightRef, rtb.NoBidReason) {
	sh := f.shard(v.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	at := sh.visitor(&v.Key)
	if at >= 0 {
		vf := sh.visitors.at(at)
		sh.handOver(vf, v.Position)
		if v.Position < vf.handed && len(caps) > 0 {
			return flightRef{}, rtb.NoBidFrequency // read before an impression that is not counted here any more
		}
	}
	for i := range caps {
		if r := sh.allowed(v, at, &caps[i], now); r != rtb.NoBidNone {
			return flightRef{}, r
		}
	}
	return sh.add(at, set, now), rtb.NoBidNone
}

// restore counts a bid of an earlier run.
func (f *flights) restore(set *scopeSet, issued rtb.Second) flightRef {
	sh := f.shard(set.visitor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.add(sh.visitor(&set.visitor), set, issued)
}

// add counts a bid of a visitor whose slot is at, or -1.
func (sh *visitorShard) add(at int32, set *scopeSet, now rtb.Second) flightRef {
	if at < 0 {
		at = sh.visitors.take()
		*sh.visitors.at(at) = visitorFlights{key: set.visitor, first: -1, last: -1}
		sh.byKey.add(hashOfVisitor(&set.visitor), at)
	}
	vf := sh.visitors.at(at)
	vf.refs++
	vf.recent.add(now, 1)
	f, all := flightRef{visitor: at, slot: -1, issued: now, shard: set.visitor[0] % visitorShards}, places{}
	for _, id := range set.ids[:set.n] {
		c, place := sh.scope(at, id)
		if c == nil {
			c, place = sh.addScope(at, id)
		}
		c.refs, c.open = c.refs+1, c.open+1
		all.add(place)
		f.own |= 1 << place // only read if all places are own
	}
	for _, place := range all.at[:all.n] {
		if place >= ownScopes {
			f.slot = sh.record(&all)
			break
		}
	}
	return f
}

// record adds a flight and returns its slot.
func (sh *visitorShard) record(p *places) int32 {
	slot := sh.flights.take()
	*sh.flights.at(slot) = flight{places: *p, prev: -1, next: -1}
	return slot
}

// places returns the places of a bid's scopes.
func (sh *visitorShard) places(f *flightRef) (p places) {
	if f.slot >= 0 {
		return sh.flights.at(f.slot).places
	}
	for place := range int32(ownScopes) {
		if f.own&(1<<place) != 0 {
			p.add(place)
		}
	}
	return p
}

// handOver stops counting the impressions that the profile has at a position.
func (sh *visitorShard) handOver(vf *visitorFlights, position uint64) {
	for vf.first >= 0 {
		i := vf.first
		if sh.flights.at(i).seen > position {
			return
		}
		vf.handed = max(vf.handed, sh.flights.at(i).seen)
		sh.unqueue(vf, i)
	}
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
	for _, place := range fl.at[:fl.n] {
		sh.scopeAt(vf, place).seen--
	}
}

// capUse is how much of a frequency cap a visitor has used.
type capUse struct {
	count int        // impressions and bids in flight
	last  rtb.Second // most recent impression; 0 if there is none
}

// use returns how much of a cap is used. Max counts impressions and bids in flight;
// MinGap counts impressions only, with few bids in flight, so that it does not separate
// the slots of one request. at is the slot of the visitor, or -1.
func (sh *visitorShard) use(v *rtb.Visitor, at int32, c *rtb.FrequencyCap, now rtb.Second) (u capUse) {
	if state := v.Scope(c.Scope); state != nil {
		u.count, u.last = impressions(state, before(now, c.Per)), state.Last
	}
	if at < 0 {
		return u
	}
	if s, _ := sh.scope(at, c.Scope); s != nil {
		u.count += int(s.open + s.seen)
		if s.seen > 0 {
			u.last = max(u.last, s.last)
		}
	}
	return u
}

// inFlight returns how many bids of the visitor with a slot, or -1, are unanswered within
// [FlightWindow].
func (sh *visitorShard) inFlight(at int32, now rtb.Second) int {
	if at < 0 {
		return 0
	}
	return sh.visitors.at(at).recent.within(now)
}

// allowed reports, as a reason, whether one more bid of a visitor, whose slot is at or -1,
// keeps a cap.
func (sh *visitorShard) allowed(v *rtb.Visitor, at int32, c *rtb.FrequencyCap, now rtb.Second) rtb.NoBidReason {
	u := sh.use(v, at, c, now)
	switch {
	case u.last > 0 && now < after(u.last, c.MinGap), c.Max > 0 && u.count >= c.Max:
		return rtb.NoBidFrequency
	case c.MinGap > 0 && sh.inFlight(at, now) >= MaxInFlight:
		return rtb.NoBidInFlight
	}
	return rtb.NoBidNone
}

// impressions counts the impressions after from. A bucket that spans from counts
// completely.
func impressions(s *rtb.FrequencyState, from rtb.Second) int {
	n := 0
	for i := range s.Buckets {
		if uint64(s.Buckets[i].Start)+uint64(s.Buckets[i].Span) > uint64(from) {
			n += int(s.Buckets[i].Count)
		}
	}
	return n
}

// drop stops counting a bid.
func (f *flights) drop(ref *flightRef) {
	sh := &f.shards[ref.shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	vf := sh.visitors.at(ref.visitor)
	p, seen := sh.places(ref), false
	if ref.slot >= 0 {
		sh.unqueue(vf, ref.slot)
		seen = sh.flights.at(ref.slot).seen != 0
		sh.flights.put(ref.slot)
	}
	if !seen {
		vf.recent.add(ref.issued, -1)
	}
	for _, place := range p.at[:p.n] {
		c := sh.scopeAt(vf, place)
		if !seen {
			c.open--
		}
		if c.refs--; c.refs == 0 {
			sh.dropScope(ref.visitor, place)
		}
	}
	if vf.refs--; vf.refs == 0 {
		sh.byKey.remove(hashOfVisitor(&vf.key), ref.visitor)
		sh.visitors.put(ref.visitor)
	}
}

// impression marks a bid as shown by the fact seq at a time; only the first call for a bid
// counts. Facts come in the order of their sequence.
func (f *flights) impression(ref *flightRef, seq uint64, at rtb.Second) {
	sh := &f.shards[ref.shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if ref.slot < 0 {
		p := sh.places(ref)
		ref.slot = sh.record(&p)
	}
	i := ref.slot
	fl := sh.flights.at(i)
	if fl.seen != 0 {
		return
	}
	vf := sh.visitors.at(ref.visitor)
	vf.recent.add(ref.issued, -1)
	fl.seen, fl.queued = max(seq, 1), true
	if fl.prev, fl.next = vf.last, -1; vf.last >= 0 {
		sh.flights.at(vf.last).next = i
	} else {
		vf.first = i
	}
	vf.last = i
	for _, place := range fl.at[:fl.n] {
		c := sh.scopeAt(vf, place)
		c.open, c.seen, c.last = c.open-1, c.seen+1, max(c.last, at)
	}
}
