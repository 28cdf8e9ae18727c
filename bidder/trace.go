package bidder

import (
	"bytes"
	"time"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/creatives"
	"rebound/rtb"
)

// Trace collects what the stages of one decision compared, for people who ask why it was
// made. It is filled only if the request has one ([Request.Trace]), shares no memory with
// the decision, and does not change it. It allocates.
type Trace struct {
	// Err is why the request could not be read; nil if it could.
	Err error
	// Looked are the identifiers by which a visitor was looked up, in the order of the
	// request, and Found the index of the one that found it; -1 if none did.
	Looked []rtb.ExternalID
	Found  int
	// Deadline is when the response had to be sent; zero if the request could not be read.
	Deadline time.Time
	// Checks describe the drops of the outcome, in the same order.
	Checks []Check
	// Others are the active lines that were not candidates.
	Others []LineCheck
	// Audiences are those of all active lines, evaluated for the visitor and the request.
	Audiences []AudienceTrace
	// Prices are the ways to bid that were priced, in the order of the decision.
	Prices []PriceTrace
}

// Check is what a check that refused a line compared.
type Check struct {
	Value string // what the request, the visitor or the bid has
	Limit string // what the line or the request asks for; may be empty
	// Frees is when the check would pass by itself; zero if that is not known.
	Frees time.Time
}

// LineCheck is the first check that refused a line that was not a candidate.
type LineCheck struct {
	Line   *campaigns.Line
	Reason rtb.NoBidReason
	Check
}

// AudienceTrace is an audience with the conditions of its rule.
type AudienceTrace struct {
	Program    *audiences.Program
	Verdict    audiences.Verdict
	Conditions []audiences.Met
}

// PriceTrace is the derivation of one price, whether or not it became a bid. Amounts are
// CPM: Price and Floor in Currency, Value, Quote and MaxCPM in the advertiser's.
type PriceTrace struct {
	Line     *campaigns.Line
	Imp      int // index into the opportunity's impressions
	Deal     string
	Creative *creatives.Creative
	Products []string // ids of the products

	Currency                   rtb.Currency
	Value, MaxCPM, Price       rtb.CPM
	Floor                      rtb.CPM
	Recency, Intensity, Adjust float64
	Rate                       float64
	Quote                      rtb.Quote
	Estimate                   rtb.Estimate // of a line with a goal
	FirstPrice                 bool

	Reason rtb.NoBidReason // NoBidNone: the price reaches the floor
}

// identified adds how the visitor was looked up.
func (t *Trace) identified(d *Decision) {
	t.Deadline, t.Found = d.deadline, -1
	for _, id := range d.ids {
		t.Looked = append(t.Looked, rtb.ExternalID{Kind: id.Kind, Scope: bytes.Clone(id.Scope), Value: bytes.Clone(id.Value), MM: id.MM})
	}
	if d.known {
		t.Found = d.visitor.Found - 1
	}
}

// price adds the derivation of an option's price.
func (t *Trace) price(d *Decision, opt *option, c *candidate, r rtb.NoBidReason) {
	p := &opt.pricing
	x := PriceTrace{Line: c.line, Imp: opt.imp, Creative: opt.creative, Currency: p.currency, Value: p.value, MaxCPM: c.line.Bid.MaxCPM,
		Price: p.price, Floor: p.floor, Recency: p.recency, Intensity: p.intensity, Adjust: p.adjust, Rate: p.rate.Float(), Quote: p.quote, Estimate: p.estimate,
		FirstPrice: p.firstPrice, Reason: r}
	if deal := d.dealOf(opt); deal != nil {
		x.Deal = string(deal.ID)
	}
	for _, product := range d.products[opt.products[0]:opt.products[1]] {
		x.Products = append(x.Products, product.ID)
	}
	if r != rtb.NoBidNone && x.Price == 0 && p.rate != (rtb.Rate{}) {
		offered := p.quote.Price
		if offered == 0 {
			offered = min(p.value, c.line.Bid.MaxCPM)
		}
		x.Price = offered.Convert(p.rate.Inverse(), rtb.RoundDown)
	}
	t.Prices = append(t.Prices, x)
}

// finish adds what is known once the request is decided, and before its facts are dropped.
func (t *Trace) finish(d *Decision) {
	x := d.catalog.Index
	considered := make(map[*campaigns.Line]bool, len(d.out.Drops)+len(d.out.Bids)+len(d.candidates))
	for i := range d.out.Drops {
		considered[d.out.Drops[i].Line] = true
	}
	for i := range d.out.Bids {
		considered[d.out.Bids[i].Line] = true
	}
	for i := range d.candidates {
		considered[d.candidates[i].line] = true
	}
	for _, r := range d.ranking.list {
		considered[x.LiveLine(r.ordinal)] = true
	}
	seen := map[*audiences.Program]bool{}
	if d.requestRefused() == rtb.NoBidNone {
		t.Others = make([]LineCheck, 0, max(x.Live()-len(considered), 0))
	}
	for n := range x.Live() {
		l := x.LiveLine(int32(n))
		if !considered[l] && d.requestRefused() == rtb.NoBidNone {
			t.Others = append(t.Others, t.other(d, l))
		}
		for _, list := range [][]*audiences.Program{l.Audience.Include, l.Audience.AnyOf, l.Audience.Exclude, {l.Audience.Buyers, l.Audience.Suppressed}} {
			for _, p := range list {
				if p != nil && !seen[p] {
					seen[p] = true
					t.Audiences = append(t.Audiences, AudienceTrace{p, p.EvalRequest(&d.visitor, d.facts.Request(), d.now, audiences.Window{}),
						p.Conditions(&d.visitor, d.facts.Request(), d.now)})
				}
			}
		}
	}
}

// requestRefused returns why no line was considered, or NoBidNone.
func (d *Decision) requestRefused() rtb.NoBidReason {
	if len(d.out.Drops) > 0 || len(d.out.Bids) > 0 || d.out.Reason == rtb.NoBidNoAudience || d.out.Reason == rtb.NoBidNone {
		return rtb.NoBidNone
	}
	return d.out.Reason
}

// other returns why an active line is not a candidate.
func (t *Trace) other(d *Decision, l *campaigns.Line) LineCheck {
	if d.anonymous && !l.Contextual {
		why := d.permissions.Refusal
		switch {
		case why != rtb.NoBidNone:
		case d.unmatched:
			why = rtb.NoBidUnknownVisitor
		default:
			why = rtb.NoBidNoID
		}
		return LineCheck{l, why, Check{Value: "the visitor is not known, so that only contextual lines may bid"}}
	}
	r := l.Audience.Match(&d.visitor, d.facts.Request(), d.now).Reason
	if r == rtb.NoBidNone {
		return LineCheck{l, r, Check{Value: "not evaluated, because it could not have changed the bids"}}
	}
	return LineCheck{l, r, t.audience(d, l)}
}
