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

	offerShards = 64
	offerSets   = 256 // per shard
	offerWays   = 4   // offers per set
)

// offer is one impression that was offered within SamePeriod.
type offer struct {
	impression uint64
	request    uint64 // the request that may bid on it; 0: none yet
	at         int64  // of the first offer, or of the bid, in milliseconds since 1970
	seen       uint8  // paths of its market that offered it
}

func (o *offer) live(at int64) bool {
	age := at - o.at
	return o.impression != 0 && age < SamePeriod.Milliseconds() && age > -SamePeriod.Milliseconds()
}

// offerShard holds some of the offers. While mu is held, a market's lock may be taken.
type offerShard struct {
	mu   sync.Mutex
	sets [offerSets][offerWays]offer
}

// paths decides over which path an impression is bid on.
type paths struct {
	shards  [offerShards]offerShard
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
	sh := p.paths.shard(o.Impression)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if x, _ := sh.find(o.Impression, o.At.UnixMilli()); x.impression == o.Impression && x.request == o.Request {
		x.request = 0
	}
}

func (s *paths) shard(impression uint64) *offerShard { return &s.shards[impression%offerShards] }

// find returns the live offer of an impression, or the slot that a new one takes: an
// unused one, or else the oldest. full reports whether that one is live.
func (sh *offerShard) find(impression uint64, at int64) (x *offer, full bool) {
	set := &sh.sets[impression/offerShards%offerSets]
	x = &set[0]
	for i := range set {
		if set[i].impression == impression && set[i].live(at) {
			return &set[i], false
		}
		if !set[i].live(at) && x.live(at) || set[i].live(at) == x.live(at) && set[i].at < x.at {
			x = &set[i]
		}
	}
	return x, x.live(at)
}

func (s *paths) enter(o *rtb.PathOffer) (rtb.PathHandle, rtb.NoBidReason) {
	at := o.At.UnixMilli()
	sh := s.shard(o.Impression)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	x, full := sh.find(o.Impression, at)
	known := x.impression == o.Impression && x.live(at)
	if known && x.request != 0 && x.request != o.Request {
		if !o.Dry {
			s.repeated.Add(1)
			_, x.seen, _ = s.markets.offered(o, x.seen)
		}
		return 0, rtb.NoBidSameImpression
	}
	if o.Dry {
		seen := uint8(0)
		if known {
			seen = x.seen
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
		*x = offer{impression: o.Impression, at: at}
	}
	if x.request == o.Request {
		return s.markets.handle(o), rtb.NoBidNone
	}
	h, seen, cheaper := s.markets.offered(o, x.seen)
	x.seen = seen
	if o.Cheaper = cheaper; cheaper {
		s.declined.Add(1)
		return 0, rtb.NoBidSameImpression
	}
	x.request, x.at = o.Request, at
	return h, rtb.NoBidNone
}
