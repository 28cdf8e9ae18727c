package exchange

import (
	"bytes"
	"time"

	"rebound/rtb"
)

// device reads the device (OpenRTB 2.6 §3.2.18), except for what only Rest needs of its
// objects. Of two devices the last one wins, except for the privacy signals.
func (d *Decoder) device(o *rtb.Opportunity) {
	s, h := &d.s, &d.head
	o.Device = rtb.Device{}
	h.ifa, h.ifaType, h.deviceGeo, h.sua, h.deviceExtBad = nil, nil, 0, 0, false
	if !s.enter('{') {
		if s.value().given() {
			o.Signals.LMT = o.Signals.LMT.Or(rtb.Unreadable)
		}
		return
	}
	for s.member() {
		d.deviceMember(o)
	}
	if h.deviceExtBad && s.err == 0 {
		end := s.i
		if d.restOfDevice(o); asksForTracking(o.Device.OS) {
			o.Signals.LMT = o.Signals.LMT.Or(rtb.Unreadable)
		}
		s.at(max(s.i, end)) // at the end of the text after an error
	}
}

// asksForTracking reports whether an operating system has App Tracking
// Transparency, so that an unreadable device.ext may hide its status.
func asksForTracking(os []byte) bool {
	for _, name := range [...]string{"ios", "ipados", "tvos"} {
		if len(os) >= len(name) && rtb.EqualFold(os[:len(name)], name) {
			return true
		}
	}
	return false
}

// deviceTypeDOOH is the digital out-of-home screen (AdCOM 1.0, List: Device Types).
const deviceTypeDOOH = 8

func (d *Decoder) deviceMember(o *rtb.Opportunity) {
	s, v := &d.s, &o.Device
	switch string(s.key) {
	case "ua":
		v.UA = s.readText()
	case "ip":
		v.IP = s.readText()
	case "ipv6":
		v.IPv6 = s.readText()
	case "devicetype":
		v.Type = s.readInt(0)
	case "os":
		v.OS = s.readText()
	case "language", "langb":
		v.Language = s.readText()
	case "w":
		v.W = s.readInt(0)
	case "h":
		v.H = s.readInt(0)
	case "ifa":
		d.head.ifa = s.exact(s.value(), maxIdentifier)
	case "ifa_type":
		d.head.ifaType = s.readText()
	case "geo":
		d.head.deviceGeo = s.i
		d.country(o, d.geoCountry())
	case "sua":
		d.head.sua = s.mark()
	case "ext":
		d.deviceExt(o)
	default:
		if !d.deviceSignal(o) {
			s.skip()
		}
	}
}

// restOfDevice reads what Head left of the device.
func (d *Decoder) restOfDevice(o *rtb.Opportunity) {
	s, h := &d.s, &d.head
	if h.deviceGeo != 0 {
		s.at(h.deviceGeo)
		d.geo(&o.Device)
	}
	if h.sua != 0 {
		s.at(h.sua)
		var sua rtb.Device
		d.sua(&sua)
		overlay(&o.Device, &sua)
	}
}

// deviceExt reads device.ext: the type of the ifa, and privacy signals.
func (d *Decoder) deviceExt(o *rtb.Opportunity) {
	s := &d.s
	if !s.enter('{') {
		d.head.deviceExtBad = s.value().given() || d.head.deviceExtBad
		return
	}
	for s.member() {
		switch {
		case string(s.key) == "ifa_type":
			d.head.ifaType = s.readText()
		case s.keyFolds("atts"):
			o.Signals.LMT = o.Signals.LMT.Or(trackingStatus(s.value()))
		case !d.deviceSignal(o):
			s.skip()
		}
	}
}

// trackingStatus reads device.ext.atts, the status of Apple's App Tracking
// Transparency, as a reading of lmt: 3 is authorized and restricts nothing; 0, 1
// and 2 are not (IAB Tech Lab, skadnetwork.md; conformance G30).
func trackingStatus(v value) rtb.Flag {
	const authorized = 3
	n, ok := integer(v)
	switch {
	case !v.given():
		return rtb.Absent
	case !ok || n < 0 || n > authorized:
		return rtb.Unreadable
	case n == authorized:
		return rtb.No
	}
	return rtb.Yes
}

