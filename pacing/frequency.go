package pacing

import (
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

// set lists the scopes of a visitor's caps; ok is false if there are too many.
func (s *scopeSet) set(visitor rtb.Key, caps []rtb.FrequencyCap) (ok bool) {
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
	f, all := flightRef{visitor: at, slot: -1, issued: now, shard: shardOf(set.visitor)}, scopeSlots{}
	for _, id := range set.ids[:set.n] {
		c, slot := sh.scope(at, id)
		if c == nil {
			c, slot = sh.addScope(at, id)
		}
		c.refs, c.open = c.refs+1, c.open+1
		all.add(slot)
		f.own |= 1 << slot // used if no scope is in overflow
	}
	for _, slot := range all.at[:all.n] {
		if slot >= ownScopes {
			f.slot = sh.record(&all)
			break
		}
	}
	return f
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
	scopes, seen := sh.scopesOf(ref), false
	if ref.slot >= 0 {
		sh.unqueue(vf, ref.slot)
		seen = sh.flights.at(ref.slot).seen != 0
		sh.flights.put(ref.slot)
	}
	if !seen {
		vf.recent.add(ref.issued, -1)
	}
	for _, slot := range scopes.at[:scopes.n] {
		c := sh.scopeAt(vf, slot)
		if !seen {
			c.open--
		}
		if c.refs--; c.refs == 0 {
			sh.dropScope(ref.visitor, slot)
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
		scopes := sh.scopesOf(ref)
		ref.slot = sh.record(&scopes)
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
	for _, slot := range fl.at[:fl.n] {
		c := sh.scopeAt(vf, slot)
		c.open, c.seen, c.last = c.open-1, c.seen+1, max(c.last, at)
	}
}
