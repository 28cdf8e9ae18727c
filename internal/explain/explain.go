// Package explain tells people how a bid request was decided and why a visitor is in an
// audience or not: as text, as JSON and on a page.
//
// It decides nothing itself. It formats what [bidder.Trace] collected while the bidder's
// own stages ran, and asks pacing and audiences what they compare. Its output holds no
// identifier of the request. Times are UTC; prices are CPM in major units of the currency
// that is named with them. The programs call it.
package explain

import (
	"encoding/json"
	"slices"
	"time"

	"rebound/audiences"
	"rebound/bidder"
	"rebound/campaigns"
	"rebound/events"
	"rebound/pacing"
	"rebound/rtb"
)

// Money says what pacing compares.
type Money interface {
	FrequencyOf(v *rtb.Visitor, caps []rtb.FrequencyCap, at time.Time) []pacing.FrequencyUse
	LineBudgets(id rtb.LineID, now time.Time) []pacing.BudgetRow
}

// Explainer explains the decisions of one configuration.
type Explainer struct {
	Bidder    *bidder.Bidder
	Audiences *audiences.Set
	Money     Money
	// LinkedAt returns when an identifier was last seen with its visitor; nil: that is
	// not said.
	LinkedAt func(exchange string, id *rtb.ExternalID) (time.Time, bool)
}

// Explanation describes how one request was decided, in the order of the stages.
type Explanation struct {
	Exchange string          `json:"exchange"`
	At       time.Time       `json:"at"`
	Status   int             `json:"status"`
	NoBid    rtb.NoBidReason `json:"nobid,omitempty"`
	NBR      int             `json:"nbr,omitempty"`
	// Why says what was compared when the request as a whole was refused.
	Why      string          `json:"why,omitempty"`
	Read     Request         `json:"request"`
	Privacy  Privacy         `json:"privacy"`
	Matched  *Matched        `json:"matched,omitempty"` // nil: no identifier found a visitor
	Visitor  *rtb.Visitor    `json:"visitor"`           // null: not looked up, or unknown
	Decision events.Decision `json:"decision"`
	// Audiences are those that lines use.
	Audiences []Audience `json:"audiences,omitempty"`
	// Lines are all lines, with the first check that each one failed.
	Lines []Line `json:"lines,omitempty"`
	// Prices are the ways to bid that were priced.
	Prices []Price `json:"prices,omitempty"`
	// Frequency says, by line, how often its ad may be shown to the visitor.
	Frequency map[string]string `json:"frequency,omitempty"`
	// Response is the body of the response; its links do not bill after a dry run.
	Response json.RawMessage `json:"response,omitempty"`
	// Reasons explains every no-bid reason above and what to do about it.
	Reasons map[string]Reason `json:"reasons,omitempty"`
}

// Reason explains a no-bid reason.
type Reason struct {
	Meaning string `json:"meaning"`
	Remedy  string `json:"remedy"`
}

// Request describes the decoded request without any identifier.
type Request struct {
	ID    string   `json:"id"`
	TMax  string   `json:"tmax,omitempty"`
	Kinds []string `json:"identifiers"` // kinds of the identifiers in the request
	Imps  int      `json:"impressions"` // 0 if not read
	Test  bool     `json:"test,omitempty"`
}

// Privacy is the verdict about consent.
type Privacy struct {
	Level   rtb.Level       `json:"level"`
	Signal  string          `json:"signal,omitempty"`  // that decided
	Refusal rtb.NoBidReason `json:"refusal,omitempty"` // why the level is below personalised
	Given   []string        `json:"given,omitempty"`   // the signals of the request
}

// Matched is the identifier that found the visitor.
type Matched struct {
	Identifier string    `json:"identifier"` // its kind
	SeenAt     time.Time `json:"linked_at,omitzero"`
}

// Dry decides a request in a dry run and explains how. With a line, only that line's bids
// and checks are included.
func (e *Explainer) Dry(exchange string, body []byte, now time.Time, line string) *Explanation {
	t := &bidder.Trace{}
	d := bidder.NewDecision()
	rs := e.Bidder.DryRun(&bidder.Request{Exchange: exchange, Body: body, Arrival: now, Trace: t}, d)
	x := e.Of(exchange, now, d, &rs, t)
	if line != "" {
		x.only(line)
	}
	return x
}

