package pacing

import (
	"math"
	"sync"

	"rebound/rtb"
)

// A market is one size on one site or app. For each of its supply paths it keeps what
// bids over it win and what the wins cost, and how often another path offers the same
// impression later. An offer is declined if a path that has not offered the impression
// yet is cheaper by more than cheaperBy and followed in at least likelyShare of the
// cases. Costs are compared at the lower end of what the wins so far allow, so that a
// path with few wins is tried again. One impression in exploreEvery is bid on over the
// first path that offers it, whatever is known, so that costs stay current; the choice is
// by the impression, so that all of its paths agree.
const (
	marketSets    = 2048
	marketWays    = 4 // markets per set
	pathsPerPlace = 4 // paths per market; the least offered one makes room for a new one

	cheaperBy    = 0.02 // of the cost per won impression
	likelyShare  = 0.9
	exploreEvery = 50
	leastWins    = 20   // before a path's cost counts
	leastOffers  = 50   // before a pair's order counts
	costError    = 1.1  // standard error of the cost with one win, against its mean: that of the number of wins (1) and of the share charged (0.5)
	costMemory   = 4096 // then the sums are halved, so that costs follow the path
	offerMemory  = 4096 // then the counts are halved
)

// pathSums is what is known of one path in a market.
type pathSums struct {
	chances float64 // sum of the estimated chances of the bids
	charged float64 // sum of the shares of the bids that the wins were charged
	wins    uint32
	offers  uint32
	waited  [pathsPerPlace]uint32 // offers of this path before one of the other
	arrived [pathsPerPlace]uint32 // those that the other followed
	_       [8]byte               // fills the cache line
}

// dearer reports whether a is likely to cost more than b by more than cheaperBy.
func (a *pathSums) dearer(b *pathSums) bool {
	return a.wins >= leastWins && b.wins >= leastWins && b.lowCost() < a.lowCost()*(1-cheaperBy)
}

// lowCost returns the lower end of what the path costs, relative to the landscape: the
// share of the bid that a win costs, divided by the wins for each win that the landscape
// predicts, less a standard error. A path that adds a fee to the price wins less with
// the same bids.
func (a *pathSums) lowCost() float64 {
	n := float64(a.wins)
	return a.charged / n * a.chances / n * (1 - costError/math.Sqrt(n))
}

// placeMarket is one market. A request reads the first cache line and that of its path.
type placeMarket struct {
	id      uint64                // 0: unused
	used    int64                 // when it was last offered, in milliseconds since 1970
	paths   [pathsPerPlace]uint64 // 0: unused
	changed bool                  // since it was stored
	_       [15]byte              // fills the cache line
	sums    [pathsPerPlace]pathSums
}

// marketSet holds some of the markets. mu protects it.
type marketSet struct {
	mu      sync.Mutex
	ids     [marketWays]uint64 // of the markets, next to each other
	_       [24]byte           // fills the cache line
	markets [marketWays]placeMarket
}

// markets holds a fixed number of markets; the one that was not offered for the longest
// time makes room for a new one.
type markets struct {
	sets     [marketSets]marketSet
	saveNext int // the set that is stored next; Pacer.mu protects it
}

func (s *markets) set(id uint64) *marketSet { return &s.sets[id%marketSets] }

// find returns a market, or nil.
func (set *marketSet) find(id uint64) *placeMarket {
	for i, have := range set.ids {
		if have == id {
			return &set.markets[i]
		}
	}
	return nil
}

// add returns a market, creating it if necessary.
func (set *marketSet) add(id uint64, at int64) *placeMarket {
	m := set.find(id)
	if m == nil {
		oldest := 0
		for i := range set.markets {
			if set.markets[i].used < set.markets[oldest].used {
				oldest = i
			}
		}
		m = &set.markets[oldest]
		*m, set.ids[oldest] = placeMarket{id: id}, id
	}
	m.used, m.changed = max(m.used, at), true
	return m
}

// index returns the index of a path; ok is false if the market does not have it.
func (m *placeMarket) index(path uint64) (i int, ok bool) {
	for i, have := range m.paths {
		if have == path {
			return i, true
		}
	}
	return 0, false
}

// place returns the index of a path, which takes the place of the least offered one if
// it is new. fresh reports whether it is.
func (m *placeMarket) place(path uint64) (i int, fresh bool) {
	if i, ok := m.index(path); ok {
		return i, false
	}
	for j := range m.sums {
		if m.sums[j].offers < m.sums[i].offers {
			i = j
		}
	}
	m.paths[i], m.sums[i] = path, pathSums{}
	for j := range m.sums {
		m.sums[j].waited[i], m.sums[j].arrived[i] = 0, 0
	}
	return i, true
}

