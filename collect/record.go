package collect

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/privacy"
	"rebound/rtb"
)

// Call contains the headers of a browser request that the edge uses.
type Call struct {
	Cookie  []byte // rt_uid
	OptOut  bool   // rt_oo=1
	SecGPC  []byte
	Referer string // the page, if the parameters do not name one
	Host    string // the requested host
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
}

func (c *Call) consent(t *ConsentText) *privacy.Consent {
	p := &privacy.Consent{SecGPC: c.SecGPC, OptOut: c.OptOut}
	if t != nil {
		p.GDPR, p.GDPRConsent, p.USPrivacy = []byte(t.GDPR), []byte(t.TC), []byte(t.USPrivacy)
		p.GPP, p.GPPSID, p.NPA = []byte(t.GPP), []byte(t.GPPSID), []byte(t.NPA)
		if t.GPC != "" {
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
// browser that keeps cookies sends one on its next hit.
func (e *Edge) mayLink(fresh bool, k rtb.Key) bool {
	if !fresh || e.resolve == nil {
		return true
	}
	if _, linked := e.resolve(k); linked {
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
	return setCookie(uid, c.Host, s.HTTPS, c.thirdParty(s))
}

func (c *Call) thirdParty(s *Setup) bool { return strings.EqualFold(c.Host, s.PublicHost) }

// browser is the origin of an event of the pixel or the tag.
type browser struct {
	visitor rtb.Key
	fresh   bool // the request had no valid visitor cookie
	referer string
}

func (e *Edge) storeBrowser(ctx context.Context, adv *Advertiser, who *browser, in *Input) {
	if p := in.check(); p != nil {
		e.reject(p.Code)
		return
	}
	if len(in.User.XID) > maxID {
		e.reject(RejectUserID)
		in.User.XID = ""
	}
	if in.Page == "" {
		in.Page = who.referer
	}
	in.At = e.now() // the clock of a browser is not reliable
	src := &source{adv: adv, trust: events.TrustBrowser, provenance: "tag", now: in.At}
	keys, _ := e.outside(&in.User, adv.ID)
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
		e.log.Error("cannot store facts of a browser", zap.Int("facts", len(facts)), zap.Error(err))
		return false
	}
	for i := range facts {
		if facts[i].Kind == events.KindLink {
			e.links.Add(1)
		}
	}
	return true
}

// RecordBatch records events from the server of an advertiser. The valid ones are in the
// log when it returns without error. After an error it is unknown which ones are, and the
// sender should retry.
func (e *Edge) RecordBatch(ctx context.Context, adv *Advertiser, list []json.RawMessage) (Reply, error) {
	r := Reply{Rejected: []Rejected{}}
	b := batch{seen: make(map[string]bool, len(list))}
	src := &source{adv: adv, trust: events.TrustServer, provenance: "s2s", now: e.now()}
	for i, raw := range list {
		if p := e.addEvent(&b, src, raw); p != nil {
			e.reject(p.Code)
			r.Rejected = append(r.Rejected, Rejected{I: i, Code: p.Code.String(), Msg: p.Msg})
		}
	}
	if len(b.facts) > 0 {
		ctx, cancel := context.WithTimeout(ctx, e.serverTimeout)
		defer cancel()
		if err := e.append(ctx, b.facts...); err != nil {
			e.reject(RejectNotStored)
			return r, err
		}
	}
	for i := range b.facts {
		switch f := &b.facts[i]; f.Kind {
		case events.KindLink:
			e.links.Add(1)
		default:
			e.count(f.Name)
			e.recent.add(f.ID, src.now)
			r.Accepted++
		}
	}
	r.Duplicates = b.duplicates
	e.duplicate.Add(uint64(b.duplicates))
	return r, nil
}

// batch collects the facts of one call.
type batch struct {
	facts      []events.Fact
	seen       map[string]bool // ids of the facts
	duplicates int
}

func (e *Edge) addEvent(b *batch, src *source, raw []byte) *Problem {
	w, p := decodeEvent(raw)
	if p != nil {
		return p
	}
	in, p := w.input()
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
	if p = e.serverConsent(&in); p != nil {
		return p
	}
	id, p := e.identify(&in.User, src.adv.ID)
	if p != nil {
		return p
	}
	f, err := e.eventFact(&in, src, id.visitor, e.reject)
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
	return nil
}

// serverConsent checks the privacy signals of a server event, if it has any. Without
// signals the advertiser is responsible for the consent.
func (e *Edge) serverConsent(in *Input) *Problem {
	if in.Consent == nil {
		return nil
	}
	c := &Call{}
	if g := e.setup.Load().Policy.Browser(c.consent(in.Consent)); !g.StoreProfile {
		return &Problem{RejectConsent, "consent: the privacy signals of the visitor refuse it: " + g.Refusal.String()}
	}
	return nil
}
