package explain

import (
	"bytes"
	"fmt"
	"strings"

	"rebound/bidder"
	"rebound/rtb"
)

// signals lists the privacy signals that a request gives, without their strings.
func signals(s *rtb.Signals) (out []string) {
	flag := func(name string, f rtb.Flag) {
		switch f {
		case rtb.No:
			out = append(out, name+"=0")
		case rtb.Yes:
			out = append(out, name+"=1")
		case rtb.Unreadable:
			out = append(out, name+" unreadable")
		}
	}
	text := func(name string, b []byte, bad bool) {
		switch {
		case bad:
			out = append(out, name+" unreadable")
		case len(b) > 0:
			out = append(out, fmt.Sprintf("%s of %d characters", name, len(b)))
		}
	}
	if len(s.Country) > 0 {
		out = append(out, "country "+string(s.Country))
	} else {
		out = append(out, "no country")
	}
	flag("gdpr", s.GDPR)
	text("consent", s.Consent, s.ConsentBad)
	text("gpp", s.GPP, s.GPPBad)
	if len(s.GPPSID) > 0 {
		out = append(out, "gpp_sid "+strings.Trim(fmt.Sprint(s.GPPSID), "[]"))
	}
	switch {
	case s.USPBad:
		out = append(out, "us_privacy unreadable")
	case len(s.USPrivacy) > 0:
		out = append(out, fmt.Sprintf("us_privacy %.8q", s.USPrivacy))
	}
	flag("gpc", s.GPC)
	flag("coppa", s.COPPA)
	flag("lmt", s.LMT)
	flag("dnt", s.DNT)
	flag("npa", s.NPA)
	return out
}

// requestWhy says what was compared when a request as a whole was refused; an empty
// string if its lines say it.
func requestWhy(x *Explanation, d *bidder.Decision, r rtb.NoBidReason, t *bidder.Trace) string {
	o := d.Opportunity()
	list := func(b [][]byte) string { return string(bytes.Join(b, []byte(", "))) }
	if out := d.Outcome(); out != nil && len(out.Drops) > 0 {
		return ""
	}
	switch r {
	case rtb.NoBidMalformed, rtb.NoBidDuplicateImp:
		if t.Err != nil {
			return t.Err.Error()
		}
	case rtb.NoBidLate:
		if !t.Deadline.IsZero() {
			return fmt.Sprintf("the response is due %s after the arrival, of tmax %s", t.Deadline.Sub(x.At), orNone(x.Read.TMax))
		}
	case rtb.NoBidCrawler, rtb.NoBidInvalidTraffic:
		return fmt.Sprintf("user agent %q", o.Device.UA)
	case rtb.NoBidSeatBlocked:
		return fmt.Sprintf("wseat %s; bseat %s", orNone(list(o.WSeat)), orNone(list(o.BSeat)))
	case rtb.NoBidSiteBlocked, rtb.NoBidAdsTxt, rtb.NoBidInventory:
		u := &o.Supply
		return fmt.Sprintf("site %s, app %s, publisher %s", orNone(string(u.Domain)), orNone(string(u.Bundle)), orNone(string(u.PublisherID)))
	case rtb.NoBidSChain:
		c := &o.SChain
		return fmt.Sprintf("supply chain present: %t, readable: %t, complete: %t, %d nodes", c.Present, !c.Bad, c.Complete, len(c.Nodes))
	case rtb.NoBidCurrency:
		return "cur cannot be read"
	case rtb.NoBidAdvertiserBlocked:
		return "a block list of the request cannot be read, so that everything may be blocked"
	case rtb.NoBidNoID:
		return "identifiers: " + orNone(strings.Join(x.Read.Kinds, ", "))
	case rtb.NoBidUnknownVisitor:
		return fmt.Sprintf("looked up by %s, found by none", strings.Join(lookedUp(t), ", "))
	}
	if r >= rtb.NoBidPrivacyCOPPA && r <= rtb.NoBidPrivacyUnknownCountry {
		return "signals: " + orNone(strings.Join(x.Privacy.Given, ", "))
	}
	return ""
}

func lookedUp(t *bidder.Trace) (out []string) {
	for i := range t.Looked {
		out = append(out, KindOf(&t.Looked[i]))
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
