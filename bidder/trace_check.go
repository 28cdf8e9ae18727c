package bidder

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/rtb"
)

// check describes what the check that refused a line compared. What pacing compared
// (frequency, in_flight, budget, grant) is not known here. imp is an index, or -1.
func (t *Trace) check(d *Decision, l *campaigns.Line, imp int, r rtb.NoBidReason) Check {
	o := &d.opportunity
	switch r {
	case rtb.NoBidNoCampaign:
		return liveCheck(l, d.now)
	case rtb.NoBidPrivacyCOPPA:
		return Check{Value: "the request is for children", Limit: "child_safe"}
	case rtb.NoBidNoAudience, rtb.NoBidAudienceExcluded:
		if imp < 0 {
			return t.audience(d, l)
		}
	case rtb.NoBidGeo:
		v := &o.Device
		return Check{Value: "device in " + orNone(joinTexts(" ", v.Country, v.Region, v.City, v.ZIP))}
	case rtb.NoBidDevice:
		v := &o.Device
		return Check{Value: fmt.Sprintf("device type %d, os %s, browser %s, language %s", v.Type, orNone(string(v.OS)), orNone(string(v.Browser)), orNone(string(v.Language)))}
	case rtb.NoBidDaypart:
		return d.daypartCheck(l)
	case rtb.NoBidPaused:
		return Check{Value: "campaign " + l.ID.Campaign + " is paused"}
	case rtb.NoBidAdvertiserBlocked:
		return d.blockedCheck(l)
	case rtb.NoBidSiteBlocked, rtb.NoBidInventory, rtb.NoBidSChain, rtb.NoBidAdsTxt:
		return d.supplyCheck(l, imp)
	case rtb.NoBidDealRequired:
		return dealCheck(&o.Imps[imp])
	case rtb.NoBidCurrency, rtb.NoBidRateStale:
		return d.currencyCheck(l)
	case rtb.NoBidSameImpression:
		return d.pathCheck(imp)
	case rtb.NoBidFloor, rtb.NoBidPaced:
		return t.priceCheck(l, imp, r)
	}
	if imp >= 0 && r >= rtb.NoBidNoFormat && r <= rtb.NoBidCreativePending || imp >= 0 && r == rtb.NoBidNoAudience {
		return d.creativeCheck(l, imp)
	}
	return Check{}
}

func orNone(s string) string {
	if s == "" {
		return "not given"
	}
	return s
}

func joinTexts(sep string, parts ...[]byte) string {
	return string(bytes.Join(slices.DeleteFunc(parts, func(p []byte) bool { return len(p) == 0 }), []byte(sep)))
}

// liveCheck describes when a line runs.
func liveCheck(l *campaigns.Line, now time.Time) Check {
	if now.Before(l.Start) {
		return Check{Value: now.UTC().Format(time.RFC3339), Limit: "start " + l.Start.UTC().Format(time.RFC3339), Frees: l.Start.UTC()}
	}
	return Check{Value: now.UTC().Format(time.RFC3339), Limit: "end " + l.End.UTC().Format(time.RFC3339)}
}

// audience names the audience of a line that keeps the visitor out.
func (t *Trace) audience(d *Decision, l *campaigns.Line) Check {
	a, v, rq := &l.Audience, &d.visitor, d.facts.Request()
	for _, p := range a.Include {
		if r := p.EvalRequest(v, rq, d.now, a.Window); !r.In {
			return missing(p, r, p.EvalRequest(v, rq, d.now, audiences.Window{}))
		}
	}
	var names []string
	for _, p := range a.AnyOf {
		names = append(names, p.ID())
		if p.EvalRequest(v, rq, d.now, a.Window).In {
			names = nil
			break
		}
	}
	if len(names) > 0 {
		return Check{Value: "in none of " + strings.Join(names, ", "), Limit: "any_of"}
	}
	for _, p := range a.Exclude {
		if p.EvalRequest(v, rq, d.now, audiences.Window{}).In {
			return Check{Value: "in " + p.ID(), Limit: "exclude"}
		}
	}
	if a.Suppressed != nil && a.Suppressed.Eval(v, d.now, audiences.Window{}).In {
		return Check{Value: "on a list that suppresses", Limit: "exclude"}
	}
	if a.Buyers != nil {
		if r := a.Buyers.Eval(v, d.now, audiences.Window{Within: a.Converters}); r.In {
			return Check{Value: "bought at " + r.Last.Time().Format(time.RFC3339), Limit: "exclude_converters", Frees: r.Last.Time().Add(a.Converters)}
		}
	}
	if l.Targeting != nil && l.Targeting.Device(&d.facts, d.now) == rtb.NoBidNoAudience {
		return Check{Value: "segments of the request", Limit: "request_segments"}
	}
	return Check{}
}

