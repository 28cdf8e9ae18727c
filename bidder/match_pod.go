package bidder

import (
	"bytes"
	"slices"
	"time"

	"rebound/rtb"
)

// Pod deduplication settings of AdCOM 1.0: what may come once in a pod.
const (
	dedupeDomain   = 1
	dedupeCategory = 2
	dedupeCreative = 3
	dedupeMedia    = 4
)

// maxPodAds bounds the offers for a dynamic pod that names no number.
const maxPodAds = 10

// takes tells whether an impression takes one more offer: the first always, more
// as the exchange takes them side by side, or in a dynamic pod (OpenRTB 2.6
// §3.2.7, poddur) as long as they fit its time and its number. Whatever else is in the same pod must be apart from it, where
// the pod wants that.
func (out *Outcome) takes(in *Input, opt *option) bool {
	n, sum := 0, time.Duration(0)
	var side slots
	v := podOf(&in.Opportunity.Imps[opt.imp], opt.creative.Format)
	for i := range out.Bids {
		b := &out.Bids[i]
		if b.Offer.Imp != opt.imp {
			if v != nil && samePod(in, b, v) && !out.apart(v, b, opt) {
				return false
			}
			continue
		}
		n++
		if side.add(len(b.Offer.Deal) > 0); v == nil || v.PodDur <= 0 {
			continue
		}
		if b.Offer.Format != opt.creative.Format || !out.apart(v, b, opt) {
			return false
		}
		sum += b.Creative.Clip.Duration
	}
	if n == 0 {
		return true
	}
	if v == nil || v.PodDur <= 0 {
		return side.room(in.Exchange.MultibidMax, opt.deal > 0, in.Opportunity.Imps[opt.imp].PrivateAuction)
	}
	limit := maxPodAds
	if v.MaxSeq > 0 {
		limit = v.MaxSeq
	}
	return n < limit && sum+opt.creative.Clip.Duration <= v.PodDur
}

// podOf is the object of a film or a sound; nil for other formats, which come in
// no pods.
func podOf(imp *rtb.Impression, f rtb.Formats) *rtb.Video {
	if f != rtb.FormatVideo && f != rtb.FormatAudio {
		return nil
	}
	return videoOf(imp, f)
}

// samePod tells whether an offer is in the pod of v.
func samePod(in *Input, b *Bid, v *rtb.Video) bool {
	other := podOf(&in.Opportunity.Imps[b.Offer.Imp], b.Offer.Format)
	return other != nil && len(v.PodID) > 0 && bytes.Equal(v.PodID, other.PodID)
}

// apart tells whether an option may stand in one pod with an offer.
func (out *Outcome) apart(v *rtb.Video, b *Bid, opt *option) bool {
	l := out.work.matched[opt.match].line
	for _, rule := range v.PodDedupe {
		switch {
		case rule == dedupeDomain && l.Advertiser == b.Line.Advertiser,
			rule == dedupeCreative && opt.creative.CRID == b.Creative.CRID,
			rule == dedupeMedia && opt.creative == b.Creative:
			return false
		case rule == dedupeCategory && slices.ContainsFunc(catsOf(opt.creative, l.Advertiser), func(c string) bool { return slices.Contains(b.Offer.Cats, c) }):
			return false
		}
	}
	return true
}
