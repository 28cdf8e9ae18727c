package exchange

import (
	"bytes"

	"rebound/rtb"
)

// imps reads the impressions (OpenRTB 2.6 §3.2.4). An unusable impression is skipped
// and counted; two impressions with the same id make the request unusable.
func (d *Decoder) imps(p *Profile, o *rtb.Opportunity) error {
	s := &d.s
	s.at(d.head.imp)
	d.impIDs = d.impIDs[:0]
	if !s.enter('[') {
		return ErrNoUsableImp
	}
	for n := 0; n < maxImps && s.element(); n++ {
		if !s.enter('{') {
			s.skip()
			o.MalformedImps++
			continue
		}
		if len(o.Imps) < cap(o.Imps) {
			o.Imps = o.Imps[:len(o.Imps)+1]
		} else {
			o.Imps = append(o.Imps, rtb.Impression{})
		}
		last := len(o.Imps) - 1
		m := &o.Imps[last]
		*m = rtb.Impression{}
		d.pmps, d.dealLists = 0, 0
		for s.member() {
			d.impMember(m)
		}
		d.finish(p, m)
		if d.seenImp(m.ID) {
			return ErrDuplicateImp
		}
		if len(m.ID) == 0 || m.Formats == 0 {
			o.Imps = o.Imps[:last]
			o.MalformedImps++
		}
	}
	if len(o.Imps) == 0 {
		return ErrNoUsableImp
	}
	return nil
}

// seenImp records the id of an impression and reports whether an earlier one, usable
// or not, has the same id: impid in a response must identify one impression.
func (d *Decoder) seenImp(id []byte) bool {
	for _, other := range d.impIDs {
		if len(id) > 0 && bytes.Equal(id, other) {
			return true
		}
	}
	d.impIDs = append(d.impIDs, id)
	return false
}

// finish sets the fields that depend on several members.
func (d *Decoder) finish(p *Profile, m *rtb.Impression) {
	if p.DealFloorInheritsCur {
		for i := range m.Deals {
			if !m.Deals[i].CurGiven && !m.FloorCur.IsZero() {
				m.Deals[i].FloorCur = m.FloorCur
			}
		}
	}
	if m.FloorCur.IsZero() {
		m.FloorCur = rtb.USD
	}
	// Two marketplaces, or two lists of deals, may have different terms, so none of
	// their deals can be used.
	if m.DealsBad = m.DealsBad || d.pmps > 1 || d.dealLists > 1; m.DealsBad {
		m.Deals = nil
	}
	m.Deals = joinDeals(m.Deals)
}

func (d *Decoder) impMember(m *rtb.Impression) {
	s := &d.s
	switch string(s.key) {
	case "id":
		m.ID = s.exact(s.value(), maxID)
	case "bidfloor":
		s.floor(&m.Floor, &m.FloorBad)
	case "bidfloorcur":
		s.currency(&m.FloorCur, &m.FloorBad)
	case "tagid":
		m.TagID = s.exact(s.value(), maxID)
	case "secure":
		m.Secure = m.Secure.Or(s.readFlag())
	case "instl":
		m.Instl = s.readFlag() == rtb.Yes
	case "rwdd":
		d.rewarded(m)
	case "exp":
		t, _ := s.seconds()
		m.Exp = t
	case "banner":
		d.banner(m)
	case "video":
		d.video(&m.Video, m, rtb.FormatVideo)
	case "audio":
		d.video(&m.Audio, m, rtb.FormatAudio)
	case "native":
		d.native(m)
	case "pmp":
		d.pmp(m)
	case "qty":
		d.quantity(m)
	case "metric":
		d.metrics(m)
	case "ext":
		d.impExt(m)
	default:
		s.skip()
	}
}

func (d *Decoder) rewarded(m *rtb.Impression) {
	f := d.s.readFlag()
	m.Rewarded = m.Rewarded || f == rtb.Yes
	m.RewardedUnsure = m.RewardedUnsure || f == rtb.Unreadable
}