// missing describes why a visitor is not in an audience that a line includes: whole is the
// verdict without the line's window.
func missing(p *audiences.Program, r, whole audiences.Verdict) Check {
	switch {
	case r.Excluded:
		return Check{Value: "excluded from " + p.ID() + " by its own rule", Limit: "include"}
	case whole.In:
		return Check{Value: "in " + p.ID() + ", but its last event, at " + whole.Last.Time().Format(time.RFC3339) + ", is outside the window of the line", Limit: "within, not_within"}
	}
	return Check{Value: "not in " + p.ID(), Limit: "include"}
}

// daypartCheck finds when a line's time of day begins, to the quarter hour.
func (d *Decision) daypartCheck(l *campaigns.Line) Check {
	const step = 15 * time.Minute
	c := Check{Value: d.now.In(l.Advertiser.Zone).Format("Mon 15:04 MST")}
	for at := d.now.Truncate(step).Add(step); at.Sub(d.now) < 8*24*time.Hour; at = at.Add(step) {
		if l.Targeting.Device(&d.facts, at) == rtb.NoBidNone {
			c.Frees = at.UTC()
			break
		}
	}
	return c
}

// blockedCheck names what blocks an advertiser or its app.
func (d *Decision) blockedCheck(l *campaigns.Line) Check {
	o := &d.opportunity
	for _, e := range o.BAdv {
		for _, domain := range d.catalog.registrable(l.Advertiser) {
			if blocksDomain(e, domain) {
				return Check{Value: domain, Limit: "badv " + string(e)}
			}
		}
	}
	if l.App != nil && containsFold(o.BApp, l.App.Bundle) {
		return Check{Value: l.App.Bundle, Limit: "bapp"}
	}
	return Check{Value: "no disclosure that both sides can render", Limit: "dsarequired " + strconv.Itoa(o.DSARequired)}
}

// supplyCheck describes where a request comes from.
func (d *Decision) supplyCheck(l *campaigns.Line, imp int) Check {
	u := &d.opportunity.Supply
	c := Check{Value: "site " + orNone(string(u.Domain))}
	switch {
	case u.App:
		c.Value = "app " + orNone(string(u.Bundle))
	case u.DOOH:
		c.Value = "screen " + orNone(string(u.ID))
	}
	if len(u.PublisherID) > 0 {
		c.Value += ", publisher " + string(u.PublisherID)
	}
	if imp >= 0 {
		c.Value += fmt.Sprintf(", position %d", positionOf(&d.opportunity.Imps[imp]))
	} else if !l.On(d.profile.ID) {
		c.Limit = "exchanges without " + d.profile.ID
	}
	return c
}

func dealCheck(imp *rtb.Impression) Check {
	var ids []string
	for i := range imp.Deals {
		ids = append(ids, string(imp.Deals[i].ID))
	}
	c := Check{Value: "deals of the impression: " + orNone(strings.Join(ids, ", ")), Limit: "deals of the line"}
	if imp.PrivateAuction {
		c.Value += " (private auction)"
	}
	return c
}

func (d *Decision) currencyCheck(l *campaigns.Line) Check {
	var names []string
	for _, c := range d.opportunity.Currencies {
		names = append(names, c.String())
	}
	c := Check{Value: "advertiser " + l.Advertiser.Currency.String(), Limit: "cur " + orNone(strings.Join(names, ", "))}
	if r := d.catalog.Rates; r != nil && !r.AsOf.IsZero() {
		c.Limit += ", rates of " + r.AsOf.UTC().Format(time.RFC3339)
		if r.MaxAge > 0 {
			c.Limit += ", max_age " + r.MaxAge.String()
		}
	}
	return c
}

// priceCheck compares the last price of a line on an impression that was refused for r.
func (t *Trace) priceCheck(l *campaigns.Line, imp int, r rtb.NoBidReason) Check {
	for i := len(t.Prices) - 1; i >= 0; i-- {
		p := &t.Prices[i]
		if p.Line != l || p.Imp != imp || p.Reason != r {
			continue
		}
		if p.Currency.IsZero() {
			return Check{Value: "the floor cannot be read"}
		}
		return Check{Value: p.Price.String(), Limit: p.Floor.String()}
	}
	return Check{}
}

// creativeCheck gives the reason of each creative of a line on an impression.
func (d *Decision) creativeCheck(l *campaigns.Line, i int) Check {
	var parts []string
	for n, c := range l.Creatives {
		r := rtb.NoBidNoAudience
		if l.Rotation == nil || l.Rotation.Eligible(n, &d.visitor, d.facts.Request(), d.now) {
			_, r = d.fitting(l, i, n)
		}
		text := c.ID + ": " + r.String()
		if r == rtb.NoBidSize {
			text += " " + sizesText(c.Sizes)
		}
		parts = append(parts, text)
	}
	imp := &d.opportunity.Imps[i]
	check := Check{Value: strings.Join(parts, ", ")}
	if len(imp.Banner.Sizes) > 0 {
		check.Limit = "slot of " + sizesText(imp.Banner.Sizes)
	}
	return check
}

func sizesText(sizes []rtb.Size) string {
	var out []string
	for _, s := range sizes {
		out = append(out, fmt.Sprintf("%dx%d", s.W, s.H))
	}
	return strings.Join(out, ", ")
}
