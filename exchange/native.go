package exchange

import (
	"bytes"

	"rebound/rtb"
)

// native reads imp.native (OpenRTB 2.6 §3.2.9). Its request is JSON within a
// string, as the standard requires, or an object, as some exchanges send it, with
// or without the {"native":...} wrapper of Native 1.0.
func (d *Decoder) native(m *rtb.Impression) {
	s, n := &d.s, &m.Native
	*n = rtb.Native{}
	d.asBefore, d.nativeText = false, nil
	if !d.object(m, rtb.FormatNative, &n.Bad) {
		return
	}
	for s.member() {
		switch string(s.key) {
		case "request":
			d.nativeRequest(n)
		case "ver":
			n.Ver = s.readText()
		case "api":
			d.offeredCodes(&n.API)
		case "battr":
			d.blockCodes(&n.BAttr, &n.Bad)
		default:
			s.skip()
		}
	}
	if n.Request == nil {
		n.Bad = true
		return
	}
	if !d.asBefore {
		d.lastText, d.lastNative = d.nativeText, rtb.Native{Request: n.Request, Wrapped: n.Wrapped}
		d.nativeBody(&d.lastNative)
	}
	last := &d.lastNative
	n.Bad = n.Bad || last.Bad
	if len(last.Ver) > 0 {
		n.Ver = last.Ver
	}
	n.Assets, n.Trackers, n.HasTrackers, n.Privacy = last.Assets, last.Trackers, last.HasTrackers, last.Privacy
}

// nativeRequest checks the native request at hand. The impressions of a page mostly
// have the same one, which is then read only once.
func (d *Decoder) nativeRequest(n *rtb.Native) {
	s := &d.s
	v := s.value()
	switch v.kind {
	case kindNull:
		return
	case kindObject:
		n.Request = v.raw
	case kindString:
		d.nativeText = v.raw
		if d.asBefore = len(v.raw) > 0 && bytes.Equal(v.raw, d.lastText); d.asBefore {
			n.Request, n.Wrapped = d.lastNative.Request, d.lastNative.Wrapped
			return
		}
		n.Request = s.text(v)
	}
	d.asBefore = false
	if v.kind != kindString {
		d.nativeText = nil
	}
	n.Request, n.Wrapped = d.unwrap(n.Request)
	n.Bad = n.Bad || n.Request == nil
}

// unwrap checks a native request and removes its 1.0 wrapper. It returns nil if
// the text is not a JSON object. The inner scanner is then at the request.
func (d *Decoder) unwrap(text []byte) (request []byte, wrapped bool) {
	s := &d.inner
	buf := s.buf // views of an earlier impression's request stay valid
	s.start(text)
	s.buf = buf
	s.i = s.space(0)
	from := s.i
	if s.fault != 0 || !s.enter('{') || s.check() != 0 || !s.validUTF8() {
		return nil, false
	}
	at, to := from, s.end(from)
	if s.space(to) != len(text) {
		return nil, false
	}
	for s.member() {
		if string(s.key) != "native" {
			s.skip()
			continue
		}
		start := s.i
		if v := s.value(); v.kind == kindObject {
			at, to, wrapped = start, s.i, true
		}
	}
	s.at(at)
	return text[at:to], wrapped
}
