package exchange

import (
	"bytes"

	"rebound/rtb"
)

// regs reads the regulations object in its 2.6 form and in the ext form of 2.5
// (OpenRTB 2.6 §3.2.3 and appendix B). Signals only become stricter, so duplicates
// and case variants of a key cannot revoke one.
func (d *Decoder) regs(o *rtb.Opportunity) {
	s := &d.s
	if !s.enter('{') {
		if s.value().given() {
			// It may have held any signal.
			o.Signals.ExtUnread = true
			o.Signals.COPPA = o.Signals.COPPA.Or(rtb.Unreadable)
		}
		return
	}
	for s.member() {
		switch {
		case s.keyFolds("ext"):
			d.regsExt(o)
		case s.keyFolds("dsa"):
			d.dsa(o)
		case d.regsSignal(o):
		default:
			s.skip()
		}
	}
}

func (d *Decoder) regsExt(o *rtb.Opportunity) {
	s := &d.s
	if !s.enter('{') {
		if s.value().given() {
			o.Signals.ExtUnread = true
		}
		return
	}
	for s.member() {
		switch {
		case d.regsSignal(o):
		case s.keyFolds("dsa"):
			d.dsa(o)
		default:
			s.skip()
		}
	}
}

// regsSignal reads the member at hand if it is a privacy signal of regs or regs.ext,
// and reports whether it is one.
func (d *Decoder) regsSignal(o *rtb.Opportunity) bool {
	s, sig := &d.s, &o.Signals
	var f *rtb.Flag
	switch {
	case s.keyFolds("gdpr"):
		f = &sig.GDPR
	case s.keyFolds("coppa"):
		f = &sig.COPPA
	case s.keyFolds("gpc"):
		f = &sig.GPC
	case s.keyFolds("lgpd"), s.keyFolds("npa"):
		f = &sig.NPA
	case s.keyFolds("us_privacy"):
		d.privacyText(&sig.USPrivacy, &sig.USPBad)
		return true
	case s.keyFolds("gpp"):
		d.privacyText(&sig.GPP, &sig.GPPBad)
		return true
	case s.keyFolds("gpp_sid"):
		d.sections(sig)
		return true
	default:
		return false
	}
	*f = f.Or(s.readFlag())
	return true
}

// privacyText reads a consent string. If there is a second one that differs, it is
// unknown which one is valid, so bad is set.
func (d *Decoder) privacyText(dst *[]byte, bad *bool) {
	v := d.s.value()
	switch {
	case !v.given():
	case v.kind != kindString:
		*bad = true
	default:
		t := d.s.text(v)
		if len(*dst) > 0 && len(t) > 0 && !bytes.Equal(*dst, t) {
			*bad = true
		}
		if len(t) > 0 {
			*dst = t
		}
	}
}

// sections reads gpp_sid; the sections of all locations apply.
func (d *Decoder) sections(sig *rtb.Signals) {
	s := &d.s
	add := func(v value) {
		n, ok := integer(v)
		switch {
		case !v.given():
		case ok && len(d.sids) < maxSIDs:
			d.sids = append(d.sids, n)
		case !ok && v.kind == kindString:
			if d.sids, ok = appendCodes(d.sids, maxSIDs, s.text(v)); !ok {
				sig.GPPSIDBad = true
			}
		default:
			sig.GPPSIDBad = true
		}
	}
	if s.enter('[') {
		for s.element() {
			add(s.value())
		}
	} else {
		add(s.value())
	}
	sig.GPPSID = d.sids
}

// treatments reads ext.privacy_treatments (Google). A request whose user data may
// not be collected is not personalised.
func (d *Decoder) treatments(o *rtb.Opportunity) {
	s, npa := &d.s, &o.Signals.NPA
	if !s.enter('{') {
		if s.value().given() {
			*npa = npa.Or(rtb.Unreadable)
		}
		return
	}
	for s.member() {
		switch string(s.key) {
		case "non_personalized_ads":
			*npa = npa.Or(s.readFlag())
		case "allow_user_data_collection":
			switch s.readFlag() {
			case rtb.No:
				*npa = rtb.Yes
			case rtb.Unreadable:
				*npa = npa.Or(rtb.Unreadable)
			}
		default:
			s.skip()
		}
	}
}

// pubRender reads who renders the disclosure, from the publisher's side.
func pubRender(v value) rtb.DSARender {
	n, ok := integer(v)
	switch {
	case !v.given():
		return rtb.DSARenderAbsent
	case !ok || n < 0 || n > 2:
		return rtb.DSARenderUnreadable
	}
	return rtb.DSARenderNo + rtb.DSARender(n)
}

// dsa reads regs.ext.dsa (IAB extension "DSA transparency"). A value that is present
// and cannot be read counts as required.
func (d *Decoder) dsa(o *rtb.Opportunity) {
	const required = 2
	s := &d.s
	if !s.enter('{') {
		if s.value().given() {
			o.DSARequired = max(o.DSARequired, required)
		}
		return
	}
	for s.member() {
		switch string(s.key) {
		case "dsarequired", "required":
			v := s.value()
			n, ok := integer(v)
			if v.given() && !ok {
				n = required
			}
			o.DSARequired = max(o.DSARequired, n)
		case "pubrender":
			o.DSAPubRender = o.DSAPubRender.And(pubRender(s.value()))
		default:
			s.skip()
		}
	}
}

// strayPrivacy reads a user or device object whose key is in another letter case.
// Only restricting signals of it count.
func (d *Decoder) strayPrivacy(o *rtb.Opportunity) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		if !d.deviceSignal(o) {
			s.skip()
		}
	}
}

// deviceSignal reads the member at hand if it is a privacy signal of the device,
// and reports whether it is one. The key may be in any letter case.
func (d *Decoder) deviceSignal(o *rtb.Opportunity) bool {
	s := &d.s
	switch {
	case s.keyFolds("lmt"):
		o.Signals.LMT = o.Signals.LMT.Or(s.readFlag())
	case s.keyFolds("dnt"):
		o.Signals.DNT = o.Signals.DNT.Or(s.readFlag())
	case s.keyFolds("ext"):
		ifaType := d.head.ifaType
		d.deviceExt(o)
		d.head.ifaType = ifaType // only the exact key counts
	default:
		return false
	}
	return true
}
