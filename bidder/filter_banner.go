package bidder

import (
	"slices"

	"rebound/creatives"
	"rebound/rtb"
)

// fitsBanner checks what only banners must satisfy (OpenRTB 2.6 §3.2.6), and
// sets the option's size.
func (d *Decision) fitsBanner(imp *rtb.Impression, opt *option) rtb.NoBidReason {
	b, c, ok := &imp.Banner, opt.creative, false
	opt.size, opt.flex, ok = sizeFor(c, imp, &d.opportunity.Device)
	switch {
	case !ok:
		return rtb.NoBidSize
	case len(b.Mimes) > 0 && !slices.ContainsFunc(c.Mimes, func(m string) bool { return containsFold(b.Mimes, m) }):
		return rtb.NoBidMimes
	case needsOtherAPI(c.APIs, b.API):
		return rtb.NoBidAPI
	}
	return rtb.NoBidNone
}

// sizeFor returns the size in which a creative is shown: the first of the
// impression's sizes that the creative has; else a size of a listed ratio; else
// a size within a range, which senders before OpenRTB 2.6 use.
func sizeFor(c *creatives.Creative, imp *rtb.Impression, dev *rtb.Device) (rtb.Size, rtb.FlexSize, bool) {
	b := &imp.Banner
	for _, s := range b.Sizes {
		if c.HasSize(s) {
			return s, rtb.FlexSize{}, true
		}
	}
	for _, f := range b.Flex {
		for _, s := range c.Sizes {
			if f.WRatio > 0 && f.HRatio > 0 && s.W*f.HRatio == s.H*f.WRatio && s.W >= f.WMin {
				return s, f, true
			}
		}
	}
	if len(b.Sizes) > 0 || len(b.Flex) > 0 {
		return rtb.Size{}, rtb.FlexSize{}, false
	}
	for _, s := range c.Sizes {
		if inRange(s, b, imp, dev) {
			return s, rtb.FlexSize{}, true
		}
	}
	return rtb.Size{}, rtb.FlexSize{}, false
}

// inRange reports whether a size lies within the impression's bounds. An
// impression without bounds takes a size only if it is an interstitial, up to
// the size of the screen.
func inRange(s rtb.Size, b *rtb.Banner, imp *rtb.Impression, dev *rtb.Device) bool {
	wmax, hmax := b.WMax, b.HMax
	if wmax == 0 && hmax == 0 {
		if !imp.Instl || dev.W <= 0 || dev.H <= 0 {
			return false
		}
		wmax, hmax = dev.W, dev.H
	}
	return s.W >= b.WMin && s.H >= b.HMin && (wmax == 0 || s.W <= wmax) && (hmax == 0 || s.H <= hmax)
}

// bannerType returns a creative's value of banner.btype (AdCOM 1.0, List:
// Creative Subtypes - Banner).
func bannerType(c *creatives.Creative) int {
	const image, script = 2, 3
	if c.Kind == creatives.KindImage {
		return image
	}
	return script
}
