package bidder

import (
	"time"

	"rebound/exchange"
	"rebound/rtb"
)

// identify finds the visitor of a request whose ids and privacy signals have
// been read. It stops at the first reason for which the request must not be
// answered: identifiers are looked up only after privacy has permitted it.
func (d *Decision) identify(visitors Visitors) rtb.NoBidReason {
	o, p := &d.opportunity, d.profile
	var ok bool
	if d.deadline, ok = deadline(d.now, d.clock(), p, o.TMax); !ok {
		return rtb.NoBidLate
	}
	if r := d.budgets.Stopped(p.ID); r != rtb.NoBidNone {
		return r
	}
	if r, code := d.checkTraffic(); r != rtb.NoBidNone {
		d.out.Code = code
		return r
	}
	d.permissions = d.permit()
	if d.permissions.Level != rtb.LevelPersonalised {
		return d.tryContextual(refusal(d.permissions))
	}
	switch r := visitors.Find(p.IDSpace, d.listedIDs(), &d.visitor, d.request.BeforeRead); r {
	case rtb.NoBidNone:
		d.known = true
		return r
	case rtb.NoBidNoID, rtb.NoBidUnknownVisitor:
		d.unmatched = r == rtb.NoBidUnknownVisitor
		return d.tryContextual(r)
	default:
		return r
	}
}

// tryContextual lets contextual lines bid although the visitor is unknown or
// must not be known. It returns r where there are no such lines, or where privacy
// permits no bid at all (conformance G22).
func (d *Decision) tryContextual(r rtb.NoBidReason) rtb.NoBidReason {
	if d.permissions.Level < rtb.LevelContextual || len(d.catalog.Index.Contextual()) == 0 {
		return r
	}
	d.anonymous, d.child = true, d.permissions.Refusal == rtb.NoBidPrivacyCOPPA
	d.visitor.Reset()
	return rtb.NoBidNone
}

// listedIDs returns the request's identifiers without the eids of sources that
// are not listed. Listed eids are in the order of the list.
func (d *Decision) listedIDs() []rtb.ExternalID {
	all := d.opportunity.IDs
	d.ids = d.ids[:0]
	for i := range all {
		if all[i].Kind != rtb.IDEID {
			d.ids = append(d.ids, all[i])
		}
	}
	if len(d.ids) == len(all) {
		return d.ids
	}
	for _, source := range d.catalog.EIDSources {
		for i := range all {
			if all[i].Kind == rtb.IDEID && rtb.EqualFold(all[i].Scope, source) {
				d.ids = append(d.ids, all[i])
			}
		}
	}
	return d.ids
}

// refusal returns the reason of a privacy refusal. One without a reason still
// refuses.
func refusal(p rtb.Permissions) rtb.NoBidReason {
	if p.Refusal == rtb.NoBidNone {
		return rtb.NoBidError
	}
	return p.Refusal
}

// minWork is the shortest time in which a request can be decided. A request that
// leaves less is refused without work.
const minWork = time.Millisecond

// deadline returns when the response must be sent: the arrival plus tmax, less
// the profile's network allowance and a margin (OpenRTB 2.6 §3.2.1; conformance
// T15). ok is false when too little time is left.
func deadline(arrival, now time.Time, p *exchange.Profile, tmax time.Duration) (at time.Time, ok bool) {
	at = arrival.Add(p.Budget(tmax))
	return at, at.Sub(now) >= minWork
}
