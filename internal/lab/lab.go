// Package lab assembles a complete bidder in memory: visitors, money, links,
// notices and a log that stores nothing. Commands try, explain and replay and
// the bidder's tests use it, so that they cannot differ in how the parts are
// connected.
//
// It guarantees that the same configuration, clock and seed give the same ids,
// draws and responses; that its links are signed with a key that no running
// bidder knows; and that nothing is read or written outside the process. Times
// are UTC. A Lab is not safe for concurrent use, except for its Bidder.
package lab

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"rebound/bidder"
	"rebound/campaigns"
	"rebound/config"
	"rebound/events"
	"rebound/pacing"
	"rebound/rtb"
	"rebound/segments"
	"rebound/tracking"
)

// Options of a [Lab].
type Options struct {
	Config *config.Snapshot
	// Now reads the lab's clock; required.
	Now func() time.Time
	// Name is the id of the lab's run.
	Name string
	// Node is the node of claims and records.
	Node string
	// Seed varies bid ids and draws.
	Seed uint64
	// BidLife is the longest time that a bid may be open; 0 means pacing's default.
	BidLife time.Duration
	// Unpaced makes every line spend as soon as possible.
	Unpaced bool
	// Visitors finds visitors; nil: a store of the lab's own, into which its log is
	// folded.
	Visitors bidder.Visitors
	// CacheBytes is the memory for profiles of the lab's own store; 0 means 1 MiB.
	CacheBytes int64
	// Hash is the hash of the lab's keyring; empty means [rtb.HashSHA256].
	Hash string
	// Links signs notices; nil: a signer of the lab's own, for the configuration's
	// public URL.
	Links bidder.Links
	// Adjust changes the bidder's options before it is created; nil: no change.
	Adjust func(*bidder.Options)
}

// Lab is a bidder in memory and its parts.
type Lab struct {
	Bidder  *bidder.Bidder
	Store   *segments.Store // nil when Options.Visitors is set
	Money   *pacing.Pacer
	Signer  *tracking.Signer // nil when Options.Links is set
	Keyring *rtb.Keyring

	config *config.Snapshot
	now    func() time.Time
	log    pacing.MemLog
	facts  int // numbered so far
}

// Open assembles a lab with the configuration's rules and plan, but without
// grants: [Lab.CutGrants] makes it ready to bid. The caller closes it.
func Open(o Options) (*Lab, error) {
	l := &Lab{config: o.Config, now: o.Now}
	var err error
	if l.Keyring, err = rtb.OpenKeyring(secret(0), o.Hash); err != nil {
		return nil, err
	}
	if err := l.open(&o); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) open(o *Options) (err error) {
	visitors := o.Visitors
	if visitors == nil {
		l.Store, err = segments.Open(segments.Options{InMemory: true, Dir: "view", CacheBytes: cmp.Or(o.CacheBytes, 1<<20), Keyring: l.Keyring})
		if err != nil {
			return err
		}
		visitors = l.Store
	}
	l.log = pacing.MemLog{Now: o.Now, Apply: l.fold}
	l.Money, err = pacing.Open(pacing.Options{
		InMemory: true, Run: o.Name, Node: o.Node, Append: l.log.Append, IsConflict: pacing.IsConflict, Now: o.Now, BidLife: o.BidLife,
	})
	if err != nil {
		return err
	}
	links := o.Links
	if links == nil {
		if l.Signer, err = tracking.NewSigner([]tracking.Key{{ID: 1, Secret: secret(1)}}, o.Config.Listen.PublicURL); err != nil {
			return err
		}
		links = l.Signer
	}
	source := rand.NewChaCha8(secret(o.Seed))
	options := bidder.Options{
		Visitors: visitors, Budgets: l.Money, Values: l.Money, Links: links, Keys: l.Keyring, Clock: o.Now, Node: o.Node,
		KnownNoBidShare: 1, UnknownNoBidShare: 1, Sources: func() bidder.Source { return source },
	}
	if o.Adjust != nil {
		o.Adjust(&options)
	}
	l.Bidder = bidder.New(options)
	l.Bidder.Swap(CatalogOf(o.Config, o.Config.Approve(nil)))
	plans := o.Config.LinePlans()
	if o.Unpaced {
		for i := range plans {
			plans[i].Mode, plans[i].CampaignMode = pacing.ASAP, pacing.ASAP
		}
	}
	l.Money.SetPlan(plans)
	return l.Put(events.Fact{Kind: events.KindConfig, Config: &events.Config{
		Hash: o.Config.Hash, ActivatedAt: o.Now(), Rules: o.Config.AudienceSet.Rules()}})
}

// secret derives a key that is the same in every lab.
func secret(n uint64) (b [32]byte) {
	copy(b[:], "rebound lab")
	for i := range 8 {
		b[24+i] = byte(n >> (8 * i))
	}
	return b
}

// CatalogOf returns the catalog of a configuration. The server uses it too, so that
// a field of the configuration cannot be missing in one of them.
func CatalogOf(s *config.Snapshot, approvals *campaigns.Approvals) *bidder.Catalog {
	return &bidder.Catalog{
		Hash: s.Hash, Exchanges: s.Profiles, Index: s.Index, Policy: s.Policy, Rates: s.Rates, EIDSources: s.EIDSources,
		Supply: s.Supply, Approvals: approvals,
	}
}

func (l *Lab) fold(facts []events.Fact) error {
	var err error
	if l.Store != nil {
		err = l.Store.Apply(facts)
	}
	return errors.Join(err, l.Money.Apply(facts))
}

// Append appends facts to the lab's log and folds them into its views. A fact
// without a time gets the current time.
func (l *Lab) Append(ctx context.Context, facts ...events.Fact) error {
	for i := range facts {
		if facts[i].At.IsZero() {
			facts[i].At = l.now()
		}
	}
	return l.log.Append(ctx, facts...)
}

// Put appends one fact under an id of the lab's own.
func (l *Lab) Put(f events.Fact) error {
	l.facts++
	f.ID = "lab:" + strconv.Itoa(l.facts)
	return l.Append(context.Background(), f)
}

// CutGrants lets pacing cut the grants that cover bids.
func (l *Lab) CutGrants() {
	for range 3 { // a step cuts a grant from the caps that the step before it folded
		l.Money.Step(context.Background(), l.now())
	}
}

// Close closes the views.
func (l *Lab) Close() error {
	var err error
	if l.Money != nil {
		err = l.Money.Close()
	}
	if l.Store != nil {
		err = errors.Join(err, l.Store.Close())
	}
	return err
}
