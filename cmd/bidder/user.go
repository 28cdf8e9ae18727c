package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/collect"
	"rebound/events"
	"rebound/internal/explain"
	"rebound/internal/spec"
	"rebound/rtb"
	"rebound/segments"
	"rebound/server"
)

const usersPrefix = "/admin/users/"

// Bounds of the work of GET /admin/users/{id}.
const (
	userBids     = 20       // by default
	maxUserBids  = 1000     // at most
	userBidBytes = 64 << 20 // of the bid log's newest files
)

// userReport is the response of GET /admin/users/{id}: what is known of whoever is behind
// an identifier.
type userReport struct {
	At time.Time `json:"at"`
	// Identifiers are those that are linked to the visitors, hashed.
	Identifiers []events.LinkKey `json:"identifiers"`
	Visitors    []userProfile    `json:"visitors"`
	// LastBids are the newest bid records, the newest first. BidsWhole is set if the whole
	// bid log was searched, and not only its newest files.
	LastBids  []userBid `json:"last_bids"`
	BidsWhole bool      `json:"bids_whole"`
}

// userProfile is one visitor.
type userProfile struct {
	Key      rtb.Key `json:"key"`
	Known    bool    `json:"known"` // it has a profile
	OptedOut bool    `json:"opted_out"`
	// Identifiers are the kinds of the visitor's identifiers.
	Identifiers []string            `json:"identifiers"`
	Segments    []userSegment       `json:"segments"`
	Products    []rtb.ProductSeen   `json:"products"`
	Audiences   []explain.Audience  `json:"audiences"`
	Frequency   []explain.Frequency `json:"frequency"`
	Position    uint64              `json:"pos"` // sequence of the last fact of the profile
}

// userSegment is what the profile remembers of one kind of event.
type userSegment struct {
	Rule  string    `json:"rule"`
	Count uint32    `json:"count"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// userBid is one bid record of a visitor.
type userBid struct {
	TS       time.Time             `json:"ts"`
	Exchange string                `json:"exchange"`
	NoBid    rtb.NoBidReason       `json:"nobid,omitempty"`
	Bids     []events.DecisionBid  `json:"bids,omitempty"`
	Dropped  []events.DecisionDrop `json:"dropped,omitempty"`
}

// user handles GET /admin/users/{id}, where id is KIND:VALUE or the key of a visitor.
func (a *app) user(ctx *fasthttp.RequestCtx) {
	q := ctx.QueryArgs()
	n := userBids
	if q.Has("bids") {
		var err error
		if n, err = q.GetUint("bids"); err != nil || n > maxUserBids {
			sendError(ctx, fasthttp.StatusBadRequest, "bad_bids", fmt.Sprintf("bids: want a number up to %d", maxUserBids))
			return
		}
	}
	keys, msg := a.keysOfText(string(server.Tail(ctx, usersPrefix)), string(q.Peek("advertiser")))
	if msg != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_id", msg)
		return
	}
	r, _, err := a.userReport(keys, n, userBidBytes)
	if err != nil {
		a.log.Error("a profile could not be read", zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "unreadable", "the profile could not be read; the log of the bidder has the cause")
		return
	}
	status := fasthttp.StatusOK
	if !slices.ContainsFunc(r.Visitors, func(v userProfile) bool { return v.Known || v.OptedOut }) {
		status = fasthttp.StatusNotFound
	}
	sendJSON(ctx, status, r)
}

// keysOfText returns the key of an identifier as people write it, or what is wrong.
func (a *app) keysOfText(text, advertiser string) (keys []events.LinkKey, msg string) {
	var k rtb.Key
	if !strings.Contains(text, ":") && k.UnmarshalText([]byte(text)) == nil {
		return []events.LinkKey{{KeyKind: events.VisitorKind, Key: k}}, ""
	}
	id, err := collect.ParseIdentifier(text)
	if err != nil {
		return nil, "want KIND:VALUE, for instance uid:..., ifa:..., em:<SHA-256>, eid:<source>:... or b:<exchange>:..., or the key of a visitor of 22 characters"
	}
	return a.keysOf(&eraseOrder{Advertiser: advertiser, IDs: []collect.Identifier{id}})
}

// userReport describes the person behind keys, with at most n bids from the newest bytes
// of the bid log.
func (a *app) userReport(keys []events.LinkKey, n int, bytes int64) (*userReport, segments.Person, error) {
	now := a.now().UTC()
	r := &userReport{At: now, Identifiers: []events.LinkKey{}, Visitors: []userProfile{}, LastBids: []userBid{}}
	person, err := a.visitors.Person(keys)
	if err != nil {
		return nil, person, err
	}
	r.Identifiers = append(r.Identifiers, person.Links...)
	for _, k := range person.Visitors {
		u, err := a.userProfile(k, now)
		if err != nil {
			return nil, person, err
		}
		r.Visitors = append(r.Visitors, u)
	}
	if n == 0 {
		return r, person, nil
	}
	records, whole, err := events.LastBids(a.bound.Logs.Bids.Dir, events.NewKeySet(person.Visitors...), n, bytes)
	if err != nil {
		return nil, person, err
	}
	r.BidsWhole = whole
	for i := range records {
		b := &records[i]
		u := userBid{TS: b.TS, Exchange: b.Exchange}
		if d := b.Decision; d != nil {
			u.NoBid, u.Bids, u.Dropped = d.NoBid, d.Bids, d.Dropped
		}
		r.LastBids = append(r.LastBids, u)
	}
	return r, person, nil
}

// userProfile describes one visitor.
func (a *app) userProfile(k rtb.Key, now time.Time) (u userProfile, err error) {
	var v rtb.Visitor
	u = userProfile{Key: k, Identifiers: []string{}, Segments: []userSegment{}, Products: []rtb.ProductSeen{}, Audiences: []explain.Audience{}}
	if _, err = a.visitors.Profile(k, &v); err != nil {
		return u, err
	}
	u.Known, u.OptedOut, u.Position = v.Position > 0, v.OptedOut, v.Position
	links, err := a.visitors.Links(k)
	if err != nil {
		return u, err
	}
	for _, l := range links {
		u.Identifiers = append(u.Identifiers, l.KeyKind)
	}
	set := a.snapshot.Load().AudienceSet
	for i := range v.Segments {
		s := &v.Segments[i]
		rule := set.Text(s.ID)
		if rule == "" {
			rule = fmt.Sprintf("%d (no rule of this configuration)", s.ID)
		}
		u.Segments = append(u.Segments, userSegment{rule, s.Count, s.First.Time(), s.Last.Time()})
	}
	u.Products = append(u.Products, v.Products...)
	for _, id := range set.IDs() {
		u.Audiences = append(u.Audiences, explain.AudienceFor(set, set.Audience(id), &v, now))
	}
	u.Frequency = explain.FrequencyFor(a.money, a.snapshot.Load().Index.Lines(), &v, now)
	return u, nil
}

// formatAge describes how long ago a time was, to the second.
func formatAge(t, now time.Time) string {
	return spec.FormatDuration(max(now.Sub(t), 0).Truncate(time.Second)) + " ago"
}
