package creatives

import (
	"slices"

	"rebound/rtb"
)

// append appends VAST or DAAST in the bid's protocol.
func (k *clip) append(dst []byte, _ *Creative, m *Markup) (out []byte, size int, err error) {
	if m.Protocol < 0 || m.Protocol > lastProtocol || k.docs[m.Protocol] == nil {
		return dst, 0, ErrProtocol
	}
	doc, start := k.docs[m.Protocol], len(dst)
	for i := range doc {
		dst = append(dst, doc[i].lit...)
		dst = k.appendSlot(dst, m, doc[i].slot)
	}
	size = len(dst) - start
	return rtb.EscapeFrom(dst, start), size, nil
}

func (k *clip) appendSlot(dst []byte, m *Markup, s slot) []byte {
	switch s {
	case slotImpression:
		return appendCDATA(dst, m.Pixel)
	case slotView:
		return appendCDATA(dst, m.View)
	case slotError:
		dst = appendEvent(dst, m, "error")
		return append(dst, "&e=[ERRORCODE]"...)
	case slotStart, slotFirst, slotMid, slotThird, slotComplete:
		return appendEvent(dst, m, eventNames[s].ours)
	case slotClick:
		if len(m.ClickMacro) > 0 {
			return appendURL(appendCDATA(dst, m.ClickMacro), m.Click)
		}
		return appendCDATA(dst, m.Click)
	case slotClickTracking:
		return append(appendCDATA(dst, m.Click), TrackOnly...)
	case slotTitle:
		return k.title.appendXML(dst, m.Products, m.Now)
	case slotBid:
		dst, _ = m.BidID.AppendText(dst) // never fails
	case slotMedia:
		return k.appendMedia(dst, m)
	case slotVerification:
		return k.appendVerification(dst, m)
	}
	return dst
}

// TrackOnly is appended to a click URL that is only called, not followed. The
// response is then a pixel.
const TrackOnly = "&t=1"

func appendEvent(dst []byte, m *Markup, name string) []byte {
	dst = append(appendCDATA(dst, m.EventBase), name...)
	return appendCDATA(dst, m.EventQuery)
}

// appendMedia appends the files that fit the impression.
func (k *clip) appendMedia(dst []byte, m *Markup) []byte {
	for i := range k.media {
		f := &k.media[i]
		switch {
		case m.Imp != nil && !f.fits(k.object(m.Imp)):
		case daast(m.Protocol):
			dst = append(dst, f.daast...)
		default:
			dst = append(dst, f.element...)
		}
	}
	return dst
}

// appendVerification appends the measurement script if the impression offers
// Open Measurement; before VAST 4.1 as an extension.
func (k *clip) appendVerification(dst []byte, m *Markup) []byte {
	if k.verification == "" || m.Imp == nil || !slices.Contains(k.object(m.Imp).API, apiOMID) {
		return dst
	}
	if m.Protocol >= vast41 {
		return append(dst, k.verification...)
	}
	dst = append(dst, `<Extensions><Extension type="AdVerifications">`...)
	dst = append(dst, k.verification...)
	return append(dst, `</Extension></Extensions>`...)
}
