package bidder

import (
	"slices"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/rtb"
)

// ourTaxonomy is the taxonomy of the categories in the configuration: IAB
// Content Taxonomy 1.0 (AdCOM, List: Category Taxonomies).
const ourTaxonomy = 1

// gateSupply refuses what no line of ours may answer.
func (out *Outcome) gateSupply(in *Input) rtb.NoBidReason {
	o, seat := in.Opportunity, in.Exchange.Seat
	switch {
	case in.Budgets.Paused(in.Exchange.ID, "", "") != rtb.NoBidNone:
		return in.Budgets.Paused(in.Exchange.ID, "", "")
	case len(o.WSeat) > 0 && !holds(o.WSeat, seat), holds(o.BSeat, seat):
		return rtb.NoBidSeatBlocked // OpenRTB 2.6 §3.2.1; both lists bind
	case o.BlockListsBad:
		return rtb.NoBidAdvertiserBlocked // it was there and nobody knows what it blocks
	case o.CurBad:
		return rtb.NoBidCurrency
	}
	return in.Catalog.Supply.Place(&out.work.facts, in.Exchange.ID)
}

// gateLine asks whether a line may answer the request at all.
func (out *Outcome) gateLine(in *Input, l *campaigns.Line) (campaigns.Match, rtb.NoBidReason) {
	if !l.Live(in.Now) {
		return campaigns.Match{}, rtb.NoBidNoCampaign
	}
	if in.Child && !l.ChildSafe {
		return campaigns.Match{}, rtb.NoBidPrivacyCOPPA
	}
	if !l.On(in.Exchange.ID) {
		return campaigns.Match{}, rtb.NoBidInventory
	}
	if l.Targeting != nil {
		if r := out.gateTargeting(in, l); r != rtb.NoBidNone {
			return campaigns.Match{}, r
		}
	}
	m := l.Audience.Match(in.Visitor, in.Now)
	if m.Reason != rtb.NoBidNone {
		return m, m.Reason
	}
	if l.Targeting != nil {
		if r := out.gateDevice(in, l); r != rtb.NoBidNone {
			return m, r
		}
	}
	if r := in.Budgets.Paused(in.Exchange.ID, l.ID.Advertiser, l.ID.Campaign); r != rtb.NoBidNone {
		return m, r
	}
	if out.advertiserBlocked(in, l.Advertiser) {
		return m, rtb.NoBidAdvertiserBlocked
	}
	if l.App != nil || in.Opportunity.DSARequired > 0 {
		out.pay(in, len(in.Opportunity.BApp))
		return m, gateApp(in.Opportunity, l)
	}
	return m, rtb.NoBidNone
}

// advertiserBlocked asks badv, once per advertiser and request.
func (out *Outcome) advertiserBlocked(in *Input, a *campaigns.Advertiser) bool {
	if len(in.Opportunity.BAdv) == 0 {
		return false
	}
	for _, b := range out.work.blocked {
		if b.advertiser == a {
			return b.blocked
		}
	}
	out.pay(in, len(in.Opportunity.BAdv))
	blocked := false
	for _, d := range in.Catalog.registrable(a) {
		blocked = blocked || slices.ContainsFunc(in.Opportunity.BAdv, func(e []byte) bool { return blocksDomain(e, d) })
	}
	out.work.blocked = append(out.work.blocked, advertiserBlock{a, blocked})
	return blocked
}

// fit finds the creative for one impression, or the furthest reason for which
// none fits. Of several that fit it is the first with the lowest floor, because
// films may have floors of their own; where the line rotates its creatives, it is
// drawn by weight.
func (out *Outcome) fit(in *Input, l *campaigns.Line, i int) (option, rtb.NoBidReason) {
	imp := &in.Opportunity.Imps[i]
	if l.Targeting != nil {
		if r := l.Targeting.Impression(imp, positionOf(imp)); r != rtb.NoBidNone {
			return option{}, r
		}
	}
	if !out.anyWay(in, l, i) {
		return option{}, rtb.NoBidDealRequired // OpenRTB 2.6 §3.2.11
	}
	furthest, best, total := rtb.NoBidNone, option{}, 0.0
	for n, c := range l.Creatives {
		if out.pay(in, 1+entriesOf(imp)/entriesPerStep) {
			break
		}
		if l.Rotation != nil && !l.Rotation.Eligible(n, in.Visitor, in.Now) {
			furthest = max(furthest, rtb.NoBidNoAudience)
			continue
		}
		opt, r := out.fitCreative(in, l, imp, c)
		if r != rtb.NoBidNone {
			furthest = max(furthest, r)
			continue
		}
		opt.floor = floorOf(imp, opt.creative)
		if l.Rotation != nil && l.Rotation.Picks() {
			w := l.Rotation.Weight(n)
			if total += w; out.chance(i, n)*total < w {
				best = opt
			}
		} else if best.creative == nil || opt.floor < best.floor {
			best = opt
		}
	}
	if best.creative != nil {
		return best, rtb.NoBidNone
	}
	return option{}, furthest
}