// cheaper reports whether a better path than i is likely to offer an impression that the
// paths of seen have offered.
func (m *placeMarket) cheaper(i int, seen uint8, impression uint64) bool {
	if impression>>32%exploreEvery == 0 {
		return false
	}
	a := &m.sums[i]
	for j, path := range m.paths {
		if j == i || seen&(1<<j) != 0 || path == 0 || a.waited[j] < leastOffers {
			continue
		}
		if float64(a.arrived[j]) >= likelyShare*float64(a.waited[j]) && a.dearer(&m.sums[j]) {
			return true
		}
	}
	return false
}

// offered counts the offer of an impression that the paths of seen have offered before,
// and reports whether another path is likely to be cheaper.
func (s *markets) offered(o *rtb.PathOffer, seen uint8) (_ rtb.PathHandle, _ uint8, cheaper bool) {
	id := marketID(o.Market)
	set := s.set(id)
	set.mu.Lock()
	defer set.mu.Unlock()
	m := set.add(id, o.At.UnixMilli())
	i, fresh := m.place(o.Path)
	if fresh {
		seen &^= 1 << i // the bit was another path's
	}
	if seen&(1<<i) == 0 {
		m.count(i, seen)
	}
	cheaper = m.cheaper(i, seen, o.Impression)
	return m.handle(i), seen | 1<<i, cheaper
}

// count counts the first offer of an impression by path i, after those of seen.
func (m *placeMarket) count(i int, seen uint8) {
	a := &m.sums[i]
	if a.offers++; a.offers >= offerMemory {
		a.offers /= 2
	}
	for j := range m.sums {
		if j == i {
			continue
		}
		if seen&(1<<j) != 0 {
			m.sums[j].arrived[i]++
			continue
		}
		if a.waited[j]++; a.waited[j] >= offerMemory {
			a.waited[j], a.arrived[j] = a.waited[j]/2, a.arrived[j]/2
		}
	}
}

// peek is offered for an offer that must not be counted.
func (s *markets) peek(o *rtb.PathOffer, seen uint8) (cheaper bool) {
	id := marketID(o.Market)
	set := s.set(id)
	set.mu.Lock()
	defer set.mu.Unlock()
	if m := set.find(id); m != nil {
		if i, ok := m.index(o.Path); ok && m.cheaper(i, seen, o.Impression) {
			return true
		}
	}
	return false
}

// handle returns the handle of a path that has been offered; 0 if it is forgotten.
func (s *markets) handle(o *rtb.PathOffer) rtb.PathHandle {
	id := marketID(o.Market)
	set := s.set(id)
	set.mu.Lock()
	defer set.mu.Unlock()
	if m := set.find(id); m != nil {
		if i, ok := m.index(o.Path); ok {
			return m.handle(i)
		}
	}
	return 0
}

// A handle holds the market's id, the path's index and a one.
const handleBits = 3

// marketID returns the id of a market, which leaves room for the bits of a handle.
func marketID(hash uint64) uint64 { return max(hash>>handleBits, 1) }

func (m *placeMarket) handle(i int) rtb.PathHandle {
	return rtb.PathHandle(m.id<<handleBits | uint64(i)<<1 | 1)
}

// bid records a bid over a path, with its estimated chance to win.
func (s *markets) bid(h rtb.PathHandle, chance float64) {
	s.update(h, func(a *pathSums) { a.chances += chance })
}

// won records that a bid over a path won, and the share of its price that was charged.
func (s *markets) won(h rtb.PathHandle, charged float64) {
	s.update(h, func(a *pathSums) {
		a.charged += charged
		if a.wins++; a.wins >= costMemory {
			a.charged, a.chances, a.wins = a.charged/2, a.chances/2, a.wins/2
		}
	})
}

// update changes what is known of a path, unless the path is forgotten.
func (s *markets) update(h rtb.PathHandle, change func(*pathSums)) {
	if h == 0 {
		return
	}
	id := uint64(h) >> handleBits
	set := s.set(id)
	set.mu.Lock()
	defer set.mu.Unlock()
	if m := set.find(id); m != nil {
		m.changed = true
		change(&m.sums[h>>1%pathsPerPlace])
	}
}
