package bidder

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"rebound/rtb"
)

// An impression that several exchanges or resellers offer is bid on over one of these
// supply paths only. It is recognised by its visitor, placement, page and size, so
// impressions without a known visitor, or without a gpid and a tagid, are not.

// pathEntry is what pacing decided about one impression of the request.
type pathEntry struct {
	asked  bool
	reason rtb.NoBidReason
	handle rtb.PathHandle
	offer  rtb.PathOffer
}

// enterPath returns same_impression if the impression of an option is bought over
// another path. A guaranteed deal is bid on regardless, because both sides agreed on
// it. A test request neither enters nor blocks a path.
func (d *Decision) enterPath(opt *option) rtb.NoBidReason {
	e := &d.paths[opt.imp]
	if !e.asked {
		if e.asked = true; !d.opportunity.Test {
			e.offer = d.pathOffer(opt.imp)
			e.handle, e.reason = d.budgets.EnterPath(&e.offer)
		}
	}
	if opt.pricing.guaranteed {
		return rtb.NoBidNone
	}
	return e.reason
}

// pathCheck describes why an impression is not bid on over the request's path.
func (d *Decision) pathCheck(imp int) Check {
	m := &d.opportunity.Imps[imp]
	c := Check{Value: "placement " + string(placementOf(m)) + " has a bid over another supply path"}
	if d.paths[imp].offer.Cheaper {
		c.Value = "placement " + string(placementOf(m)) + " is usually offered over a cheaper supply path too"
	}
	return c
}

// leavePaths gives up the impressions on which the request has no bid.
func (d *Decision) leavePaths() {
	for i := range d.paths {
		e := &d.paths[i]
		if e.asked && e.reason == rtb.NoBidNone && !d.hasBidOn(&e.offer) {
			d.budgets.LeavePath(&e.offer)
		}
	}
}

// hasBidOn reports whether the request has a bid on what pacing regards as one
// impression. A request may offer it more than once, and only one of its imps may have
// the bid.
func (d *Decision) hasBidOn(offer *rtb.PathOffer) bool {
	for i := range d.out.Bids {
		if d.paths[d.out.Bids[i].Offer.Imp].offer.Impression == offer.Impression {
			return true
		}
	}
	return false
}

// pathOffer describes an impression for comparison with the offers of other paths.
func (d *Decision) pathOffer(imp int) rtb.PathOffer {
	o, m := &d.opportunity, &d.opportunity.Imps[imp]
	placement := placementOf(m)
	if len(placement) == 0 || d.visitor.Key.IsZero() {
		return rtb.PathOffer{}
	}
	site, size := siteOf(&o.Supply), largestSize(m)
	market := newTextHash().add(site).size(size)
	path := newTextHash().text(d.profile.ID)
	for i := range o.SChain.Nodes {
		path = path.add(o.SChain.Nodes[i].ASI).add(o.SChain.Nodes[i].SID)
	}
	return rtb.PathOffer{
		Impression: max(newTextHash().long(d.visitor.Key[:]).long(placement).long(pageOf(&o.Supply)).size(size).sum(), 1),
		Market:     market.sum(), Path: max(path.sum(), 1), At: d.now,
		Request: max(newTextHash().text(d.profile.ID).long(o.ID).sum(), 1),
	}
}

// placementOf returns the publisher's id of the placement, or else the exchange's.
func placementOf(m *rtb.Impression) []byte {
	if len(m.GPID) > 0 {
		return m.GPID
	}
	return m.TagID
}

// siteOf returns the domain of the site, or the app's bundle, or the id of either.
func siteOf(s *rtb.Supply) []byte {
	switch {
	case len(s.Domain) > 0:
		return s.Domain
	case len(s.Bundle) > 0:
		return s.Bundle
	}
	return s.ID
}

// pageOf returns the page without the parts that exchanges write differently: scheme,
// www, query, fragment and final slash. Without a page it is the site.
func pageOf(s *rtb.Supply) []byte {
	page := s.Page
	if len(page) == 0 {
		return siteOf(s)
	}
	if _, rest, ok := bytes.Cut(page, []byte("://")); ok {
		page = rest
	}
	page = bytes.TrimPrefix(page, []byte("www."))
	page, _, _ = bytes.Cut(page, []byte("?"))
	page, _, _ = bytes.Cut(page, []byte("#"))
	return bytes.TrimSuffix(page, []byte("/"))
}

// largestSize returns the size with the largest area that the impression takes: the order
// of sizes differs between exchanges.
func largestSize(m *rtb.Impression) rtb.Size {
	best := rtb.Size{W: m.Video.W, H: m.Video.H}
	for _, s := range m.Banner.Sizes {
		if s.W*s.H > best.W*best.H || s.W*s.H == best.W*best.H && s.W > best.W {
			best = s
		}
	}
	return best
}

// textHash is FNV-1a over texts, with a byte that no UTF-8 text has after each.
type textHash uint64

func newTextHash() textHash { return 14695981039346656037 }

func (h textHash) byte(c byte) textHash { return (h ^ textHash(c)) * 1099511628211 }

func (h textHash) add(text []byte) textHash {
	for _, c := range text {
		h = h.byte(c)
	}
	return h.byte(0xff)
}

// long is add for long texts, eight bytes at a time. It is for hashes that are not stored.
func (h textHash) long(text []byte) textHash {
	for ; len(text) >= 8; text = text[8:] {
		hi, lo := bits.Mul64(uint64(h)^binary.LittleEndian.Uint64(text), 0x9e3779b97f4a7c15)
		h = textHash(hi ^ lo)
	}
	return h.add(text)
}

func (h textHash) text(text string) textHash {
	for i := range len(text) {
		h = h.byte(text[i])
	}
	return h.byte(0xff)
}

func (h textHash) size(s rtb.Size) textHash {
	return h.byte(byte(s.W)).byte(byte(s.W >> 8)).byte(byte(s.H)).byte(byte(s.H >> 8))
}

func (h textHash) sum() uint64 { return mix(uint64(h)) }
