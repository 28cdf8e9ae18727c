package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// place is a kind of impression whose prices are alike: an exchange and a kind of slot.
type place struct{ exchange, slot string }

// maxPlaces limits the kinds of slots that are told apart; the others share one.
const maxPlaces = 200

// cell is what the log tells about one place.
type cell struct {
	sightings
	wins, billed, clicks, conversions int
	tried, unwinnable                 int
	told                              bool // the exchange tells the minimum to win

	prices   distribution
	resample [replicas]distribution
}

// Survey is what a first pass over a log finds: the market as the notices describe it,
// and which lines and exchanges the records have.
type Survey struct {
	Market MarketInfo

	cells     map[place]*cell
	exchanges map[string]*cell
	lines     map[rtb.LineID]int
	records   int
	configs   map[string]int
	sampled   int
	sampledAs float64
	badFacts  int
}

// MarketInfo counts what is known of the price to beat of the bids in the log.
type MarketInfo struct {
	Bids       int `json:"bids"` // recorded
	Won        int `json:"won"`
	Exact      int `json:"exact"`      // the price to beat is known
	AtMost     int `json:"at_most"`    // a first-price win: it is at most the bid
	Above      int `json:"above"`      // a loss: it is above the bid
	Unwinnable int `json:"unwinnable"` // refused for another reason than the price
	Unknown    int `json:"unknown"`    // no notice came
	Floor      int `json:"floor"`      // of the exact ones: nothing but the floor was to be beaten
	// Orphans are won bids whose notices are in the log and whose bid record is not.
	Orphans int `json:"orphans,omitempty"`
	// BadFacts are lines of the log of facts that could not be read.
	BadFacts int           `json:"bad_facts,omitempty"`
	Places   []MarketPlace `json:"places,omitempty"`
}

// MarketPlace is the estimated distribution of the price to beat in one kind of slot, as
// CPM in the currency of the bids.
type MarketPlace struct {
	Exchange  string     `json:"exchange"`
	Slot      string     `json:"slot"`
	Bids      int        `json:"bids"`
	Quartiles [3]rtb.CPM `json:"quartiles"`
}

// Scan makes a survey of a log. records are read once; the facts of o.Notices too. Lines
// that cannot be read are left for Run to report.
func Scan(ctx context.Context, o *Options, records iter.Seq2[*events.BidRecord, error]) (*Survey, error) {
	s := &Survey{cells: map[place]*cell{}, exchanges: map[string]*cell{}, lines: map[rtb.LineID]int{}, configs: map[string]int{}}
	var j *joiner
	if o.Notices != nil {
		j = newJoiner(o.Notices(), o.window(), func(error) { s.badFacts++ })
		defer j.end()
	}
	for rec, err := range records {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, errors.New("interrupted before the first record was replayed: the first pass over the log was not complete")
		}
		if err != nil || !o.wants(rec) {
			continue
		}
		s.record(rec, o, j)
		if j == nil && s.records >= scanned {
			break
		}
	}
	if j != nil {
		j.end()
		s.Market.Orphans = j.orphans
		s.fit()
	}
	s.Market.BadFacts = s.badFacts
	return s, nil
}

// scanned is how many records are read for the names in them where there are no facts.
const scanned = 10_000

// record adds one record.
func (s *Survey) record(rec *events.BidRecord, o *Options, j *joiner) {
	s.records++
	s.configs[rec.Config]++
	if rec.SampleWeight > 1 {
		s.sampled++
		s.sampledAs += rec.SampleWeight
	}
	if j != nil {
		j.until(rec.TS)
	}
	if rec.Decision == nil {
		return
	}
	for i := range rec.Decision.Dropped {
		d := &rec.Decision.Dropped[i]
		s.lines[rtb.LineID{Advertiser: d.Advertiser, Campaign: d.Campaign, Line: d.Line}]++
	}
	for i := range rec.Decision.Bids {
		b := &rec.Decision.Bids[i]
		s.lines[rtb.LineID{Advertiser: b.Advertiser, Campaign: b.Campaign, Line: b.Line}]++
		if j != nil {
			t := j.of(b.BidID)
			s.bid(rec, b, t, o.sighting(rec, b, t, j))
		}
	}
}

