package collect

import (
	"context"
	"encoding/json"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/privacy"
	"rebound/rtb"
)

// Call contains the headers of a browser request that the edge uses.
type Call struct {
	Cookie  []byte // rt_uid; of several the first that we minted
	OptOut  bool   // rt_oo in any cookie of that name, or rt_uid of a visitor who opted out
	OptedIn bool   // rt_oo says that the visitor opted in after an opt-out
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
	// Events are the accepted events of a dry run.
	Events []DryRunEvent `json:"events,omitempty"`
}

// origin identifies a browser as far as that is possible without a cookie.
func (c *Call) origin() string { return c.Address + " " + c.UserAgent }

// DryRunEvent is an event that a dry run accepts: as it would be stored, and what it would
// change.
type DryRunEvent struct {
	I     int    `json:"i"`
	Event string `json:"event"` // canonical name
	Effect
}

// Effect is what an event changes: the audiences that its visitor enters, leaves, or was in
// before and stays in.
type Effect struct {
	Enters []string `json:"enters"`
	Leaves []string `json:"leaves,omitempty"`
	Stays  []string `json:"stays,omitempty"`
}

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

func (e *Edge) linkFacts(s *source, visitor rtb.Key, keys []events.LinkKey) []events.Fact {
	facts := make([]events.Fact, 0, len(keys)+1)
	for _, k := range keys {
		facts = append(facts, e.linkFact(s.adv.ID, visitor, k, s.provenance, s.now))
	}
	return facts
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
	shown := 0
	for i, raw := range list {
		b.index = i
		in, p := e.addEvent(&b, src, raw)
		if p != nil {
			b.bad(p.Code)
			r.Rejected = append(r.Rejected, Rejected{I: i, Code: p.Code.String(), Msg: p.Msg})
		}
		if !from.DryRun && (shown < maxShown || p != nil && shown < 2*maxShown) {
			e.rememberServer(from.Advertiser.ID, &in, p)
			shown++
		}
	}
	r.Events = b.dry
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

// maxShown is how many events of a batch the validator shows, and as many again that were
// rejected.
const maxShown = 10

// batch collects the facts of one call.
type batch struct {
	index      int           // of the event that is added
	dry        []DryRunEvent // of a dry run
	from       Sender
	bad        func(Reject) // counts the omitted fields
	facts      []events.Fact
	seen       map[string]bool // ids of the facts
	events     int             // among the facts
	duplicates int
}

// addEvent adds the facts of one event. in is what could be read of it, also if there is a
// problem.
func (e *Edge) addEvent(b *batch, src *source, raw []byte) (in Input, p *Problem) {
	w, p := decodeEvent(raw)
	if p != nil {
		return in, p
	}
	var nobody *Problem
	in = w.input(func(x *Problem) {
		switch {
		case x.Code == RejectPlaceholder:
			nobody = x
			b.bad(x.Code)
		case p == nil:
			p = x
		}
	})
	if p == nil {
		p = e.acceptable(b, &in, src)
	}
	if p != nil {
		return in, p
	}
	bad := func(r Reject) {
		b.bad(r)
		in.problems = append(in.problems, r)
	}
	id, p := e.identify(&in.User, src.adv.ID, bad)
	if p != nil {
		if nobody != nil {
			p = &Problem{RejectUserID, nobody.Msg + "; got no other id"}
		}
		return in, p
	}
	f, err := e.eventFact(&in, src, id.visitor, bad)
	if err != nil {
		return in, &Problem{RejectNotStored, "the event could not be stored; send it again"}
	}
	in.fact, in.status = f, StatusAccepted
	if b.seen[f.ID] || e.recent.has(f.ID, src.now) {
		b.duplicates++
		in.status = StatusDuplicate
		return in, nil
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
	if enters := e.setup.Load().Enters; b.from.DryRun && enters != nil {
		b.dry = append(b.dry, DryRunEvent{I: b.index, Event: f.Name, Effect: enters(&f)})
	}
	return in, nil
}

// acceptable checks an event of a server, and settles its time.
func (e *Edge) acceptable(b *batch, in *Input, src *source) *Problem {
	if in.Advertiser != "" && in.Advertiser != src.adv.ID {
		return &Problem{RejectOtherAdvertiser, "advertiser: the key belongs to another advertiser"}
	}
	if isRobot(in.UserAgent) {
		return &Problem{RejectRobot, "user.ua: got the user agent of a robot"}
	}
	if p := in.check(); p != nil {
		return p
	}
	if p := checkTime(in.At, src.now); p != nil {
		return p
	}
	in.At = settle(in.At, src.now)
	return e.serverConsent(in, b.from.Consented)
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
