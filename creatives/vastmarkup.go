package creatives

import (
	"errors"
	"slices"
)

// ErrProtocol tells that the creative is not written in the protocol that was
// asked for.
var ErrProtocol = errors.New("the creative cannot be written in the protocol")

// appendClip appends VAST or DAAST in the bid's protocol.
func (c *Creative) appendClip(dst []byte, m *Markup) ([]byte, error) {
	if m.Protocol < 0 || m.Protocol > lastProtocol || c.Clip.docs[m.Protocol] == nil {
		return dst, ErrProtocol
	}
	doc := c.Clip.docs[m.Protocol]
	for i := range doc {
		dst = append(dst, doc[i].lit...)
		dst = c.appendSlot(dst, m, doc[i].slot)
	}
	return dst, nil
}

func (c *Creative) appendSlot(dst []byte, m *Markup, s slot) []byte {
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
		return c.Clip.title.appendXML(dst, m.Products, m.Now)
	case slotBid:
		return appendXML(dst, m.BidID)
	case slotMedia:
		return c.appendMedia(dst, m)
	case slotVerification:
		return c.appendVerification(dst, m)
	}
	return dst
}

// TrackOnly is put behind a click URL that is only called, not followed: it is
// answered with a pixel.
const TrackOnly = "&t=1"

func appendEvent(dst []byte, m *Markup, name string) []byte {
	dst = append(appendCDATA(dst, m.EventBase), name...)
	return appendCDATA(dst, m.EventQuery)
}

// appendMedia appends the files that fit the impression.
func (c *Creative) appendMedia(dst []byte, m *Markup) []byte {
	for i := range c.Clip.Media {
		f := &c.Clip.Media[i]
		switch {
		case m.Video != nil && !f.Fits(m.Video):
		case daast(m.Protocol):
			dst = append(dst, f.daast...)
		default:
			dst = append(dst, f.element...)
		}
	}
	return dst
}

// appendVerification appends the measurement script where the impression runs
// such: as an extension before VAST 4.1.
func (c *Creative) appendVerification(dst []byte, m *Markup) []byte {
	if c.Clip.verification == "" || m.Video == nil || !slices.Contains(m.Video.API, apiOMID) {
		return dst
	}
	if m.Protocol >= vast41 {
		return append(dst, c.Clip.verification...)
	}
	dst = append(dst, `<Extensions><Extension type="AdVerifications">`...)
	dst = append(dst, c.Clip.verification...)
	return append(dst, `</Extension></Extensions>`...)
}
