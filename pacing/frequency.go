package pacing

import (
	"sync"
	"time"

	"rebound/rtb"
)

// Frequency caps count impressions from the profile, and bids in flight from
// here, checked and counted in one step under the visitor's shard, so that
// requests in parallel cannot pass a cap together.

const (
	visitorShards = 64
	maxScopes     = 8 // of one bid; more is a refusal, never a cap that is not kept
	// maxInFlight bids of a visitor may be unanswered within flightWindow where the
	// cap has a minimum gap.
	maxInFlight  = 3
	flightWindow = 30 * time.Second
	// settledMemory is how long an impression counts from here when the profile does
	// not show it.
	settledMemory = time.Minute
)

// flight is one bid of a visitor that may become an impression, or became one
// that the profile may not have yet.
type flight struct {
	bid    rtb.BidID
	scopes [maxScopes]rtb.ScopeID
	n      int8
	next   int32 // of the same visitor; -1 at the end
	issued rtb.Second
	seen   uint64 // sequence of the fact that made it an impression; 0 none
	seenAt rtb.Second
}

func (f *flight) has(s rtb.ScopeID) bool {
	for _, x := range f.scopes[:f.n] {
		if x == s {
			return true
		}
	}
	return false
}

// visitorShard holds the flights of a part of the visitors; mu protects it and
// is a leaf: nothing else is locked under it.
type visitorShard struct {
	mu    sync.Mutex
	heads map[rtb.Key]int32
	slab  []flight
	spare []int32
	_     [16]byte
}

type flights struct{ shards [visitorShards]visitorShard }

func newFlights() *flights {
	f := &flights{}
	for i := range f.shards {
		f.shards[i].heads = make(map[rtb.Key]int32)
	}
	return f
}

func (f *flights) shard(k rtb.Key) *visitorShard { return &f.shards[k[0]%visitorShards] }

// reserve checks every cap of a bid and counts the bid against them.
func (f *flights) reserve(bid rtb.BidID, v *rtb.Visitor, caps []rtb.FrequencyCap, now rtb.Second) rtb.NoBidReason {
	fl := flight{bid: bid, issued: now, next: -1}
	for i := range caps {
		if fl.has(caps[i].Scope) {
			continue
		}
		if int(fl.n) == maxScopes {
			return rtb.NoBidError
		}
		fl.scopes[fl.n] = caps[i].Scope
		fl.n++
	}
	sh := f.shard(v.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	head, ok := sh.heads[v.Key]
	if !ok {
		head = -1
	}
	for i := range caps {
		if r := sh.allowed(head, v, &caps[i], now); r != rtb.NoBidNone {
			return r
		}
	}
	fl.next = head
	var slot int32
	if n := len(sh.spare); n > 0 {
		slot, sh.spare = sh.spare[n-1], sh.spare[:n-1]
		sh.slab[slot] = fl
	} else {
		slot = int32(len(sh.slab))
		sh.slab = append(sh.slab, fl)
	}
	sh.heads[v.Key] = slot
	return rtb.NoBidNone
}

// allowed reports, as a reason, whether one more bid keeps a cap. Max counts impressions and
// bids in flight; MinGap counts impressions only, with few bids in flight.
func (sh *visitorShard) allowed(head int32, v *rtb.Visitor, c *rtb.FrequencyCap, now rtb.Second) rtb.NoBidReason {
	count, waiting := 0, 0
	state := v.Scope(c.Scope)
	if state != nil {
		count = impressions(state, before(now, c.Per))
		if now < after(state.Last, c.MinGap) {
			return rtb.NoBidFrequency
		}
	}
	for i := head; i >= 0; i = sh.slab[i].next {
		f := &sh.slab[i]
		if f.seen == 0 && now < after(f.issued, flightWindow) {
			waiting++
		}
		if !f.has(c.Scope) || f.seen != 0 && v.Position >= f.seen {
			continue
		}
		if f.seen == 0 {
			count++
			continue
		}
		if now < after(f.seenAt, c.Per) {
			count++
		}
		if now < after(f.seenAt, c.MinGap) {
			return rtb.NoBidFrequency
		}
	}
	if c.Max > 0 && count >= c.Max {
		return rtb.NoBidFrequency
	}
	if c.MinGap > 0 && waiting >= maxInFlight {
		return rtb.NoBidInFlight
	}
	return rtb.NoBidNone
}

// impressions counts those after from, whole buckets that reach past it included.
func impressions(s *rtb.FrequencyState, from rtb.Second) int {
	n := 0
	for i := range s.Buckets {
		if uint64(s.Buckets[i].Start)+uint64(s.Buckets[i].Span) > uint64(from) {
			n += int(s.Buckets[i].Count)
		}
	}
	return n
}

// drop forgets a flight.
func (f *flights) drop(visitor rtb.Key, bid rtb.BidID) {
	sh := f.shard(visitor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	prev := int32(-1)
	i, ok := sh.heads[visitor]
	if !ok {
		return
	}
	for ; i >= 0; prev, i = i, sh.slab[i].next {
		if sh.slab[i].bid != bid {
			continue
		}
		next := sh.slab[i].next
		switch {
		case prev >= 0:
			sh.slab[prev].next = next
		case next >= 0:
			sh.heads[visitor] = next
		default:
			delete(sh.heads, visitor)
		}
		sh.spare = append(sh.spare, i)
		return
	}
}

// impression marks a flight as shown by the fact seq at a time; the first counts.
func (f *flights) impression(visitor rtb.Key, bid rtb.BidID, seq uint64, at rtb.Second) {
	sh := f.shard(visitor)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, ok := sh.heads[visitor]
	if !ok {
		return
	}
	for ; i >= 0; i = sh.slab[i].next {
		if x := &sh.slab[i]; x.bid == bid && x.seen == 0 {
			x.seen, x.seenAt = seq, at
			return
		}
	}
}
