package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"rebound/bidder"
	"rebound/campaigns"
	"rebound/internal/spec"
	"rebound/pacing"
	"rebound/rtb"
)

// Results of a line.
const (
	resultBid     = "bid"
	resultOutbid  = "outbid"
	resultRefused = "refused"
	resultSkipped = "skipped" // it could not have changed the bids
)

// Line is what became of one line, on one impression or on all.
type Line struct {
	Line   string          `json:"line"` // advertiser/campaign/line
	ImpID  string          `json:"impid,omitempty"`
	Result string          `json:"result"` // bid, outbid, refused or skipped
	Reason rtb.NoBidReason `json:"reason,omitempty"`
	Value  string          `json:"value,omitempty"` // what was compared
	Limit  string          `json:"limit,omitempty"`
	// Frees is when the check would pass by itself, if that is known.
	Frees time.Time `json:"frees,omitzero"`
	Text  string    `json:"text,omitempty"`

	id rtb.LineID
}

// lines adds every line, the active ones first.
func (e *Explainer) lines(x *Explanation, d *bidder.Decision, t *bidder.Trace) {
	o, out := d.Opportunity(), d.Outcome()
	all := e.Bidder.Catalog().Index.Lines()
	seen := make(map[rtb.LineID]bool, len(all)) // by id: a reload may have replaced the lines
	x.Lines = make([]Line, 0, len(all)+len(out.Bids)+len(out.Drops))
	add := func(l *campaigns.Line, imp string, result string) *Line {
		seen[l.ID] = true
		x.Lines = append(x.Lines, Line{Line: l.ID.String(), ImpID: imp, Result: result, id: l.ID})
		return &x.Lines[len(x.Lines)-1]
	}
	for i := range out.Bids {
		b := &out.Bids[i]
		add(b.Line, impID(o, b.Offer.Imp), resultBid).Text = "at " + b.Offer.Price.String() + " with creative " + b.Creative.ID
	}
	for i := range out.Drops {
		drop := &out.Drops[i]
		l := add(drop.Line, impID(o, drop.Imp), resultRefused)
		if l.Reason = drop.Reason; drop.Reason == rtb.NoBidNone {
			l.Result, l.Text = resultOutbid, outbidText(out, drop)
			continue
		}
		check := bidder.Check{}
		if i < len(t.Checks) {
			check = t.Checks[i]
		}
		e.describe(l, x, drop.Line, drop.Imp, check, t)
	}
	for i := range t.Others {
		c := &t.Others[i]
		l := add(c.Line, "", resultRefused)
		if l.Reason = c.Reason; c.Reason == rtb.NoBidNone {
			l.Result = resultSkipped
		}
		e.describe(l, x, c.Line, -1, c.Check, t)
	}
	for _, line := range all {
		if seen[line.ID] {
			continue
		}
		switch {
		case line.Status != campaigns.StatusActive:
			l := add(line, "", resultRefused)
			l.Reason, l.Value, l.Limit = rtb.NoBidNoCampaign, "status "+line.Status.String(), "status active"
			l.Text = l.Value
		case x.NoBid == rtb.NoBidNone:
			add(line, "", resultSkipped).Text = "not evaluated, because it could not have changed the bids"
		}
	}
}

// describe fills in what a check compared.
func (e *Explainer) describe(l *Line, x *Explanation, line *campaigns.Line, imp int, c bidder.Check, t *bidder.Trace) {
	l.Value, l.Limit, l.Frees = c.Value, c.Limit, c.Frees
	switch l.Reason {
	case rtb.NoBidFrequency, rtb.NoBidInFlight:
		if x.Visitor != nil {
			e.frequency(l, x.Visitor, line, x.At)
		}
	case rtb.NoBidBudget, rtb.NoBidGrant:
		e.budget(l, line, lastPrice(t, line, imp), x.At)
	case rtb.NoBidFloor, rtb.NoBidPaced:
		if l.Limit != "" {
			l.Text = l.Value + " < " + l.Limit
			if p := lastPrice(t, line, imp); p != nil && p.Quote.Multiplier > 1 {
				l.Text += fmt.Sprintf(" (value %s / pacing multiplier %.4g)", p.Value, p.Quote.Multiplier)
			}
			return
		}
	}
	if l.Text != "" {
		return
	}
	l.Text = l.Value
	if l.Limit != "" {
		l.Text += " (" + l.Limit + ")"
	}
	if !l.Frees.IsZero() {
		l.Text += ", frees " + clock(l.Frees, x.At)
	}
}

