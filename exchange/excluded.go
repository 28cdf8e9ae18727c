package exchange

import "rebound/rtb"

// excluded reads which of our creatives the exchange does not show on an
// impression: objects with a buyer_creative_id (Google), or plain texts. A list
// that is unreadable, too long or doubled may exclude anything.
func (d *Decoder) excluded(m *rtb.Impression) {
	s := &d.s
	from := len(d.texts)
	if !s.enter('[') {
		m.ExcludedBad = s.value().given() || m.ExcludedBad
		return
	}
	m.ExcludedBad = m.ExcludedBad || len(m.ExcludedCreativeIDs) > 0
	for s.element() {
		if !s.enter('{') {
			d.exclude(m, from, s.value())
			continue
		}
		for s.member() {
			if v := s.value(); string(s.key) == "buyer_creative_id" {
				d.exclude(m, from, v)
			}
		}
	}
	m.ExcludedCreativeIDs = d.texts[from:len(d.texts):len(d.texts)]
}

// exclude adds one creative to the list that began at from.
func (d *Decoder) exclude(m *rtb.Impression, from int, v value) {
	id := d.s.text(v)
	switch {
	case !v.given():
	case v.kind != kindString && v.kind != kindNumber, len(d.texts)-from == maxTexts:
		m.ExcludedBad = true
	case len(id) > 0:
		d.texts = append(d.texts, id)
	}
}
