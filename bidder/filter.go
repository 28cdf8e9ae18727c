package bidder

import (
	"slices"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/rtb"
)

// ourTaxonomy is the taxonomy of the categories in the configuration: IAB
// Content Taxonomy 1.0 (AdCOM, List: Category Taxonomies).
const ourTaxonomy = 1

// gateSupply refuses what no line of ours may answer.
func gateSupply(in *Input) rtb.NoBidReason {
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
	return rtb.NoBidNone
}

// gateLine asks whether a line may answer the request at all.
func (out *Outcome) gateLine(in *Input, l *campaigns.Line) (campaigns.Match, rtb.NoBidReason) {
	if !l.Live(in.Now) {
		return campaigns.Match{}, rtb.NoBidNoCampaign
	}
	if !l.On(in.Exchange.ID) {
		return campaigns.Match{}, rtb.NoBidInventory
	}
	m := l.Audience.Match(in.Visitor, in.Now)
	if m.Reason != rtb.NoBidNone {
		return m, m.Reason
	}
	if r := in.Budgets.Paused(in.Exchange.ID, l.ID.Advertiser, l.ID.Campaign); r != rtb.NoBidNone {
		return m, r
	}
	if out.advertiserBlocked(in, l.Advertiser) {
		return m, rtb.NoBidAdvertiserBlocked
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
	blocked := false
	for _, d := range in.Catalog.registrable(a) {
		blocked = blocked || slices.ContainsFunc(in.Opportunity.BAdv, func(e []byte) bool { return blocksDomain(e, d) })
	}
	out.work.blocked = append(out.work.blocked, advertiserBlock{a, blocked})
	return blocked
}

// fit finds the creative and the size for one impression, or the furthest
// reason for which none fits.
func (out *Outcome) fit(in *Input, l *campaigns.Line, imp *rtb.Impression) (option, rtb.NoBidReason) {
	if imp.PrivateAuction {
		return option{}, rtb.NoBidDealRequired // OpenRTB 2.6 §3.2.11: none of its deals is ours
	}
	furthest := rtb.NoBidNoFormat
	for _, c := range l.Creatives {
		opt, r := out.fitCreative(in, l, imp, c)
		if r == rtb.NoBidNone {
			return opt, r
		}
		furthest = max(furthest, r)
	}
	return option{}, furthest
}

// fitCreative tries a creative, and its fallback where there is no product to
// put into it.
func (out *Outcome) fitCreative(in *Input, l *campaigns.Line, imp *rtb.Impression, c *creatives.Creative) (option, rtb.NoBidReason) {
	for range 2 {
		size, flex, r := fits(in, l, imp, c)
		if r != rtb.NoBidNone {
			return option{}, r
		}
		w, start := &out.work, len(out.work.products)
		w.products = c.Select(w.products, in.Visitor, l.Advertiser.Feed, l.Advertiser.ID, in.Now)
		if !c.NeedsProduct || len(w.products) > start {
			return option{creative: c, size: size, flex: flex, products: [2]int{start, len(w.products)}}, rtb.NoBidNone
		}
		if c = c.Fallback; c == nil {
			break
		}
	}
	return option{}, rtb.NoBidNoFormat
}

// fits asks everything that a creative must satisfy on an impression, in the
// order of the reasons.
func fits(in *Input, l *campaigns.Line, imp *rtb.Impression, c *creatives.Creative) (size rtb.Size, flex rtb.FlexSize, r rtb.NoBidReason) {
	o, b := in.Opportunity, &imp.Banner
	fail := func(r rtb.NoBidReason) (rtb.Size, rtb.FlexSize, rtb.NoBidReason) {
		return rtb.Size{}, rtb.FlexSize{}, r
	}
	if c.Format != rtb.FormatBanner || !imp.Formats.Has(rtb.FormatBanner) {
		return fail(rtb.NoBidNoFormat)
	}
	size, flex, ok := sizeFor(c, imp, &o.Device)
	switch {
	case !ok:
		return fail(rtb.NoBidSize)
	case len(b.Mimes) > 0 && !slices.ContainsFunc(c.Mimes, func(m string) bool { return holdsFold(b.Mimes, m) }):
		return fail(rtb.NoBidMimes) // OpenRTB 2.6 §3.2.6
	case slices.ContainsFunc(c.APIs, func(api int) bool { return !slices.Contains(b.API, api) }):
		return fail(rtb.NoBidAPI) // what is not listed is not supported
	case !c.Secure && imp.Secure != rtb.No:
		return fail(rtb.NoBidSecure) // not said is not known
	case !languageFits(o, c.Language):
		return fail(rtb.NoBidLanguage)
	case b.ListsBad || attributeBlocked(b, c):
		return fail(rtb.NoBidAttribute)
	case categoryBlocked(o, catsOf(c, l.Advertiser)):
		return fail(rtb.NoBidCategory)
	case holds(o.ExcludedCreativeIDs, c.CRIDOf(size)):
		return fail(rtb.NoBidCreativePending)
	}
	return size, flex, rtb.NoBidNone
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

func attributeBlocked(b *rtb.Banner, c *creatives.Creative) bool {
	kind := btypeJS
	if c.Kind == creatives.KindImage {
		kind = btypeImage
	}
	return slices.Contains(b.BType, kind) || slices.ContainsFunc(c.Attrs, func(a int) bool { return slices.Contains(b.BAttr, a) })
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
