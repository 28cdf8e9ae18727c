package exchange

import "rebound/rtb"

// nativeBody reads the native request that unwrap found (Native Ads 1.2 §4.1). An
// asset that cannot be read is kept as one that cannot be filled, which matters only if
// it is required.
func (d *Decoder) nativeBody(n *rtb.Native) {
	s := &d.inner
	if !s.enter('{') {
		return
	}
	for s.member() {
		switch string(s.key) {
		case "ver":
			if v := s.readText(); len(v) > 0 {
				n.Ver = v
			}
		case "assets":
			d.nativeAssets(n)
		case "eventtrackers":
			d.nativeTrackers(n)
		case "privacy":
			n.Privacy = s.readFlag() == rtb.Yes
		default:
			s.skip()
		}
	}
}

func (d *Decoder) nativeAssets(n *rtb.Native) {
	s := &d.inner
	from := len(d.assets)
	if n.Bad = n.Bad || n.Assets != nil; !s.enter('[') {
		n.Bad = s.value().given() || n.Bad
		return
	}
	for s.element() {
		if len(d.assets)-from == maxAssets || !s.enter('{') {
			n.Bad = true
			s.skip()
			continue
		}
		d.assets = append(d.assets, rtb.NativeAsset{})
		d.nativeAsset(&d.assets[len(d.assets)-1])
	}
	n.Assets = d.assets[from:len(d.assets):len(d.assets)]
}

// nativeAsset reads one asset, which is exactly one of title, img, video and data;
// without an id, or with two of these, it cannot be filled.
func (d *Decoder) nativeAsset(a *rtb.NativeAsset) {
	s := &d.inner
	*a = rtb.NativeAsset{WMin: -1, HMin: -1}
	hasID := false
	kind := func(k rtb.NativeKind) {
		a.Bad = a.Bad || a.Kind != rtb.NativeUnknown
		a.Kind = k
	}
	for s.member() {
		switch string(s.key) {
		case "id":
			a.ID, hasID = integer(s.value())
		case "required":
			f := s.readFlag()
			a.Required = a.Required || f == rtb.Yes || f == rtb.Unreadable
		case "title":
			kind(rtb.NativeTitle)
			d.nativePart(a)
		case "img":
			kind(rtb.NativeImage)
			d.nativePart(a)
		case "video":
			kind(rtb.NativeVideo)
			s.skip()
		case "data":
			kind(rtb.NativeData)
			d.nativePart(a)
		default:
			s.skip()
		}
	}
	a.Bad = a.Bad || !hasID
}

// nativePart reads the members of title, img or data, whose names do not overlap.
func (d *Decoder) nativePart(a *rtb.NativeAsset) {
	s := &d.inner
	if !s.enter('{') {
		a.Bad = true
		s.skip()
		return
	}
	for s.member() {
		switch string(s.key) {
		case "type":
			s.bound(&a.Type, &a.Bad)
		case "len":
			s.bound(&a.Len, &a.Bad)
		case "w":
			s.bound(&a.W, &a.Bad)
		case "h":
			s.bound(&a.H, &a.Bad)
		case "wmin":
			s.bound(&a.WMin, &a.Bad)
		case "hmin":
			s.bound(&a.HMin, &a.Bad)
		case "mimes":
			from, bad := len(d.texts), false
			d.texts, bad = s.appendTexts(d.texts, maxTexts, mimeTypes)
			a.Mimes = d.texts[from:len(d.texts):len(d.texts)]
			a.Bad = a.Bad || bad
		default:
			s.skip()
		}
	}
}

// bound reads a number that restricts the creative; an absent one leaves dst
// unchanged.
func (s *scanner) bound(dst *int, bad *bool) {
	v := s.value()
	n, ok := integer(v)
	switch {
	case !v.given():
	case !ok || n < 0:
		*bad = true
	default:
		*dst = n
	}
}

// nativeTrackers reads the (event, method) pairs that are offered (Native Ads 1.2
// §4.7).
func (d *Decoder) nativeTrackers(n *rtb.Native) {
	s := &d.inner
	from := len(d.trackers)
	if !s.enter('[') {
		n.HasTrackers = s.value().given() || n.HasTrackers
		return
	}
	n.HasTrackers = true
	for s.element() {
		if len(d.trackers)-from == maxTrackers || !s.enter('{') {
			s.skip()
			continue
		}
		var t rtb.NativeTracker
		for s.member() {
			switch string(s.key) {
			case "event":
				t.Event = s.readInt(0)
			case "methods":
				s.trackMethods(&t)
			default:
				s.skip()
			}
		}
		d.trackers = append(d.trackers, t)
	}
	n.Trackers = d.trackers[from:len(d.trackers):len(d.trackers)]
}

// Methods of event trackers (Native Ads 1.2 §7.7).
const (
	methodImage  = 1
	methodScript = 2
)

func (s *scanner) trackMethods(t *rtb.NativeTracker) {
	take := func(n int) {
		t.Image = t.Image || n == methodImage
		t.Script = t.Script || n == methodScript
	}
	if !s.enter('[') {
		take(s.readInt(0))
		return
	}
	for s.element() {
		take(s.readInt(0))
	}
}
