package collect

import (
	"context"
	"strings"

	"rebound/events"
)

// Mail is the query of GET /v1/open and GET /v1/click, which are in the e-mails of an
// advertiser.
type Mail struct {
	Advertiser string
	Campaign   string
	Message    string   // id of the message; an event counts once for each
	Email      []string // SHA-256 of the recipient's address
	Target     string   // where a click leads
	Consent    *ConsentText

	problems []Reject
}

// ParseMail parses the query. It calls bad for each parameter that it cannot use.
func ParseMail(query []byte, bad func(Reject)) Mail {
	var m Mail
	p := pixel{bad: func(r Reject) {
		bad(r)
		m.problems = append(m.problems, r)
	}}
	eachParam(query, p.bad, func(key, value string) {
		if value == "" || p.setConsent(key, value) {
			return
		}
		if key != "u" && hasEmail(value) {
			p.bad(RejectClearText)
			return
		}
		switch key {
		case "a":
			m.Advertiser = value
		case "c":
			m.Campaign = sanitize(value, maxText)
		case "n":
			m.Message = value
		case "eh":
			m.Email = p.hashes(value)
		case "u":
			m.Target = value
		}
	})
	m.Consent = p.in.Consent
	return m
}

// input returns the event of a mail: an open or a click.
func (m *Mail) input(name string) *Input {
	in := &Input{Advertiser: m.Advertiser, Event: name, User: User{Em: m.Email}, Consent: m.Consent, problems: m.problems, Page: "about:blank"}
	in.UTM = map[string]string{"medium": "email"}
	if m.Campaign != "" {
		in.UTM["campaign"] = m.Campaign
	}
	if m.Message != "" && len(m.Message) <= maxID-len(m.Campaign)-1 {
		in.EventID = m.Campaign + " " + m.Message
	}
	return in
}

// RecordOpen records that an e-mail was opened. Programs that show e-mails rarely keep
// cookies, so the visitor is that of the cookie or else of the address, and no cookie is
// set.
func (e *Edge) RecordOpen(ctx context.Context, c *Call, m *Mail) {
	h := e.newHits(c, ChannelMail)
	in := m.input("email_open")
	if e.cookies.Valid(c.Cookie) {
		e.recordHits(ctx, h, []*Input{in})
		return
	}
	e.addOpen(h, in)
	e.recordHits(ctx, h, nil)
	e.remember(h, in)
}

// addOpen adds the fact of an open whose visitor is found by the address alone.
func (e *Edge) addOpen(h *hits, in *Input) {
	bad := e.rejectIn(in)
	in.status = StatusRejected
	adv := h.setup.advertisers[in.Advertiser]
	switch {
	case adv == nil:
		bad(RejectAdvertiser)
		return
	case h.call.robot() != RejectNone:
		bad(h.call.robot())
		return
	case !h.setup.Policy.Browser(h.call.consent(in.Consent)).StoreProfile:
		bad(h.call.refusal())
		return
	}
	if r := e.flood(h, adv); r != RejectNone {
		bad(r)
		return
	}
	id, p := e.identify(&in.User, adv.ID, bad)
	if p == nil {
		p = in.check()
	}
	if p != nil {
		bad(p.Code)
		return
	}
	if e.perVisitor.add(id.visitor.String(), e.now()) > h.setup.Limits.visitorPerHour() {
		bad(RejectVisitorFlood)
		return
	}
	in.At = e.now()
	e.addFact(h, in, &source{adv: adv, trust: events.TrustBrowser, provenance: "mail", now: in.At}, id.visitor, id.links)
}

// RecordClick records a click on a link in an e-mail, and returns where it leads: the
// page of the advertiser that the link names, whether or not the click may be recorded.
// There is a problem if it is not a page of the advertiser.
func (e *Edge) RecordClick(ctx context.Context, c *Call, m *Mail) (target, setCookieLine string, p *Problem) {
	s := e.setup.Load()
	adv := s.advertisers[m.Advertiser]
	switch {
	case adv == nil:
		e.reject(RejectAdvertiser)
		return "", "", &Problem{RejectAdvertiser, "a: want the id of a configured advertiser"}
	case !adv.owns(m.Target):
		e.reject(RejectRedirect)
		return "", "", &Problem{RejectRedirect, "u: want an http or https URL on one of the advertiser's domains"}
	}
	in := m.input("email_click")
	return m.Target, e.recordHits(ctx, e.newHits(c, ChannelMail), []*Input{in}), nil
}

// owns reports whether a URL is a page of the advertiser.
func (a *Advertiser) owns(raw string) bool {
	if raw == "" || len(raw) > maxRedirect || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return false
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !webScheme(scheme) {
		return false
	}
	if end := strings.IndexAny(rest, "/?#"); strings.Contains(rest[:max(end, 0)], "@") || end < 0 && strings.Contains(rest, "@") {
		return false
	}
	host, _, _ := splitURL(raw)
	for _, d := range a.Domains {
		if d = hostName(d); host == d || strings.HasSuffix(host, "."+d) {
			return host != ""
		}
	}
	return false
}