// bid adds one recorded bid.
func (s *Survey) bid(rec *events.BidRecord, b *events.DecisionBid, t *told, seen sighting) {
	c := s.cell(place{rec.Exchange, slotKind(rec.Request, b.ImpID)})
	m := &s.Market
	m.Bids++
	switch seen.certainty {
	case exact:
		m.Exact++
		if seen.price <= seen.floor {
			m.Floor++
		}
	case atMost:
		m.AtMost++
	case above:
		m.Above++
	case unwinnable:
		m.Unwinnable++
		c.unwinnable++
	default:
		m.Unknown++
	}
	c.tried++
	c.told = c.told || t != nil && t.minToWin > 0
	c.add(&seen)
	if t == nil || !t.won {
		return
	}
	m.Won++
	c.wins++
	c.billed += count(t.billed)
	c.clicks += count(t.clicked)
	c.conversions += count(t.converted)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// cell returns the cell of a place, and makes it where there is none.
func (s *Survey) cell(p place) *cell {
	if c := s.cells[p]; c != nil {
		return c
	}
	if len(s.cells) >= maxPlaces {
		p.slot = "other"
	}
	c := s.cells[p]
	if c == nil {
		c = &cell{}
		s.cells[p] = c
	}
	return c
}

// find returns the cell by which an impression's price is estimated: of its place, else
// of its exchange; nil if the log tells nothing about the exchange.
func (s *Survey) find(exchange, slot string) *cell {
	if c := s.cells[place{exchange, slot}]; c != nil && c.n > 0 {
		return c
	}
	return s.exchanges[exchange]
}

// fit estimates the prices of every place.
func (s *Survey) fit() {
	for p, c := range s.cells {
		e := s.exchanges[p.exchange]
		if e == nil {
			e = &cell{}
			s.exchanges[p.exchange] = e
		}
		e.merge(&c.sightings)
		e.wins, e.billed, e.clicks, e.conversions = e.wins+c.wins, e.billed+c.billed, e.clicks+c.clicks, e.conversions+c.conversions
		e.told = e.told || c.told
		e.tried, e.unwinnable = e.tried+c.tried, e.unwinnable+c.unwinnable
	}
	for id, e := range s.exchanges {
		if e.n == 0 {
			delete(s.exchanges, id)
			continue
		}
		e.estimate(rand.New(rand.NewPCG(hashOf(id), 1)), &e.sightings)
	}
	for _, p := range slices.SortedFunc(maps.Keys(s.cells), comparePlaces) {
		c := s.cells[p]
		if c.n == 0 {
			continue
		}
		prior := &c.sightings
		if c.n < minCell {
			prior = &s.exchanges[p.exchange].sightings
		}
		c.estimate(rand.New(rand.NewPCG(hashOf(p.exchange), hashOf(p.slot))), prior)
		s.Market.Places = append(s.Market.Places, MarketPlace{Exchange: p.exchange, Slot: p.slot, Bids: int(c.n),
			Quartiles: [3]rtb.CPM{c.prices.quantile(.25), c.prices.quantile(.5), c.prices.quantile(.75)}})
	}
}

func comparePlaces(a, b place) int {
	if c := strings.Compare(a.exchange, b.exchange); c != 0 {
		return c
	}
	return strings.Compare(a.slot, b.slot)
}

// estimate fits the cell's prices, and its resamples.
func (c *cell) estimate(r *rand.Rand, prior *sightings) {
	q := prior.logNormal()
	p := c.fit(&q)
	c.prices.set(&p)
	for k := range c.resample {
		again := c.sightings.resample(r)
		if prior != &c.sightings {
			q = prior.resample(r).logNormal()
		} else {
			q = again.logNormal()
		}
		p = again.fit(&q)
		c.resample[k].set(&p)
	}
}

// slotKind returns the kind of slot of an impression in a request: video, audio, native,
// or a banner with its first size.
func slotKind(request []byte, impID string) string {
	var rq struct {
		Imp []struct {
			ID     json.RawMessage
			Banner *struct {
				W, H   json.Number
				Format []struct{ W, H json.Number }
			}
			Video, Audio, Native json.RawMessage
		}
	}
	if json.Unmarshal(request, &rq) != nil {
		return "other"
	}
	for i := range rq.Imp {
		imp := &rq.Imp[i]
		if id := strings.Trim(string(imp.ID), `"`); id != impID {
			continue
		}
		switch {
		case imp.Video != nil:
			return "video"
		case imp.Audio != nil:
			return "audio"
		case imp.Native != nil:
			return "native"
		case imp.Banner == nil:
			return "other"
		case len(imp.Banner.Format) > 0:
			return "banner " + string(imp.Banner.Format[0].W) + "x" + string(imp.Banner.Format[0].H)
		}
		return "banner " + string(imp.Banner.W) + "x" + string(imp.Banner.H)
	}
	return "other"
}

// Warnings returns how the configurations do not fit the log, as sentences.
func (s *Survey) Warnings(o *Options) (out []string) {
	configured := map[rtb.LineID]bool{}
	var have []string
	for _, l := range o.Config.Index.Lines() {
		configured[l.ID] = true
		have = append(have, l.ID.String())
	}
	var missing, unseen []string
	for id := range s.lines {
		if !configured[id] && id.Line != "" {
			missing = append(missing, id.String())
		}
	}
	for _, l := range o.Config.Index.Lines() {
		if s.lines[l.ID] == 0 {
			unseen = append(unseen, l.ID.String())
		}
	}
	slices.Sort(missing)
	slices.Sort(unseen)
	if len(missing) > 0 {
		out = append(out, fmt.Sprintf("the log has lines that the configuration does not have: %s; it has %s", several(missing), several(have)))
	}
	if len(unseen) > 0 && len(s.lines) > 0 {
		out = append(out, fmt.Sprintf("the configuration has lines that no record in the log mentions: %s", several(unseen)))
	}
	if len(s.configs) > 0 && s.configs[o.Config.Hash] == 0 && (o.Against == nil || s.configs[o.Against.Hash] == 0) {
		hashes := slices.Sorted(maps.Keys(s.configs))
		if hashes = slices.DeleteFunc(hashes, func(h string) bool { return h == "" }); len(hashes) > 0 {
			out = append(out, fmt.Sprintf("the records were made with the configuration %s; this replay uses %s", several(hashes), o.Config.Hash))
		}
	}
	if s.sampled > 0 {
		out = append(out, fmt.Sprintf("%d records are a sample of about %.0f requests without a bid; each is replayed once, so bids gained on them are counted too low: "+
			"set logs.bids.known_nobid_pct to 100 to record them all", s.sampled, s.sampledAs))
	}
	return out
}

// several joins names, at most eight of them.
func several(names []string) string {
	if more := len(names) - 8; more > 0 {
		return strings.Join(names[:8], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// hashOf is FNV-1a.
func hashOf(parts ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return h
}

// wants reports whether the options include a record; its time and exchange are set.
func (o *Options) wants(rec *events.BidRecord) bool {
	return (o.Only == "" || rec.Exchange == o.Only) && !rec.TS.Before(o.From) && (o.To.IsZero() || rec.TS.Before(o.To))
}

// sighting returns what the notices of a recorded bid tell.
func (o *Options) sighting(rec *events.BidRecord, b *events.DecisionBid, t *told, j *joiner) sighting {
	return sightingOf(b, t, o.reportsLosses(rec.Exchange), o.SilentLosses || j.complete(rec.TS))
}

// reportsLosses reports whether an exchange reports lost bids.
func (o *Options) reportsLosses(exchange string) bool {
	if o.SilentLosses {
		return false
	}
	p := o.Config.Profiles[exchange]
	return p == nil || p.Sends(rtb.NoticeLoss)
}

// window returns how long after a bid its notices are looked for.
func (o *Options) window() time.Duration {
	if o.Window > 0 {
		return o.Window
	}
	return DefaultWindow
}
