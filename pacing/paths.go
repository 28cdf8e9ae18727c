package pacing

import (
	"sync"
	"sync/atomic"
	"time"

	"rebound/rtb"
)

// The same impression may be offered over several supply paths: by several exchanges,
// or by resellers of one. Only one path gets a bid, so that we never compete with
// ourselves or pay twice: the first that is offered, unless another one that is about
// to be offered is known to be cheaper (see markets). Memory is fixed: where more
// impressions are offered than it holds, the oldest is forgotten and counted.
const (
	// SamePeriod is how long after an offer another one of the same visitor, placement,
	// page and size is the same impression. Header bidding auctions end within 1 to 2 s;
	// placements are refreshed after 30 s or more.
	SamePeriod = 2 * time.Second

	offerSets = 16384
	offerWays = 5 // offers per set, so that it fills two cache lines
)

// offer is one impression that was offered within SamePeriod.
type offer struct {
	impression uint64
	request    uint64 // the request that may bid on it; 0: none yet
	state      int64  // time of the first offer, or of the bid, in milliseconds since 1970, and in the lowest bits the paths of its market that offered it
}

func (o *offer) at() int64   { return o.state >> pathsPerPlace }
func (o *offer) seen() uint8 { return uint8(o.state & (1<<pathsPerPlace - 1)) }

func (o *offer) set(at int64, seen uint8) { o.state = at<<pathsPerPlace | int64(seen) }

func (o *offer) live(at int64) bool {
	age := at - o.at()
	return o.impression != 0 && age < SamePeriod.Milliseconds() && age > -SamePeriod.Milliseconds()
}

// offerSet holds some of the offers. While mu is held, a market's lock may be taken.
type offerSet struct {
	mu     sync.Mutex
	offers [offerWays]offer
}

// paths decides over which path an impression is bid on.
type paths struct {
	sets    [offerSets]offerSet
	markets markets

	repeated, declined, forgotten atomic.Uint64
}

func newPaths() *paths { return &paths{} }

// PathStats count the decisions between supply paths.
type PathStats struct {
	Repeated  uint64 // offers of an impression that already had a bid over another path
	Declined  uint64 // offers that were left for a cheaper path
	Forgotten uint64 // impressions forgotten too early, because too many were offered
}

func (s *paths) stats() PathStats {
	return PathStats{Repeated: s.repeated.Load(), Declined: s.declined.Load(), Forgotten: s.forgotten.Load()}
}

// EnterPath reports whether an impression may be bid on over the path of o; the reason
// same_impression says that another path has a bid or is likely to be cheaper. The
// impression then belongs to the request of o until [Pacer.LeavePath] or the end of
// [SamePeriod]. A request may enter more than once.
func (p *Pacer) EnterPath(o *rtb.PathOffer) (rtb.PathHandle, rtb.NoBidReason) {
	if o.Impression == 0 {
		return 0, rtb.NoBidNone
	}
	return p.paths.enter(o)
}

// LeavePath ends the claim of a request that sent no bid for the impression.
func (p *Pacer) LeavePath(o *rtb.PathOffer) {
	if o.Impression == 0 || o.Dry {
		return
	}
	set := p.paths.set(o.Impression)
	set.mu.Lock()
	defer set.mu.Unlock()
	if x, _ := set.find(o.Impression, o.At.UnixMilli()); x.impression == o.Impression && x.request == o.Request {
		x.request = 0
	}
}

func (s *paths) set(impression uint64) *offerSet { return &s.sets[impression%offerSets] }

// find returns the live offer of an impression, or the slot that a new one takes: an
// unused one, or else the oldest. full reports whether that one is live.
func (set *offerSet) find(impression uint64, at int64) (x *offer, full bool) {
	x = &set.offers[0]
	full = x.live(at)
	for i := range set.offers {
		o := &set.offers[i]
		live := o.live(at)
		if live && o.impression == impression {
			return o, false
		}
		if full && !live || full == live && o.state < x.state {
			x, full = o, live
		}
	}
	return x, full
}

func (s *paths) enter(o *rtb.PathOffer) (rtb.PathHandle, rtb.NoBidReason) {
	at := o.At.UnixMilli()
	set := s.set(o.Impression)
	set.mu.Lock()
	defer set.mu.Unlock()
	x, full := set.find(o.Impression, at)
	known := x.impression == o.Impression && x.live(at)
	if known && x.request != 0 && x.request != o.Request {
		if !o.Dry {
			s.repeated.Add(1)
			_, seen, _ := s.markets.offered(o, x.seen())
			x.set(x.at(), seen)
		}
		return 0, rtb.NoBidSameImpression
	}
	if o.Dry {
		seen := uint8(0)
		if known {
			seen = x.seen()
		}
		if o.Cheaper = s.markets.peek(o, seen); o.Cheaper {
			return 0, rtb.NoBidSameImpression
		}
		return 0, rtb.NoBidNone
	}
	if !known {
		if full {
			s.forgotten.Add(1)
		}
		*x = offer{impression: o.Impression}
		x.set(at, 0)
	}
	if x.request == o.Request {
		return s.markets.handle(o), rtb.NoBidNone
	}
	h, seen, cheaper := s.markets.offered(o, x.seen())
	x.set(x.at(), seen)
	if o.Cheaper = cheaper; cheaper {
		s.declined.Add(1)
		return 0, rtb.NoBidSameImpression
	}
	x.request = o.Request
	x.set(at, seen)
	return h, rtb.NoBidNone
}
