package pacing

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/rtb"
)

// placeKey identifies auctions whose prices are alike: an exchange and a kind of slot.
// Amounts of different currencies are never mixed.
type placeKey struct {
	exchange string
	currency rtb.Currency
	slot     rtb.Slot
}

// String returns the key's name in the store.
func (k placeKey) String() string { return fmt.Sprintf("%s/%s/%d", k.currency, k.exchange, k.slot) }

// place learns the prices of one kind of slot on one exchange from the outcomes of all
// lines' bids.
type place struct {
	key   placeKey
	curve atomic.Pointer[curve]

	// Pacer.mu protects the remaining fields.
	land     landscape
	counts   *[2]rateCounts // by memory; nil until an outcome of a first-price auction is learned
	rates    [2]*winRates   // as of the last freeze; nil before
	surprise [2]float64     // of the latest outcomes, decayed
	fresh    int            // outcomes since the curve was frozen
	frozenAt time.Time
	dirty    bool // learned since it was stored
}

// maxPlaces bounds the places in memory; bids elsewhere are not shaded.
const maxPlaces = 4096

// Intervals at which a place's curve is recomputed.
const (
	freezeEvery = time.Minute
	freezeYoung = 5 * time.Second // after a tenth more outcomes
)

// newPlace asks for a place that does not exist yet.
type newPlace struct {
	key   placeKey
	worth float64 // micros of one impression
}

// waitingPlaces bounds the places that are asked for between two Steps.
const waitingPlaces = 64

// place returns the place of a request; nil until it has been created, which the next
// Step does.
func (p *Pacer) place(k placeKey, worth float64) *place {
	if pl := (*p.places.Load())[k]; pl != nil {
		return pl
	}
	select {
	case p.newPlaces <- newPlace{k, worth}:
	default:
	}
	return nil
}

// openPlaces creates the places that were asked for. p.mu is held.
func (p *Pacer) openPlaces() {
	for {
		select {
		case n := <-p.newPlaces:
			if known := *p.places.Load(); known[n.key] == nil && len(known) < maxPlaces {
				pl := &place{key: n.key}
				pl.land.begin(math.Log(max(n.worth, 1)))
				p.addPlace(pl)
			}
		default:
			return
		}
	}
}

func (p *Pacer) addPlace(pl *place) {
	all := maps.Clone(*p.places.Load())
	all[pl.key] = pl
	p.places.Store(&all)
}

// refreshPlaces freezes what was learned for the bid path. p.mu is held.
func (p *Pacer) refreshPlaces(now time.Time) {
	for _, pl := range *p.places.Load() {
		pl.refresh(now)
	}
}

func (pl *place) refresh(now time.Time) {
	age := now.Sub(pl.frozenAt)
	if age < freezeYoung || age < freezeEvery && float64(pl.fresh) < pl.land.Seen/10 {
		return
	}
	if pl.fresh == 0 && age < 10*freezeEvery { // the curve depends on the time of day too
		return
	}
	if pl.counts != nil && !pl.frozenAt.IsZero() {
		for i := range pl.counts {
			pl.counts[i].fade(age.Seconds(), rateMemories[i])
		}
	}
	c := pl.land.freeze(rtb.SecondOf(now))
	if pl.counts != nil && pl.counts[0].Seen >= leastOutcomes {
		for i := range pl.counts {
			pl.rates[i] = pl.counts[i].solve(func(lnPrice float64) float64 { return normCDF((lnPrice - pl.land.W[featConst]) / c.sigma) })
		}
		c.rates = mix(pl.rates, pl.surprise)
	}
	pl.curve.Store(c)
	pl.fresh, pl.frozenAt = 0, now
}

// learn takes the matured outcome of a bid.
func (pl *place) learn(r *reservation) {
	if pl == nil || r.cost <= 0 || r.value <= 0 {
		return
	}
	pl.fresh++
	pl.land.Seen++
	pl.dirty = true
	var x [features]float64
	pl.land.fill(&x, math.Log(float64(r.value)), r.issued)
	lnBid := math.Log(float64(r.cost))
	switch {
	case r.toWin > 0:
		pl.land.exact(&x, math.Log(float64(r.toWin)))
	case r.paid > 0:
		pl.land.won(&x, lnBid)
	default:
		pl.land.lost(&x, lnBid)
	}
	if r.firstPrice {
		pl.learnRates(r)
	}
}

// learnRates counts the outcome of a bid in a first-price auction.
func (pl *place) learnRates(r *reservation) {
	if pl.counts == nil {
		pl.counts = &[2]rateCounts{}
	}
	for i := range pl.counts {
		if w := pl.rates[i]; w != nil {
			pl.surprise[i] += w.surprise(float64(r.cost), r.paid > 0) - pl.surprise[i]/lossMemory
		}
		if r.toWin > 0 {
			pl.counts[i].price(float64(r.toWin))
		} else {
			pl.counts[i].bid(float64(r.cost), r.paid > 0)
		}
	}
}

// storedPlace is a place in the store.
type storedPlace struct {
	Exchange  string         `json:"exchange"`
	Currency  rtb.Currency   `json:"currency"`
	Slot      rtb.Slot       `json:"slot"`
	Landscape *landscape     `json:"landscape"`
	Counts    *[2]rateCounts `json:"counts,omitempty"`
	// Rates are counts with one memory, as they were stored before.
	Rates *rateCounts `json:"rates,omitempty"`
}

// place returns the place that was stored.
func (s *storedPlace) place() *place {
	if s.Counts == nil && s.Rates != nil {
		s.Counts = &[2]rateCounts{*s.Rates, *s.Rates}
	}
	return &place{key: placeKey{s.Exchange, s.Currency, s.Slot}, land: *s.Landscape, counts: s.Counts}
}

// savePlaces stores up to a number of places that have learned. p.mu is held.
func (p *Pacer) savePlaces(most int) error {
	for _, pl := range *p.places.Load() {
		if !pl.dirty || most == 0 {
			continue
		}
		most--
		k := pl.key
		text, err := json.Marshal(storedPlace{Exchange: k.exchange, Currency: k.currency, Slot: k.slot, Landscape: &pl.land, Counts: pl.counts})
		if err != nil {
			return fmt.Errorf("cannot encode prices of %s: %w", k, err)
		}
		if err := p.db.Put(nameKey(keyPlace, k.String()), text); err != nil {
			return fmt.Errorf("cannot store prices of %s: %w", k, err)
		}
		pl.dirty = false
	}
	return nil
}

// loadPlaces reads the places. Those that cannot be read start again.
func (p *Pacer) loadPlaces() error {
	return each(p.db, keyPlace, func(k, v []byte) error {
		var s storedPlace
		if err := json.Unmarshal(v, &s); err != nil || s.Landscape == nil || !s.Landscape.sound() {
			p.o.Logger.Warn("prices of an exchange are learned again: they cannot be read", zap.ByteString("place", k), zap.Error(err))
			return nil
		}
		p.addPlace(s.place())
		return nil
	})
}
