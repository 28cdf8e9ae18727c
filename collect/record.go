package collect

import (
	"context"
	"encoding/json"
	"slices"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/privacy"
	"rebound/rtb"
)

// Call contains the headers of a browser request that the edge uses.
type Call struct {
	Cookie  []byte // rt_uid; of several the first that we minted
	OptOut  bool   // rt_oo in any cookie of that name
	SecGPC  []byte
	Referer string // the page, if the parameters do not name one
	Host    string // the requested host
	HTTPS   bool   // whether the browser used https

	UserAgent string
	Purpose   string            // Sec-Purpose, or a header that preceded it
	Address   string            // IP address of the browser; never stored
	Synced    map[string]string // values of the cookies of syncs, by exchange
}

// Rejected is an event of a batch that was rejected.
type Rejected struct {
	I    int    `json:"i"`
	Code string `json:"code"`
	Msg  string `json:"msg"`
}

// Reply is the response to a batch.
type Reply struct {
	Accepted   int        `json:"accepted"`
	Duplicates int        `json:"duplicates"`
	Rejected   []Rejected `json:"rejected"`
	DryRun     bool       `json:"dry_run,omitempty"` // nothing was stored
}

// origin identifies a browser as far as that is possible without a cookie.
func (c *Call) origin() string { return c.Address + " " + c.UserAgent }

func (c *Call) consent(t *ConsentText) *privacy.Consent {
	p := &privacy.Consent{SecGPC: c.SecGPC, OptOut: c.OptOut}
	if t != nil {
		p.GDPR, p.GDPRConsent, p.USPrivacy = []byte(t.GDPR), []byte(t.TC), []byte(t.USPrivacy)
		p.GPP, p.GPPSID, p.NPA = []byte(t.GPP), []byte(t.GPPSID), []byte(t.NPA)
		if t.GPC != "" && string(p.SecGPC) != "1" {
			p.SecGPC = []byte(t.GPC)
		}
	}
	return p
}

// refused counts a call that the privacy signals of the browser refuse.
func (e *Edge) refused(c *Call) {
	if c.OptOut {
		e.reject(RejectOptedOut)
		return
	}
	e.reject(RejectConsent)
}

// visitor returns the visitor id of the cookie or, with fresh set, a new one.
func (e *Edge) visitor(c *Call) (uid string, fresh bool, err error) {
	if len(c.Cookie) > 0 {
		if e.cookies.Valid(c.Cookie) {
			return string(c.Cookie), false, nil
		}
		e.reject(RejectForged)
	}
	uid, err = e.cookies.Mint()
	if err == nil {
		e.Counters.cookies.Add(1)
	}
	return uid, true, err
}

// mayLink reports whether an identifier may be linked to the visitor of a browser. Without
// a cookie, it may be linked only if it is not linked yet: a browser that does not keep
// cookies is a new visitor on every hit and must not link the identifier each time. A
// browser that keeps cookies sends one on its next hit. An identifier that too many
// visitors share is never linked.
func (e *Edge) mayLink(fresh bool, k rtb.Key) bool {
	if v, _, linked := e.linked(k); linked && (fresh || v.IsZero()) {
		e.unlinked.Add(1)
		return false
	}
	return true
}

// RecordBrowser records an event of the pixel or the tag. It returns the Set-Cookie value,
// which is empty if nothing may be stored. Problems are counted and not reported to the
// browser.
func (e *Edge) RecordBrowser(ctx context.Context, c *Call, in *Input) (setCookieLine string) {
	s := e.setup.Load()
	adv := s.advertisers[in.Advertiser]
	if adv == nil {
		e.reject(RejectAdvertiser)
		return ""
	}
	grant := s.Policy.Browser(c.consent(in.Consent))
	if !grant.SetCookie || !grant.StoreProfile {
		e.refused(c)
		return ""
	}
	uid, fresh, err := e.visitor(c)
	if err != nil {
		e.log.Error("cannot generate visitor id", zap.Error(err))
		return ""
	}
	who := browser{visitor: e.keyring.Key(rtb.IDVisitor, "", []byte(uid)), fresh: fresh, referer: c.Referer}
	e.storeBrowser(ctx, adv, &who, in)
	return c.cookieFor(s, uid)
}

// browser is the origin of an event of the pixel or the tag.
type browser struct {
	visitor rtb.Key
	fresh   bool // the request had no valid visitor cookie
	referer string
}

func (e *Edge) storeBrowser(ctx context.Context, adv *Advertiser, who *browser, in *Input) {
	in.dropLong(e.reject)
	if p := in.check(); p != nil {
		e.reject(p.Code)
		return
	}
	if in.Page == "" {
		in.Page = who.referer
	}
	in.At = e.now() // the clock of a browser is not reliable
	src := &source{adv: adv, trust: events.TrustBrowser, provenance: "tag", now: in.At}
	keys, _ := e.outside(&in.User, adv.ID, e.reject)
	keys = slices.DeleteFunc(keys, func(k events.LinkKey) bool { return !e.mayLink(who.fresh, k.Key) })
	f, err := e.eventFact(in, src, who.visitor, e.reject)
	if err != nil {
		e.reject(RejectNotStored)
		return
	}
	if e.recent.has(f.ID, src.now) {
		e.duplicate.Add(1)
		return
	}
	facts := append(e.linkFacts(src, who.visitor, keys), f)
	if e.store(ctx, facts...) {
		e.count(f.Name)
		e.recent.add(f.ID, src.now)
	}
}