// Of explains a decision that was made with a trace. The explanation's visitor and
// response are valid as long as those of the decision.
func (e *Explainer) Of(exchange string, now time.Time, d *bidder.Decision, rs *bidder.Response, t *bidder.Trace) *Explanation {
	o := d.Opportunity()
	x := &Explanation{Exchange: exchange, At: now.UTC(), Status: rs.Status, NoBid: rs.Reason, NBR: rs.Reason.NBR(), Visitor: d.Visitor()}
	x.Read = Request{ID: string(o.ID), Test: o.Test, Kinds: []string{}}
	if o.TMax > 0 {
		x.Read.TMax = o.TMax.String()
	}
	for i := range o.IDs {
		if kind := KindOf(&o.IDs[i]); !slices.Contains(x.Read.Kinds, kind) {
			x.Read.Kinds = append(x.Read.Kinds, kind)
		}
	}
	p := d.Permissions()
	x.Privacy = Privacy{Level: p.Level, Signal: p.Signal, Refusal: p.Refusal, Given: signals(&o.Signals)}
	if d.Visitor() != nil && t.Found >= 0 && t.Found < len(t.Looked) {
		x.matched(e, exchange, &t.Looked[t.Found])
	}
	d.Describe(&x.Decision, rs)
	if rs.Status == 200 && json.Valid(rs.Body) {
		x.Response = rs.Body
	}
	x.Why = requestWhy(x, d, rs.Reason, t)
	if d.Outcome() == nil {
		x.describeReasons()
		return x
	}
	x.Read.Imps = len(o.Imps)
	for i := range t.Audiences {
		a := &t.Audiences[i]
		x.Audiences = append(x.Audiences, audienceOf(e.Audiences, a.Program, a.Verdict, a.Conditions))
	}
	e.lines(x, d, t)
	for i := range t.Prices {
		x.Prices = append(x.Prices, priceOf(&t.Prices[i], impID(o, t.Prices[i].Imp)))
	}
	x.describeReasons()
	if d.Visitor() != nil {
		x.describeFrequency(d.Outcome())
	}
	return x
}

func (x *Explanation) matched(e *Explainer, exchange string, id *rtb.ExternalID) {
	x.Matched = &Matched{Identifier: KindOf(id)}
	if e.LinkedAt == nil || id.Kind == rtb.IDVisitor {
		return
	}
	if at, ok := e.LinkedAt(exchange, id); ok {
		x.Matched.SeenAt = at.UTC()
	}
}

// only keeps what concerns one line.
func (x *Explanation) only(line string) {
	x.Decision.Bids = slices.DeleteFunc(x.Decision.Bids, func(b events.DecisionBid) bool { return b.Line != line })
	x.Decision.Dropped = slices.DeleteFunc(x.Decision.Dropped, func(d events.DecisionDrop) bool { return d.Line != line })
	x.Lines = slices.DeleteFunc(x.Lines, func(l Line) bool { return l.id.Line != line })
	x.Prices = slices.DeleteFunc(x.Prices, func(p Price) bool { return p.id.Line != line })
	for name := range x.Frequency {
		if !slices.ContainsFunc(x.Lines, func(l Line) bool { return l.Line == name }) {
			delete(x.Frequency, name)
		}
	}
}

// describeFrequency describes the frequency caps of the lines that were considered.
func (x *Explanation) describeFrequency(out *bidder.Outcome) {
	x.Frequency = map[string]string{}
	add := func(l *campaigns.Line) { x.Frequency[l.ID.String()] = CapsText(l.Frequency) }
	for i := range out.Bids {
		add(out.Bids[i].Line)
	}
	for i := range out.Drops {
		add(out.Drops[i].Line)
	}
}

// describeReasons explains the reasons of the request and of its lines.
func (x *Explanation) describeReasons() {
	list := []rtb.NoBidReason{x.NoBid}
	for i := range x.Lines {
		list = append(list, x.Lines[i].Reason)
	}
	for _, r := range list {
		if r == rtb.NoBidNone {
			continue
		}
		if x.Reasons == nil {
			x.Reasons = map[string]Reason{}
		}
		x.Reasons[r.String()] = Reason{r.Meaning(), r.Remedy()}
	}
}

// KindOf names the kind of an identifier of a request.
func KindOf(id *rtb.ExternalID) string {
	switch id.Kind {
	case rtb.IDVisitor:
		return "buyeruid"
	case rtb.IDEID:
		return "eid " + string(id.Scope)
	case rtb.IDIFA:
		return "ifa"
	}
	return "user.id"
}

func impID(o *rtb.Opportunity, i int) string {
	if i < 0 || i >= len(o.Imps) {
		return ""
	}
	return string(o.Imps[i].ID)
}
