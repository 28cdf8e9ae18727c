package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/exchange"
	"rebound/internal/spec"
	"rebound/pacing"
	"rebound/rtb"
	"rebound/segments"
	"rebound/tracking"
)

// lab is a whole bidder in memory, with a clock that stands still and random
// numbers that repeat: what try and explain ask. Nothing of it is kept, its links
// are signed with a key that no running bidder knows, and pacing holds nothing
// back.
type lab struct {
	snapshot *config.Snapshot
	now      time.Time
	keyring  *rtb.Keyring
	visitors *segments.Store
	money    *pacing.Pacer
	bidder   *bidder.Bidder
	log      pacing.MemLog
	facts    int
	record   *events.BidRecord // of the last request
}

// labLife is how long a bid of a lab may be open, whatever its impression says.
const labLife = 48 * time.Hour

// labSeed makes the numbers of a lab the same on every run, but for the seed.
func labSeed(seed uint64) (b [32]byte) {
	copy(b[:], "rebound lab")
	for i := range 8 {
		b[24+i] = byte(seed >> (8 * i))
	}
	return b
}

func newLab(s *config.Snapshot, now time.Time, seed uint64) (*lab, error) {
	l := &lab{snapshot: s, now: now, keyring: rtb.NewKeyring(labSeed(0))}
	clock := func() time.Time { return now }
	var err error
	if l.visitors, err = segments.Open(segments.Options{InMemory: true, Dir: "view", CacheBytes: 1 << 20, Keyring: l.keyring}); err != nil {
		return nil, err
	}
	l.log = pacing.MemLog{Stream: "lab", Now: clock, Apply: l.fold}
	l.money, err = pacing.Open(pacing.Options{
		InMemory: true, Run: "lab", Node: nodeName, Append: l.log.Append, IsConflict: pacing.IsConflict, Now: clock, BidLife: labLife,
	})
	if err != nil {
		return nil, errors.Join(err, l.visitors.Close())
	}
	signer, err := tracking.NewSigner([]tracking.Key{{ID: 1, Secret: labSeed(1)}}, s.Listen.PublicURL)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	source := rand.NewChaCha8(labSeed(seed))
	l.bidder = bidder.New(bidder.Options{
		Visitors: l.visitors, Budgets: l.money, Links: signer, Records: l, Clock: clock, Node: nodeName,
		KnownNoBidShare: 1, UnknownNoBidShare: 1, Sources: func() bidder.Source { return source },
	})
	l.bidder.Swap(catalogOf(s))
	plans := s.LinePlans()
	for i := range plans {
		plans[i].Mode, plans[i].CampaignMode = pacing.ASAP, pacing.ASAP
	}
	l.money.SetPlan(plans)
	err = l.put(events.Fact{Kind: events.KindConfig, Config: &events.Config{Hash: s.Hash, ActivatedAt: now, Rules: s.AudienceSet.Rules()}})
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// catalogOf is what a configuration says about bidding, before anything else is
// known of creatives' approval.
func catalogOf(s *config.Snapshot) *bidder.Catalog {
	return &bidder.Catalog{
		Hash: s.Hash, Exchanges: s.Profiles, Index: s.Index, Policy: s.Policy, Rates: s.Rates, EIDSources: s.EIDSources,
		Supply: s.Supply, Approvals: s.Approve(nil),
	}
}

func (l *lab) fold(facts []events.Fact) error {
	return errors.Join(l.visitors.Apply(facts), l.money.Apply(facts))
}

func (l *lab) put(f events.Fact) error {
	l.facts++
	f.ID = fmt.Sprintf("lab:%d", l.facts)
	if f.At.IsZero() {
		f.At = l.now
	}
	return l.log.Append(context.Background(), f)
}

// Borrow lends the one record that the lab keeps.
func (l *lab) Borrow() *events.BidRecord { return &events.BidRecord{} }

// Offer keeps the record of the last request.
func (l *lab) Offer(r *events.BidRecord) { l.record = r }

func (l *lab) close() error {
	var err error
	if l.money != nil {
		err = l.money.Close()
	}
	return errors.Join(err, l.visitors.Close())
}

// past is one event of --event: what the visitor of the request did, and when.
type past struct {
	name, item string
	ago        time.Duration
}

// parsePast reads name, name:item or name:item@ago, such as view_item:SKU7@2h.
func parsePast(text string) (p past, err error) {
	p.ago = time.Minute
	text, ago, timed := strings.Cut(text, "@")
	if timed {
		if p.ago, err = spec.ParseDuration(ago); err != nil {
			return p, err
		}
	}
	p.name, p.item, _ = strings.Cut(text, ":")
	if p.name == "" {
		return p, fmt.Errorf("cannot read event: got %q; want one such as view_item:SKU7@2h", text)
	}
	return p, nil
}

// remember gives whoever the request names a history: with every advertiser, and
// under every identifier that the request brings.
func (l *lab) remember(p *exchange.Profile, body []byte, history []past) error {
	var d exchange.Decoder
	var o rtb.Opportunity
	if err := d.Head(body, p, &o); err != nil || len(o.IDs) == 0 || len(history) == 0 {
		return nil // the answer says what is wrong
	}
	visitor := l.keyring.Key(rtb.IDVisitor, "", []byte("visitor of the lab"))
	for i := range o.IDs {
		if id := &o.IDs[i]; id.Kind == rtb.IDVisitor {
			visitor = l.keyring.Key(rtb.IDVisitor, "", id.Value)
		}
	}
	for i := range o.IDs {
		if err := l.link(p, visitor, &o.IDs[i]); err != nil {
			return err
		}
	}
	for _, h := range history {
		e := &events.Event{Name: h.name, Trust: events.TrustServer}
		if h.item != "" {
			e.Items = []events.Item{{ID: h.item, Quantity: 1}}
		}
		for _, a := range l.snapshot.Index.Advertisers() {
			err := l.put(events.Fact{Kind: events.KindEvent, Advertiser: a.ID, Visitor: visitor, At: l.now.Add(-h.ago), Event: e})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) link(p *exchange.Profile, visitor rtb.Key, id *rtb.ExternalID) error {
	kind, scope := "", ""
	switch id.Kind {
	case rtb.IDEID:
		kind, scope = "eid:"+string(id.Scope), string(id.Scope)
	case rtb.IDIFA:
		kind = "ifa"
	case rtb.IDExchange:
		kind, scope = "b:"+p.IDSpace, p.IDSpace
	default:
		return nil
	}
	key := l.keyring.Key(id.Kind, scope, id.Value)
	return l.put(events.Fact{Kind: events.KindLink, Visitor: visitor,
		Link: &events.Link{LinkKey: events.LinkKey{KeyKind: kind, Key: key}, Provenance: "sync"}})
}

// ready cuts grants, so that bids can be covered.
func (l *lab) ready() {
	for range 3 {
		l.money.Step(context.Background(), l.now)
	}
}