func (e *Edge) linkFacts(s *source, visitor rtb.Key, keys []events.LinkKey) []events.Fact {
	facts := make([]events.Fact, 0, len(keys)+1)
	for _, k := range keys {
		facts = append(facts, e.linkFact(s.adv.ID, visitor, k, s.provenance, s.now))
	}
	return facts
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

// logFailure logs why facts could not be stored. A log without capacity at
// present is not an error: senders are told to wait.
func (e *Edge) logFailure(text string, err error, fields ...zap.Field) {
	fields = append(fields, zap.Error(err))
	if _, busy := e.busy(err); busy {
		e.log.Warn(text, fields...)
		return
	}
	e.log.Error(text, fields...)
}

// Sender is the server of an advertiser that sends events.
type Sender struct {
	Advertiser *Advertiser
	// Consented is set if the sender vouches for the consent of its visitors. Signals
	// that it sends nevertheless are obeyed.
	Consented bool
	// DryRun checks the events and stores none.
	DryRun bool
}

// RecordBatch records events from the server of an advertiser. The valid ones are in the
// log when it returns without error. After an error it is unknown which ones are, and the
// sender should retry.
func (e *Edge) RecordBatch(ctx context.Context, from Sender, list []json.RawMessage) (Reply, error) {
	r := Reply{Rejected: []Rejected{}, DryRun: from.DryRun}
	b := batch{seen: make(map[string]bool, len(list)), from: from, bad: e.reject}
	if from.DryRun {
		b.bad = func(Reject) {}
	}
	src := &source{adv: from.Advertiser, trust: events.TrustServer, provenance: "s2s", now: e.now()}
	for i, raw := range list {
		if p := e.addEvent(&b, src, raw); p != nil {
			b.bad(p.Code)
			r.Rejected = append(r.Rejected, Rejected{I: i, Code: p.Code.String(), Msg: p.Msg})
		}
	}
	r.Duplicates, r.Accepted = b.duplicates, b.events
	if from.DryRun {
		return r, nil
	}
	e.duplicate.Add(uint64(b.duplicates))
	if len(b.facts) > 0 {
		ctx, cancel := context.WithTimeout(ctx, e.serverTimeout)
		defer cancel()
		if err := e.append(ctx, b.facts...); err != nil {
			e.reject(RejectNotStored)
			return Reply{}, err
		}
	}
	for i := range b.facts {
		switch f := &b.facts[i]; f.Kind {
		case events.KindLink:
			e.links.Add(1)
		default:
			e.count(f.Name)
			e.recent.add(f.ID, src.now)
		}
	}
	return r, nil
}

// batch collects the facts of one call.
type batch struct {
	from       Sender
	bad        func(Reject) // counts the omitted fields
	facts      []events.Fact
	seen       map[string]bool // ids of the facts
	events     int             // among the facts
	duplicates int
}

func (e *Edge) addEvent(b *batch, src *source, raw []byte) *Problem {
	w, p := decodeEvent(raw)
	if p != nil {
		return p
	}
	var nobody *Problem
	in := w.input(func(x *Problem) {
		switch {
		case x.Code == RejectPlaceholder:
			nobody = x
			b.bad(x.Code)
		case p == nil:
			p = x
		}
	})
	if p != nil {
		return p
	}
	if in.Advertiser != "" && in.Advertiser != src.adv.ID {
		return &Problem{RejectOtherAdvertiser, "advertiser: the key belongs to another advertiser"}
	}
	if p = in.check(); p != nil {
		return p
	}
	if p = checkTime(in.At, src.now); p != nil {
		return p
	}
	in.At = settle(in.At, src.now)
	if p = e.serverConsent(&in, b.from.Consented); p != nil {
		return p
	}
	id, p := e.identify(&in.User, src.adv.ID, b.bad)
	if p != nil {
		if nobody != nil {
			p = &Problem{RejectUserID, nobody.Msg + "; got no other id"}
		}
		return p
	}
	f, err := e.eventFact(&in, src, id.visitor, b.bad)
	if err != nil {
		return &Problem{RejectNotStored, "the event could not be stored; send it again"}
	}
	if b.seen[f.ID] || e.recent.has(f.ID, src.now) {
		b.duplicates++
		return nil
	}
	b.seen[f.ID] = true
	for _, l := range e.linkFacts(src, id.visitor, id.links) {
		if !b.seen[l.ID] {
			b.seen[l.ID] = true
			b.facts = append(b.facts, l)
		}
	}
	b.facts = append(b.facts, f)
	b.events++
	return nil
}

// serverConsent applies the rules of the pixel to the privacy signals of a server event.
// A sender that vouches for the consent of its visitors may leave the signals out.
func (e *Edge) serverConsent(in *Input, consented bool) *Problem {
	if in.Consent == nil && consented {
		return nil
	}
	c := &Call{}
	g := e.setup.Load().Policy.Browser(c.consent(in.Consent))
	switch {
	case g.StoreProfile:
		return nil
	case in.Consent == nil:
		return &Problem{RejectConsent, "consent: got none; want the privacy signals of the visitor, or a key with the scope events_consented if the sender checks them itself: " + g.Refusal.String()}
	}
	return &Problem{RejectConsent, "consent: the privacy signals of the visitor refuse it: " + g.Refusal.String()}
}
