package bidder

import (
	"bytes"
	"slices"
	"time"

	"rebound/rtb"
)

// Deduplication rules of a pod (AdCOM 1.0, List: Pod Deduplication).
const (
	dedupeDomain   = 1
	dedupeCategory = 2
	dedupeCreative = 3
	dedupeMedia    = 4
)

// maxPodAds bounds the bids for a dynamic pod that does not limit their number.
const maxPodAds = 10

// hasRoom reports whether an impression takes one more bid: always the first;
// more as the exchange allows, or in a dynamic pod (OpenRTB 2.6 §3.2.7, poddur)
// as long as they fit its duration and its number of ads. A bid must also be
// allowed together with every bid of the same pod.
func (d *Decision) hasRoom(opt *option) bool {
	n, total := 0, time.Duration(0)
	var count bidCount
	imp := &d.opportunity.Imps[opt.imp]
	v := podOf(imp, opt.creative.Format)
	for i := range d.out.Bids {
		b := &d.out.Bids[i]
		if b.Offer.Imp != opt.imp {
			if v != nil && d.samePod(b, v) && !d.allowedTogether(v, b, opt) {
				return false
			}
			continue
		}
		n++
		if count.add(len(b.Offer.Deal) > 0); v == nil || v.PodDur <= 0 {
			continue
		}
		if b.Offer.Format != opt.creative.Format || !d.allowedTogether(v, b, opt) {
			return false
		}
		total += b.Creative.Duration
	}
	if n == 0 {
		return true
	}
	if v == nil || v.PodDur <= 0 {
		return count.hasRoom(d.profile.MultibidMax, opt.deal > 0, imp.PrivateAuction)
	}
	limit := maxPodAds
	if v.MaxSeq > 0 {
		limit = v.MaxSeq
	}
	return n < limit && total+opt.creative.Duration <= v.PodDur
}

// podOf returns the impression's object for a video or audio ad; nil for other
// formats, which are never in a pod.
func podOf(imp *rtb.Impression, f rtb.Formats) *rtb.Video {
	if f != rtb.FormatVideo && f != rtb.FormatAudio {
		return nil
	}
	return videoOf(imp, f)
}

// samePod reports whether a bid is in the pod of v.
func (d *Decision) samePod(b *Bid, v *rtb.Video) bool {
	other := podOf(&d.opportunity.Imps[b.Offer.Imp], b.Offer.Format)
	return other != nil && len(v.PodID) > 0 && bytes.Equal(v.PodID, other.PodID)
}

// allowedTogether reports whether the pod's deduplication rules allow an option
// together with a bid.
func (d *Decision) allowedTogether(v *rtb.Video, b *Bid, opt *option) bool {
	l := d.candidates[opt.candidate].line
	for _, rule := range v.PodDedupe {
		switch {
		case rule == dedupeDomain && l.Advertiser == b.Line.Advertiser,
			rule == dedupeCreative && opt.creative.CRID == b.Creative.CRID,
			rule == dedupeMedia && opt.creative == b.Creative:
			return false
		case rule == dedupeCategory && slices.ContainsFunc(categoriesOf(opt.creative, l.Advertiser), func(c string) bool { return slices.Contains(b.Offer.Cats, c) }):
			return false
		}
	}
	return true
}

// bidCount counts the bids on one impression.
type bidCount struct{ deals, open int }

func (n *bidCount) add(deal bool) {
	if deal {
		n.deals++
	} else {
		n.open++
	}
}

// hasRoom reports whether an impression takes one more bid. An exchange that
// takes one bid still takes one under a deal and an open one (conformance B5); of
// more than one, the last place is kept for the open bid.
func (n *bidCount) hasRoom(limit int, deal, private bool) bool {
	limit = max(limit, 1)
	switch {
	case deal && private:
		return n.deals < limit
	case deal:
		return n.deals < max(1, limit-1)
	}
	return n.open < max(1, limit-n.deals)
}

// videoOf returns the impression's object that a video or audio ad answers.
func videoOf(imp *rtb.Impression, f rtb.Formats) *rtb.Video {
	if f == rtb.FormatAudio {
		return &imp.Audio
	}
	return &imp.Video
}
