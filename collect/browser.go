package collect

import (
	"context"
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// hits are the events of one call of a browser: all are of the same visitor and are
// stored together.
type hits struct {
	call    *Call
	setup   *Setup
	channel Channel

	uid     string // empty until an event may be stored
	fresh   bool   // the call had no valid visitor cookie
	visitor rtb.Key

	facts []events.Fact
	seen  map[string]bool // ids of facts
	kept  []*Input        // events among facts
}

func (e *Edge) newHits(c *Call, channel Channel) *hits {
	return &hits{call: c, setup: e.setup.Load(), channel: channel, seen: map[string]bool{}}
}

// recordHits records the events of one call. It returns the Set-Cookie value, which is
// empty if nothing may be stored. Problems are counted, kept in the inputs for the
// validator, and not reported to the browser.
func (e *Edge) recordHits(ctx context.Context, h *hits, list []*Input) (setCookieLine string) {
	for _, in := range list {
		e.addHit(h, in)
	}
	stored := len(h.facts) == 0 || e.store(ctx, h.facts...)
	for i, in := range h.kept {
		if !stored {
			if i > 0 { // store counted one
				e.reject(RejectNotStored)
			}
			in.status = StatusRejected
			in.problems = append(in.problems, RejectNotStored)
			continue
		}
		in.status = StatusAccepted
		e.count(in.fact.Name)
		e.recent.add(in.fact.ID, e.now())
	}
	for _, in := range list {
		e.remember(h, in)
	}
	if h.uid == "" {
		return ""
	}
	return h.call.cookieFor(h.setup, h.uid)
}

// rejectIn counts a problem of an event and keeps it for the validator.
func (e *Edge) rejectIn(in *Input) func(Reject) {
	return func(r Reject) {
		e.reject(r)
		in.problems = append(in.problems, r)
	}
}

// addHit adds the facts of one event.
func (e *Edge) addHit(h *hits, in *Input) {
	bad := e.rejectIn(in)
	in.status = StatusRejected
	if in.unreadable {
		return
	}
	adv := h.setup.advertisers[in.Advertiser]
	if adv == nil {
		bad(RejectAdvertiser)
		return
	}
	if r := h.call.robot(); r != RejectNone {
		bad(r)
		return
	}
	grant := h.setup.Policy.Browser(h.call.consent(in.Consent))
	if !grant.SetCookie || !grant.StoreProfile {
		bad(h.call.refusal())
		return
	}
	if r := e.flood(h, adv); r != RejectNone {
		bad(r)
		return
	}
	in.dropLong(bad)
	keys, _ := e.outside(&in.User, adv.ID, bad)
	if e.anyOut(keys) && !h.call.OptedIn {
		bad(RejectOptedOut)
		return
	}
	if !e.findVisitor(h, bad) {
		return
	}
	if h.fresh && len(h.call.Cookie) > 0 {
		in.problems = append(in.problems, RejectForged) // counted already
	}
	if p := in.check(); p != nil {
		bad(p.Code)
		return
	}
	if in.Page == "" {
		in.Page = h.call.Referer
	}
	in.At = e.now() // the clock of a browser is not reliable
	src := &source{adv: adv, trust: events.TrustBrowser, provenance: "tag", now: in.At}
	keys = slices.DeleteFunc(keys, func(k events.LinkKey) bool { return e.isOut(k.Key) || !e.mayLink(h.fresh, k.Key) })
	e.addFact(h, in, src, h.visitor, keys)
}

// addFact adds the fact of an event, and the links that it makes, unless it is a
// duplicate.
func (e *Edge) addFact(h *hits, in *Input, src *source, visitor rtb.Key, keys []events.LinkKey) {
	bad := e.rejectIn(in)
	f, err := e.eventFact(in, src, visitor, bad)
	if err != nil {
		bad(RejectNotStored)
		return
	}
	in.fact = f
	if h.seen[f.ID] || e.recent.has(f.ID, src.now) {
		e.duplicate.Add(1)
		in.status = StatusDuplicate
		return
	}
	h.seen[f.ID] = true
	for _, l := range e.linkFacts(src, visitor, keys) {
		if !h.seen[l.ID] {
			h.seen[l.ID] = true
			h.facts = append(h.facts, l)
		}
	}
	h.facts = append(h.facts, f)
	h.kept = append(h.kept, in)
}

// findVisitor sets the visitor of a call, once: the events of a new visitor have one id.
func (e *Edge) findVisitor(h *hits, bad func(Reject)) bool {
	if h.uid == "" {
		uid, fresh, err := e.visitor(h.call)
		if err != nil {
			e.log.Error("cannot generate visitor id", zap.Error(err))
			bad(RejectNotStored)
			return false
		}
		h.uid, h.fresh, h.visitor = uid, fresh, e.keyring.Key(rtb.IDVisitor, "", []byte(uid))
	}
	if limit := h.setup.Limits.visitorPerHour(); !h.fresh && e.perVisitor.add(h.uid, e.now()) > limit {
		bad(RejectVisitorFlood)
		return false
	}
	return true
}

// refusal returns why the privacy signals of a browser refuse an event.
func (c *Call) refusal() Reject {
	if c.OptOut {
		return RejectOptedOut
	}
	return RejectConsent
}

// store appends the facts of a browser request and counts the outcome.
func (e *Edge) store(ctx context.Context, facts ...events.Fact) bool {
	ctx, cancel := context.WithTimeout(ctx, e.browserTimeout)
	defer cancel()
	if err := e.append(ctx, facts...); err != nil {
		e.reject(RejectNotStored)
		e.logFailure("cannot store facts of a browser", err, zap.Int("facts", len(facts)))
		return false
	}
	for i := range facts {
		if facts[i].Kind == events.KindLink {
			e.links.Add(1)
		}
	}
	return true
}

// Limits bound what the public may send. Zero values mean the defaults.
type Limits struct {
	VisitorPerHour      int // events of one visitor; default 500
	AddressPerMinute    int // calls from one public IP address; default 3,000
	AdvertiserPerSecond int // events for one advertiser; default 20,000
}

func (l *Limits) visitorPerHour() int      { return orDefault(l.VisitorPerHour, 500) }
func (l *Limits) addressPerMinute() int    { return orDefault(l.AddressPerMinute, 3000) }
func (l *Limits) advertiserPerSecond() int { return orDefault(l.AdvertiserPerSecond, 20_000) }

func orDefault(n, def int) int {
	if n > 0 {
		return n
	}
	return def
}

// flood counts an event of a browser and returns which limit it exceeds, or RejectNone.
// An address that is not public is that of a proxy in front of us, which speaks for many
// browsers, and has no limit.
func (e *Edge) flood(h *hits, adv *Advertiser) Reject {
	now := e.now()
	if isPublic(h.call.Address) && e.perAddress.add(h.call.Address, now) > h.setup.Limits.addressPerMinute() {
		return RejectAddressFlood
	}
	if e.perAdvertiser.add(adv.ID, now) > h.setup.Limits.advertiserPerSecond() {
		return RejectAdvertiserFlood
	}
	return RejectNone
}

var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10") // of carriers (RFC 6598)

func isPublic(address string) bool {
	a, err := netip.ParseAddr(address)
	a = a.Unmap()
	return err == nil && a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !sharedAddresses.Contains(a)
}
