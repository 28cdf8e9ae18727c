package exchange

import (
	"time"

	"rebound/rtb"
)

// seconds reads a number of seconds; ok is false if the value is present and is
// not a number.
func (s *scanner) seconds() (t time.Duration, ok bool) {
	v := s.value()
	n, ok := integer(v)
	return time.Duration(min(max(n, 0), maxSeconds)) * time.Second, ok || !v.given()
}

// maxSeconds is the largest number of seconds, a year; it is far below the range
// of a Duration.
const maxSeconds = 365 * 86400

// limit reads a number of seconds that restricts bids.
func (s *scanner) limit(dst *time.Duration, bad *bool) {
	t, ok := s.seconds()
	*dst = t
	*bad = *bad || !ok
}

// floor reads a floor; if there are two, the higher one applies.
func (s *scanner) floor(dst *rtb.CPM, bad *bool) {
	v := s.value()
	c, ok := money(v)
	switch {
	case !v.given():
	case !ok:
		*bad = true
	default:
		*dst = max(*dst, c)
	}
}

// currency reads a floor's currency. One that cannot be read, or two that differ,
// make the floor unreadable.
func (s *scanner) currency(dst *rtb.Currency, bad *bool) {
	v := s.value()
	t := s.text(v)
	if !v.given() || v.kind == kindString && len(t) == 0 {
		return
	}
	c, ok := rtb.ParseCurrency(t)
	if !ok || !dst.IsZero() && *dst != c {
		*bad = true
		return
	}
	*dst = c
}

// durFloorList reads floors by duration (OpenRTB 2.6 §3.2.35).
func (d *Decoder) durFloorList(bad *bool) []rtb.DurFloor {
	s := &d.s
	from := len(d.durFloors)
	if !s.enter('[') {
		*bad = *bad || s.value().given()
		return nil
	}
	for s.element() {
		if !s.enter('{') {
			*bad = *bad || s.value().given()
			continue
		}
		var f rtb.DurFloor
		for s.member() {
			switch string(s.key) {
			case "mindur":
				s.limit(&f.Min, bad)
			case "maxdur":
				s.limit(&f.Max, bad)
			case "bidfloor":
				s.floor(&f.Floor, bad)
			default:
				s.skip()
			}
		}
		if len(d.durFloors)-from == maxInts {
			*bad = true
			continue
		}
		d.durFloors = append(d.durFloors, f)
	}
	return d.durFloors[from:len(d.durFloors):len(d.durFloors)]
}
