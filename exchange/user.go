package exchange

import (
	"bytes"
	"encoding/base64"
	"slices"

	"rebound/rtb"
)

// user reads what Head needs of the user (OpenRTB 2.6 §3.2.20): identifiers and
// consent. Data and keywords are left to Rest. Of two users the last one wins,
// except for consent.
func (d *Decoder) user(o *rtb.Opportunity) {
	s, h := &d.s, &d.head
	h.user, h.buyerUID, h.userID, h.userGeo, h.eids = s.i, nil, nil, nil, [2]int{}
	if !s.enter('{') {
		h.user = 0
		s.skip()
		return
	}
	for s.member() {
		switch string(s.key) {
		case "id":
			h.userID = s.exact(s.value(), maxIdentifier)
		case "buyeruid":
			h.buyerUID = s.exact(s.value(), maxIdentifier)
		case "eids":
			h.eids[0] = s.mark()
		case "geo":
			h.userGeo = d.geoCountry()
		case "ext":
			d.userExt(o)
		default:
			if s.keyFolds("consent") {
				d.privacyText(&o.Signals.Consent, &o.Signals.ConsentBad)
			} else {
				s.skip()
			}
		}
	}
}

// userExt reads user.ext, where OpenRTB 2.5 has consent and eids. An unreadable
// user.ext can only hide consent, and missing consent restricts anyway.
func (d *Decoder) userExt(o *rtb.Opportunity) {
	s, sig := &d.s, &o.Signals
	d.head.eids[1] = 0
	if !s.open('{') {
		return
	}
	for s.member() {
		switch {
		case string(s.key) == "eids":
			d.head.eids[1] = s.mark()
		case s.keyFolds("consent"):
			d.privacyText(&sig.Consent, &sig.ConsentBad)
		case s.keyFolds("us_privacy"):
			d.privacyText(&sig.USPrivacy, &sig.USPBad)
		case s.keyFolds("gdpr"):
			sig.GDPR = sig.GDPR.Or(s.readFlag())
		case s.keyFolds("npa"):
			sig.NPA = sig.NPA.Or(s.readFlag())
		default:
			s.skip()
		}
	}
}

// collectIDs lists the identifiers in the order of lookups: buyeruid, eids, ifa,
// user.id. The country is the device's, or else the user's.
func (d *Decoder) collectIDs(p *Profile, o *rtb.Opportunity) {
	h := &d.head
	o.Signals.AppliesDOOH = h.dooh != 0 || o.Device.Type == deviceTypeDOOH
	o.Signals.Country = h.geo
	if len(h.geo) == 0 {
		o.Signals.Country = h.userGeo
	}
	var id []byte
	if id, d.s.buf = decodeBuyerUID(h.buyerUID, d.s.buf, p.buyerB64); len(id) > 0 {
		o.IDs = append(o.IDs, rtb.ExternalID{Kind: rtb.IDVisitor, Value: id, MM: -1})
		if p.buyerIFA && (isUUID(id) || rtb.IsPseudonym(id)) && namesPerson(o) && !zeros(id) {
			o.IDs = append(o.IDs, rtb.ExternalID{Kind: rtb.IDIFA, Value: id, MM: -1})
		}
	}
	if d.Sources == nil || len(d.Sources) > 0 {
		d.eids(o, true)
	}
	if d.Unlisted && d.Sources != nil {
		d.eids(o, false)
	}
	if ifa := d.usableIFA(o); len(ifa) > 0 {
		o.IDs = append(o.IDs, rtb.ExternalID{Kind: rtb.IDIFA, Value: ifa, MM: -1})
	}
	if len(h.userID) > 0 {
		o.IDs = append(o.IDs, rtb.ExternalID{Kind: rtb.IDExchange, Value: h.userID, MM: -1})
	}
}

