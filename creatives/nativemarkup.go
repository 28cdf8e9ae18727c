package creatives

import (
	"strconv"

	"rebound/rtb"
)

// Event types of native trackers (Native Ads 1.2 §7.6). AdCOM numbers them
// differently.
const (
	nativeImpression = 1
	nativeViewable   = 2 // 50 % of the ad for one second
)

// tracksImp reports whether a native request lets us count the impression: by a
// pixel that it offers, or by imptrackers if it offers no event trackers.
func tracksImp(n *rtb.Native) bool {
	return !n.HasTrackers || offers(n, nativeImpression)
}

func offers(n *rtb.Native, event int) bool {
	for _, t := range n.Trackers {
		if t.Event == event && t.Image {
			return true
		}
	}
	return false
}

// append appends the answer to a native request (Native Ads 1.2 §5).
func (b *native) append(dst []byte, _ *Creative, m *Markup) (out []byte, size int, err error) {
	if m.Imp == nil {
		return dst, 0, ErrProtocol
	}
	n, start := &m.Imp.Native, len(dst)
	if m.Wrap {
		dst = append(dst, `{"native":`...)
	}
	dst = append(dst, '{')
	if len(n.Ver) > 0 {
		dst = append(appendUntrustedJSON(append(dst, `"ver":"`...), n.Ver[:min(len(n.Ver), 8)]), `",`...)
	}
	dst = append(dst, `"assets":[`...)
	first := true
	for i := range n.Assets {
		if a := &n.Assets[i]; b.answers(a, m.Products, m.Now) == rtb.NoBidNone {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = b.appendAsset(dst, a, m)
		}
	}
	dst = b.appendLink(append(dst, ']'), m)
	dst = b.appendTrackers(dst, m)
	if n.Privacy && b.privacyURL != "" {
		dst = append(appendJSON(append(dst, `,"privacy":"`...), b.privacyURL), '"')
	}
	dst = append(dst, '}')
	if m.Wrap {
		dst = append(dst, '}')
	}
	size = len(dst) - start
	return rtb.EscapeFrom(dst, start), size, nil
}

func (b *native) appendAsset(dst []byte, a *rtb.NativeAsset, m *Markup) []byte {
	dst = strconv.AppendInt(append(dst, `{"id":`...), int64(a.ID), 10)
	if a.Required {
		dst = append(dst, `,"required":1`...)
	}
	switch a.Kind {
	case rtb.NativeTitle:
		dst = append(dst, `,"title":{"text":"`...)
		dst = b.title.appendJSON(dst, m.Products, m.Now, a.Len)
		return append(dst, `"}}`...)
	case rtb.NativeImage:
		img, size, _ := b.image(a)
		dst = append(dst, `,"img":{"url":"`...)
		dst = img.url.appendURL(dst, m.Products, size)
		dst = strconv.AppendInt(append(dst, `","w":`...), int64(size.W), 10)
		dst = strconv.AppendInt(append(dst, `,"h":`...), int64(size.H), 10)
		return append(dst, `}}`...)
	}
	dst = append(dst, `,"data":{"value":"`...)
	dst = b.value(a, m.Products, m.Now).appendJSON(dst, m.Products, m.Now, a.Len)
	return append(dst, `"}}`...)
}

// appendLink appends the landing page and the click trackers. Our redirect and
// our tracker both report a click, but it is counted once, because both name
// the same bid.
func (b *native) appendLink(dst []byte, m *Markup) []byte {
	dst = append(dst, `,"link":{"url":"`...)
	if len(m.ClickMacro) > 0 {
		dst = appendURL(appendJSON(dst, m.ClickMacro), m.Click)
	} else {
		dst = appendJSON(dst, m.Click)
	}
	dst = append(dst, `","clicktrackers":["`...)
	dst = append(append(appendJSON(dst, m.Click), TrackOnly...), '"')
	dst = appendURLs(dst, b.click)
	return append(dst, `]}`...)
}

func appendURLs(dst []byte, urls []string) []byte {
	for _, u := range urls {
		dst = append(appendJSON(append(dst, `,"`...), u), '"')
	}
	return dst
}

// appendTrackers appends pixels for the events that the request offers with
// that method, or imptrackers if it offers none. It never appends both, or an
// impression would be counted twice.
func (b *native) appendTrackers(dst []byte, m *Markup) []byte {
	n := &m.Imp.Native
	if !n.HasTrackers {
		dst = append(appendJSON(append(dst, `,"imptrackers":["`...), m.Pixel), '"')
		return append(appendURLs(dst, b.imp), ']')
	}
	open := `,"eventtrackers":[`
	tracker := func(event int, u []byte) {
		dst = append(dst, open...)
		open = ","
		dst = append(dst, `{"event":`...)
		dst = strconv.AppendInt(dst, int64(event), 10)
		dst = append(dst, `,"method":1,"url":"`...)
		dst = append(appendJSON(dst, u), `"}`...)
	}
	if offers(n, nativeImpression) {
		tracker(nativeImpression, m.Pixel)
		for _, u := range b.imp {
			dst = appendJSON(append(dst, `,{"event":1,"method":1,"url":"`...), u)
			dst = append(dst, `"}`...)
		}
	}
	if offers(n, nativeViewable) && len(m.View) > 0 {
		tracker(nativeViewable, m.View)
	}
	if open == "," {
		dst = append(dst, ']')
	}
	return dst
}
