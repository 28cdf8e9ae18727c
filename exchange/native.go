package exchange

import "rebound/rtb"

// native reads imp.native (OpenRTB 2.6 §3.2.9). Its request is JSON within a
// string, as the standard requires, or an object, as some exchanges send it, with
// or without the {"native":...} wrapper of Native 1.0.
func (d *Decoder) native(m *rtb.Impression) {
	s, n := &d.s, &m.Native
	*n = rtb.Native{}
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
	n.Bad = n.Bad || n.Request == nil
	if n.Request != nil {
		d.nativeBody(n)
	}
}

func (d *Decoder) nativeRequest(n *rtb.Native) {
	s := &d.s
	v := s.value()
	switch v.kind {
	case kindNull:
		return
	case kindObject:
		n.Request = v.raw
	case kindString:
		n.Request = s.text(v)
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