// decodeBuyerUID decodes web-safe base64 if the profile uses it; other text is
// returned unchanged. buf is scratch memory.
func decodeBuyerUID(id, buf []byte, b64 bool) (decoded, scratch []byte) {
	if !b64 {
		return id, buf
	}
	from := len(buf)
	longer, err := base64.RawURLEncoding.AppendDecode(buf, bytes.TrimRight(id, "="))
	if err != nil {
		return id, buf
	}
	return longer[from:len(longer):len(longer)], longer
}

// usableIFA returns the advertising id if it may identify a person: it is not all
// zeros or a session id, the device is not a public screen, and tracking is not limited.
func (d *Decoder) usableIFA(o *rtb.Opportunity) []byte {
	if !namesPerson(o) || string(d.head.ifaType) == "sessionid" || zeros(d.head.ifa) {
		return nil
	}
	return d.head.ifa
}

// namesPerson reports whether an advertising id of the request may identify a
// person: the device is not a public screen, and tracking is not limited.
func namesPerson(o *rtb.Opportunity) bool {
	limited := func(f rtb.Flag) bool { return f == rtb.Yes || f == rtb.Unreadable }
	return !o.Signals.AppliesDOOH && !limited(o.Signals.LMT) && !limited(o.Signals.DNT)
}

// isUUID reports whether an identifier has the form of a UUID, as advertising ids
// have (RFC 9562 §4).
func isUUID(id []byte) bool {
	if len(id) != 36 {
		return false
	}
	for i, c := range id {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c-'0' > 9 && c|0x20-'a' > 5:
			return false
		}
	}
	return true
}

// zeros reports whether an advertising id is all zeros, which means that there is
// none.
func zeros(ifa []byte) bool { return len(bytes.Trim(ifa, "0-")) == 0 }

// eids reads the extended identifiers of the sources that are listed, or of the others.
// Senders in transition split them between both places.
func (d *Decoder) eids(o *rtb.Opportunity, listed bool) {
	for _, at := range d.head.eids {
		if at != 0 {
			d.eidList(o, at, listed)
		}
	}
}

// eidList reads extended identifiers of one place (OpenRTB 2.6 §3.2.27, §3.2.28). Each uid
// of a source is a separate identifier. Sources that are not asked for do not count toward
// the limit.
func (d *Decoder) eidList(o *rtb.Opportunity, at int, listed bool) {
	s := &d.s
	s.at(at)
	if !s.enter('[') {
		return
	}
	limit := len(o.IDs) + maxEIDs
	for len(o.IDs) < limit && s.element() {
		if !s.open('{') {
			continue
		}
		var source []byte
		mm, from, uids := -1, len(o.IDs), 0
		for s.member() {
			switch string(s.key) {
			case "source":
				source = bytes.TrimSpace(s.readText())
			case "mm":
				mm = s.readInt(-1)
			case "uids":
				uids = s.mark()
			default:
				s.skip()
			}
		}
		if uids == 0 || len(source) == 0 || d.lists(source) != listed {
			continue
		}
		end := s.i
		s.at(uids)
		d.uids(o, limit)
		s.at(max(s.i, end)) // at the end of the text after an error
		for i := from; i < len(o.IDs); i++ {
			o.IDs[i].Scope, o.IDs[i].MM = source, mm
		}
	}
}

// lists reports whether a source is one of Sources.
func (d *Decoder) lists(source []byte) bool {
	return d.Sources == nil || slices.ContainsFunc(d.Sources, func(s string) bool { return rtb.EqualFold(source, s) })
}

func (d *Decoder) uids(o *rtb.Opportunity, limit int) {
	s := &d.s
	if !s.open('[') {
		return
	}
	for s.element() {
		if !s.open('{') {
			continue
		}
		id := rtb.ExternalID{Kind: rtb.IDEID}
		for s.member() {
			switch string(s.key) {
			case "id":
				id.Value = s.exact(s.value(), maxIdentifier)
			default:
				s.skip()
			}
		}
		if len(id.Value) > 0 && len(o.IDs) < limit {
			o.IDs = append(o.IDs, id)
		}
	}
}