// fitCreative tries a creative, and its fallback where there is no product to
// put into it.
func (out *Outcome) fitCreative(in *Input, l *campaigns.Line, imp *rtb.Impression, c *creatives.Creative) (option, rtb.NoBidReason) {
	for range 2 {
		opt, r := out.fits(in, l, imp, c)
		if _, refused := out.work.refused[c]; refused && r == rtb.NoBidNone {
			r = rtb.NoBidCreativePending // conformance B17
		}
		if r != rtb.NoBidNone {
			return option{}, r
		}
		w, start := &out.work, len(out.work.products)
		w.products = c.Select(w.products, in.Visitor, l.Advertiser.Feed, l.Advertiser.ID, in.Now)
		opt.products = [2]int{start, len(w.products)}
		if !c.NeedsProduct || len(w.products) > start {
			if c.Format == rtb.FormatNative {
				r = c.Answers(&imp.Native, w.products[start:], in.Now)
			}
			return opt, r
		}
		if c = c.Fallback; c == nil {
			break
		}
	}
	return option{}, rtb.NoBidNoFormat
}

// fits asks everything that a creative must satisfy on an impression, in the
// order of the reasons.
func (out *Outcome) fits(in *Input, l *campaigns.Line, imp *rtb.Impression, c *creatives.Creative) (option, rtb.NoBidReason) {
	opt := option{creative: c}
	if !imp.Formats.Has(c.Format) || c.FullScreen && !imp.Instl {
		return opt, rtb.NoBidNoFormat
	}
	var r rtb.NoBidReason
	switch c.Format {
	case rtb.FormatBanner:
		r = opt.fitBanner(in, imp)
	case rtb.FormatNative:
		r = opt.fitNative(in, imp)
	default:
		r = opt.fitVideo(in, imp)
	}
	switch {
	case r != rtb.NoBidNone:
		return opt, r
	case !c.Secure && imp.Secure != rtb.No:
		return opt, rtb.NoBidSecure // not said is not known
	case out.verdict(in, l, c).language:
		return opt, rtb.NoBidLanguage
	case attributeBlocked(in.Exchange, imp, c):
		return opt, rtb.NoBidAttribute
	case out.verdict(in, l, c).category:
		return opt, rtb.NoBidCategory
	case c.IURL == "" && in.Exchange.Requires("iurl"):
		return opt, rtb.NoBidNoFormat // the exchange would drop it: another creative may do
	case out.excludes(in, imp, c, opt.size):
		return opt, rtb.NoBidCreativePending
	}
	return opt, rtb.NoBidNone
}

// fitBanner asks what only banners have (OpenRTB 2.6 §3.2.6).
func (opt *option) fitBanner(in *Input, imp *rtb.Impression) rtb.NoBidReason {
	b, c, ok := &imp.Banner, opt.creative, false
	opt.size, opt.flex, ok = sizeFor(c, imp, &in.Opportunity.Device)
	switch {
	case !ok:
		return rtb.NoBidSize
	case len(b.Mimes) > 0 && !slices.ContainsFunc(c.Mimes, func(m string) bool { return holdsFold(b.Mimes, m) }):
		return rtb.NoBidMimes
	case !offersAPIs(b.API, c.APIs):
		return rtb.NoBidAPI
	}
	return rtb.NoBidNone
}

// offersAPIs tells whether everything that a creative needs is listed; what is
// not listed is not supported.
func offersAPIs(listed, needs []int) bool {
	return !slices.ContainsFunc(needs, func(api int) bool { return !slices.Contains(listed, api) })
}

// sizeFor is the size in which a creative is shown: the first that the
// impression offers and the creative has; else a ratio; else a range, which
// senders before 2.6 use.
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

// inRange tells whether a size lies within the impression's bounds. Without any
// bound only an interstitial takes it, up to the size of the screen.
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

// Values of banner.btype (AdCOM 1.0, List: Creative Subtypes - Banner).
const (
	btypeImage = 2
	btypeJS    = 3
)

// attributeBlocked asks the block lists of the format: one that could not be read
// may block anything.
func attributeBlocked(p *exchange.Profile, imp *rtb.Impression, c *creatives.Creative) bool {
	blocked, bad := imp.Banner.BAttr, imp.Banner.ListsBad
	switch c.Format {
	case rtb.FormatBanner:
		kind := btypeJS
		if c.Kind == creatives.KindImage {
			kind = btypeImage
		}
		bad = bad || slices.Contains(imp.Banner.BType, kind)
	case rtb.FormatNative:
		blocked, bad = imp.Native.BAttr, imp.Native.Bad
	default:
		v := videoOf(imp, c.Format)
		blocked, bad = v.BAttr, v.ListsBad || skipRefused(v, c)
	}
	refused := func(a int) bool { return slices.Contains(blocked, a) }
	return bad || slices.ContainsFunc(c.Attrs, refused) || slices.ContainsFunc(p.Attrs(), refused)
}

func catsOf(c *creatives.Creative, a *campaigns.Advertiser) []string {
	if len(c.Cats) > 0 {
		return c.Cats
	}
	return a.Cats
}

// categoryBlocked asks bcat and acat. What cannot be compared, because the lists
// are in another taxonomy or we know no category, is blocked when there is a list.
func categoryBlocked(o *rtb.Opportunity, cats []string) bool {
	if len(o.BCat) == 0 && len(o.ACat) == 0 {
		return false
	}
	if o.CatTax != ourTaxonomy || len(cats) == 0 {
		return true
	}
	allowed := len(o.ACat) == 0
	for _, c := range cats {
		if slices.ContainsFunc(o.BCat, func(e []byte) bool { return coversCategory(e, c) }) {
			return true
		}
		allowed = allowed || slices.ContainsFunc(o.ACat, func(e []byte) bool { return coversCategory(e, c) })
	}
	return !allowed
}