// country records the device's country. If two objects name different countries, it
// is unknown which law applies.
func (d *Decoder) country(o *rtb.Opportunity, c []byte) {
	if len(d.head.geo) > 0 && !bytes.Equal(d.head.geo, c) {
		o.Signals.GDPR = o.Signals.GDPR.Or(rtb.Unreadable)
	}
	if len(c) > 0 {
		d.head.geo = c
	}
}

// geoCountry returns the country of a geo object.
func (d *Decoder) geoCountry() (country []byte) {
	s := &d.s
	if !s.open('{') {
		return nil
	}
	for s.member() {
		if string(s.key) == "country" {
			country = s.readText()
		} else {
			s.skip()
		}
	}
	return country
}

// geo reads a geo object into v.
func (d *Decoder) geo(v *rtb.Device) {
	s := &d.s
	v.Country, v.Region, v.City, v.ZIP, v.HasGeo = nil, nil, nil, nil, false
	v.UTCOffset, v.HasOffset = 0, false
	if !s.open('{') {
		return
	}
	lat, lon := false, false
	for s.member() {
		switch string(s.key) {
		case "country":
			v.Country = s.readText()
		case "region":
			v.Region = s.readText()
		case "city":
			v.City = s.readText()
		case "zip":
			v.ZIP = s.readText()
		case "utcoffset":
			v.UTCOffset, v.HasOffset = offset(s.value())
		case "lat":
			v.Lat, lat = float(s.value())
		case "lon":
			v.Lon, lon = float(s.value())
		default:
			s.skip()
		}
	}
	v.HasGeo = lat && lon && v.Lat >= -90 && v.Lat <= 90 && v.Lon >= -180 && v.Lon <= 180
}

// maxOffset, in minutes, exceeds the offset of every time zone from UTC.
const maxOffset = 16 * 60

// offset parses an offset from UTC in minutes.
func offset(v value) (time.Duration, bool) {
	n, ok := integer(v)
	if !ok || n < -maxOffset || n > maxOffset {
		return 0, false
	}
	return time.Duration(n) * time.Minute, true
}

// sua reads the structured user agent (OpenRTB 2.6 §3.2.29).
func (d *Decoder) sua(v *rtb.Device) {
	s := &d.s
	*v = rtb.Device{}
	if !s.open('{') {
		return
	}
	for s.member() {
		switch string(s.key) {
		case "mobile":
			v.Mobile = s.readFlag()
		case "platform":
			v.OS = d.brand()
		case "browsers":
			if !d.parts.Has(rtb.PartBrowser) || !s.enter('[') {
				s.skip()
				continue
			}
			for s.element() {
				if name := d.brand(); browserRank(name) > browserRank(v.Browser) {
					v.Browser = name
				}
			}
		default:
			s.skip()
		}
	}
}

// browserRank prefers the name of a product to that of its engine, and both to the
// random brands that browsers add (GREASE in User-Agent Client Hints).
func browserRank(name []byte) int {
	switch {
	case len(name) == 0:
		return 0
	case bytes.Contains(name, []byte("Not")) && bytes.Contains(name, []byte("Brand")):
		return 0
	case string(name) == "Chromium":
		return 1
	}
	return 2
}

// brand reads the name of a brand (OpenRTB 2.6 §3.2.30).
func (d *Decoder) brand() (name []byte) {
	s := &d.s
	if !s.open('{') {
		return nil
	}
	for s.member() {
		if string(s.key) == "brand" {
			name = s.readText()
		} else {
			s.skip()
		}
	}
	return name
}

// overlay replaces values of the older fields by those of sua, which takes
// precedence (OpenRTB 2.6 §3.2.18).
func overlay(v, sua *rtb.Device) {
	v.Mobile, v.Browser = sua.Mobile, sua.Browser
	if len(sua.OS) > 0 {
		v.OS = sua.OS
	}
}