func (d *Decoder) quantity(m *rtb.Impression) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		if string(s.key) == "multiplier" {
			if f, ok := float(s.value()); ok && f > 0 {
				m.Qty = f
			}
		} else {
			s.skip()
		}
	}
}

// impExt reads imp.ext: older forms of rewarded, Google's billing ids and excluded
// creatives, and SKAdNetwork.
func (d *Decoder) impExt(m *rtb.Impression) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		switch string(s.key) {
		case "reward":
			d.rewarded(m)
		case "gpid":
			m.GPID = s.exact(s.value(), maxID)
		case "billing_id":
			d.someTexts(&m.BillingIDs)
		case "skadn":
			if v := s.value(); v.kind == kindObject {
				m.SKAdN = v.raw
			}
		case "prebid":
			d.impPrebid(m)
		case "excluded_creatives":
			d.excluded(m)
		default:
			s.skip()
		}
	}
}

func (d *Decoder) impPrebid(m *rtb.Impression) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		if string(s.key) == "is_rewarded_inventory" {
			d.rewarded(m)
		} else {
			s.skip()
		}
	}
}

// object enters the object of a format and records that the impression offers it.
// null is absent. Any other value makes the format unreadable, and so does a second
// object of the same format, which may block something that the first allows.
func (d *Decoder) object(m *rtb.Impression, f rtb.Formats, bad *bool) bool {
	s := &d.s
	*bad = *bad || m.Formats.Has(f)
	if s.enter('{') {
		m.Formats |= f
		return true
	}
	if s.value().given() {
		m.Formats |= f
		*bad = true
	}
	return false
}

// pmp reads the private marketplace (OpenRTB 2.6 §3.2.11).
func (d *Decoder) pmp(m *rtb.Impression) {
	s := &d.s
	if !s.enter('{') {
		m.DealsBad = s.value().given() || m.DealsBad
		return
	}
	d.pmps++
	for s.member() {
		switch string(s.key) {
		case "private_auction":
			f := s.readFlag()
			m.PrivateAuction = m.PrivateAuction || f == rtb.Yes || f == rtb.Unreadable
		case "deals":
			d.dealList(m)
		default:
			s.skip()
		}
	}
}

func (d *Decoder) dealList(m *rtb.Impression) {
	s := &d.s
	from := len(d.deals)
	if !s.enter('[') {
		m.DealsBad = s.value().given() || m.DealsBad
		return
	}
	d.dealLists++
	for s.element() {
		if !s.open('{') {
			continue
		}
		deal := rtb.Deal{}
		for s.member() {
			d.dealMember(&deal)
		}
		if deal.FloorCur.IsZero() {
			deal.FloorCur = rtb.USD
		} else {
			deal.CurGiven = true
		}
		if len(deal.ID) > 0 && len(d.deals)-from < maxDeals {
			d.deals = append(d.deals, deal)
		}
	}
	m.Deals = d.deals[from:len(d.deals):len(d.deals)]
}

// dealMember reads one member of a deal (OpenRTB 2.6 §3.2.12).
func (d *Decoder) dealMember(deal *rtb.Deal) {
	s := &d.s
	switch string(s.key) {
	case "id":
		deal.ID = s.exact(s.value(), maxID)
	case "bidfloor":
		s.floor(&deal.Floor, &deal.FloorBad)
	case "bidfloorcur":
		s.currency(&deal.FloorCur, &deal.FloorBad)
	case "at":
		v := s.value()
		n, ok := integer(v)
		deal.At = n
		deal.FloorBad = deal.FloorBad || v.given() && !ok
	case "wseat":
		d.invite(&deal.WSeat, &deal.ListsBad, invitedSeats)
	case "wadomain":
		d.invite(&deal.WADomain, &deal.ListsBad, domains)
	case "guar":
		deal.Guaranteed = s.readFlag() == rtb.Yes
	case "mincpmpersec":
		s.floor(&deal.MinCPMPerSec, &deal.FloorBad)
	case "durfloors":
		deal.DurFloors = d.durFloorList(&deal.FloorBad)
	default:
		s.skip()
	}
}
