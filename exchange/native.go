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
// the text is not a JSON object.
func (d *Decoder) unwrap(text []byte) (request []byte, wrapped bool) {
	s := &d.inner
	buf := s.buf // views of an earlier impression's request stay valid
	s.start(text)
	s.buf = buf
	s.i = s.space(0)
	from := s.i
	if !s.enter('{') {
		return nil, false
	}
	for s.member() {
		k := string(s.key) == "native"
		if v := s.value(); k && v.kind == kindObject {
			request, wrapped = v.raw, true
		}
	}
	to := s.i
	if s.err != 0 || s.space(to) != len(text) || !s.validUTF8() {
		return nil, false
	}
	if !wrapped {
		request = text[from:to]
	}
	return request, wrapped
}
