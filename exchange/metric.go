package exchange

import "rebound/rtb"

// metrics reads the viewability from imp.metric (OpenRTB 2.6 §3.2.5); of several
// vendors' values the lowest one is kept.
func (d *Decoder) metrics(m *rtb.Impression) {
	s := &d.s
	m.HasViewability = false
	if !s.open('[') {
		return
	}
	for s.element() {
		if !s.open('{') {
			continue
		}
		viewable, share, ok := false, 0.0, false
		for s.member() {
			switch string(s.key) {
			case "type":
				viewable = string(s.readText()) == "viewability"
			case "value":
				share, ok = float(s.value())
			default:
				s.skip()
			}
		}
		if viewable && ok && share >= 0 && share <= 1 && (!m.HasViewability || share < m.Viewability) {
			m.Viewability, m.HasViewability = share, true
		}
	}
}