// frequency fills in the cap that refuses.
func (e *Explainer) frequency(l *Line, v *rtb.Visitor, line *campaigns.Line, at time.Time) {
	for _, u := range e.Money.FrequencyOf(v, line.Frequency, at) {
		if u.Reason != l.Reason {
			continue
		}
		switch {
		case u.Gap:
			l.Value, l.Limit = spec.FormatDuration(at.Sub(u.Last.Time()).Truncate(time.Second)), spec.FormatDuration(u.Cap.MinGap)
			l.Text = fmt.Sprintf("%s since the last impression, min_gap %s", l.Value, l.Limit)
		case u.Reason == rtb.NoBidInFlight:
			l.Value, l.Limit = fmt.Sprint(u.Flying), fmt.Sprint(pacing.MaxInFlight)
			l.Text = fmt.Sprintf("%d/%d unanswered bids within %s", u.Flying, pacing.MaxInFlight, spec.FormatDuration(pacing.FlightWindow))
		default:
			l.Value, l.Limit = fmt.Sprint(u.Count), fmt.Sprintf("%d in %s", u.Cap.Max, spec.FormatDuration(u.Cap.Per))
			l.Text = fmt.Sprintf("%d/%d in %s", u.Count, u.Cap.Max, spec.FormatDuration(u.Cap.Per))
		}
		if u.Frees == 0 {
			l.Text += ", bids in flight included; it frees when they are lost or expire"
			return
		}
		l.Frees = u.Frees.Time()
		l.Text += ", frees " + clock(l.Frees, at)
		return
	}
	l.Text = "bids of the last run may still be shown"
}

// budget fills in the cap with the least room.
func (e *Explainer) budget(l *Line, line *campaigns.Line, p *bidder.PriceTrace, at time.Time) {
	rows := e.Money.LineBudgets(line.ID, at)
	if len(rows) == 0 {
		l.Text = "no cap limits the line, so it does not bid"
		return
	}
	need := rtb.Micros(1)
	if p != nil {
		need = max(p.Quote.Price.Cost(), 1)
	}
	bids := func(r pacing.BudgetRow) float64 { // for how many more bids there is room
		if room := r.Cap - r.Spent - r.Reserved; r.Unit != pacing.UnitImpressions {
			return float64(room) / float64(need)
		} else {
			return float64(room) / float64(rtb.ImpressionUnit)
		}
	}
	r := slices.MinFunc(rows, func(a, b pacing.BudgetRow) int { return cmp.Compare(bids(a), bids(b)) })
	owner := "line " + r.Line
	switch {
	case r.Campaign == "":
		owner = "advertiser " + r.Advertiser
	case r.Line == "":
		owner = "campaign " + r.Campaign
	}
	l.Value, l.Limit = r.Spent.String(), r.Cap.String()
	unit := r.Currency.String() + " spent"
	if r.Unit == pacing.UnitImpressions {
		unit = "impressions bought"
	}
	l.Text = fmt.Sprintf("%s of %s %s (%s, %s)", r.Spent, r.Cap, unit, owner, r.Window)
	if r.Reserved > 0 {
		l.Text += fmt.Sprintf(", %s reserved by bids in flight", r.Reserved)
	}
	if p != nil && r.Unit != pacing.UnitImpressions {
		l.Text += fmt.Sprintf(", the bid needs %s", p.Quote.Price.Cost())
	}
	switch {
	case l.Reason == rtb.NoBidGrant:
		l.Text += fmt.Sprintf(", granted %s, more was requested", r.Granted)
	case !r.Frees.IsZero():
		l.Frees = r.Frees
		l.Text += ", the " + r.Window + " turns at " + clock(r.Frees, at)
	case r.Reserved > 0:
		l.Text += "; it frees when they are lost or expire, or the cap is raised"
	default:
		l.Text += "; it frees when the cap is raised"
	}
}

// lastPrice returns the last price of a line on an impression, or nil.
func lastPrice(t *bidder.Trace, l *campaigns.Line, imp int) *bidder.PriceTrace {
	for i := len(t.Prices) - 1; i >= 0; i-- {
		if p := &t.Prices[i]; p.Line == l && p.Imp == imp {
			return p
		}
	}
	return nil
}

// outbidText names the bid that was better.
func outbidText(out *bidder.Outcome, drop *bidder.Drop) string {
	for i := range out.Bids {
		if b := &out.Bids[i]; b.Offer.Imp == drop.Imp && b.Line != drop.Line {
			return fmt.Sprintf("%s is better, at %s", b.Line.ID, b.Offer.Price)
		}
	}
	return "the line or the impression has its bids already"
}

// CapsText describes frequency caps: those of the line first, then those of its campaign
// and its advertiser.
func CapsText(caps []rtb.FrequencyCap) string {
	var parts []string
	gap := time.Duration(0)
	for i := range caps {
		c := &caps[i]
		gap = max(gap, c.MinGap)
		if c.Max < campaigns.Unlimited {
			parts = append(parts, fmt.Sprintf("at most %d per %s", c.Max, spec.FormatDuration(c.Per)))
		}
	}
	if gap > 0 {
		parts = append(parts, fmt.Sprintf("%s between two impressions (min_gap)", spec.FormatDuration(gap)),
			fmt.Sprintf("at most %d unanswered bids within %s", pacing.MaxInFlight, spec.FormatDuration(pacing.FlightWindow)))
	}
	if len(parts) == 0 {
		return "no cap"
	}
	return strings.Join(parts, ", ")
}

// clock formats a time of the same day as 15:04Z, a near one with seconds, and another
// one with its date.
func clock(t, now time.Time) string {
	t = t.UTC()
	switch {
	case t.Sub(now) < 10*time.Minute:
		return t.Format("15:04:05Z")
	case t.Format(time.DateOnly) == now.UTC().Format(time.DateOnly):
		return t.Format("15:04Z")
	}
	return t.Format("2006-01-02 15:04Z")
}
