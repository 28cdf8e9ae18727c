package bidder

import (
	"math"
	"slices"
	"unsafe"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/rtb"
)

// ourTaxonomy is the taxonomy of the configuration's categories: IAB Content
// Taxonomy 1.0 (AdCOM, List: Category Taxonomies).
const ourTaxonomy = 1

// filterRequest refuses a request that none of our lines may answer.
func (d *Decision) filterRequest() rtb.NoBidReason {
	o, seat := &d.opportunity, d.profile.Seat
	switch {
	case len(o.WSeat) > 0 && !contains(o.WSeat, seat), contains(o.BSeat, seat):
		return rtb.NoBidSeatBlocked // OpenRTB 2.6 §3.2.1; both lists apply
	case o.BlockListsBad:
		return rtb.NoBidAdvertiserBlocked // the list was present, but what it blocks is unknown
	case o.CurBad:
		return rtb.NoBidCurrency
	}
	return d.catalog.Supply.Place(&d.facts, d.profile.ID)
}

// filterLine decides whether a line may answer the request at all.
func (d *Decision) filterLine(l *campaigns.Line) (m campaigns.Match, r rtb.NoBidReason) {
	switch {
	case !l.Live(d.now):
		return m, rtb.NoBidNoCampaign
	case d.child && !l.ChildSafe:
		return m, rtb.NoBidPrivacyCOPPA
	case !l.On(d.profile.ID):
		return m, rtb.NoBidInventory
	}
	if l.Targeting != nil {
		if r = l.Targeting.Supply(&d.facts, d.profile.ID); r != rtb.NoBidNone {
			return m, r
		}
	}
	if m = l.Audience.Match(&d.visitor, d.facts.Request(), d.now); m.Reason != rtb.NoBidNone {
		return m, m.Reason
	}
	if l.Targeting != nil {
		if r = l.Targeting.Identity(d.visitor.Match - 1); r != rtb.NoBidNone {
			return m, r
		}
		if r = d.checkDevice(l.Targeting); r != rtb.NoBidNone {
			return m, r
		}
	}
	if d.budgets.CampaignPaused(l.ID.Advertiser, l.ID.Campaign) {
		return m, rtb.NoBidPaused
	}
	if d.advertiserBlocked(l.Advertiser) {
		return m, rtb.NoBidAdvertiserBlocked
	}
	if l.App != nil || d.opportunity.DSARequired > 0 {
		d.spend(len(d.opportunity.BApp))
		return m, filterApp(&d.opportunity, l)
	}
	return m, rtb.NoBidNone
}

// blockedAdvertiser caches whether badv blocks an advertiser.
type blockedAdvertiser struct {
	advertiser *campaigns.Advertiser
	blocked    bool
}

// advertiserBlocked reports whether badv blocks an advertiser. The list is read
// once for each advertiser and request.
func (d *Decision) advertiserBlocked(a *campaigns.Advertiser) bool {
	list := d.opportunity.BAdv
	if len(list) == 0 {
		return false
	}
	for _, b := range d.blocked {
		if b.advertiser == a {
			return b.blocked
		}
	}
	d.spend(len(list))
	blocked := false
	for _, domain := range d.catalog.registrable(a) {
		blocked = blocked || slices.ContainsFunc(list, func(e []byte) bool { return blocksDomain(e, domain) })
	}
	d.blocked = append(d.blocked, blockedAdvertiser{a, blocked})
	return blocked
}

// filterApp checks what the request blocks or demands of the advertised app:
// bapp (OpenRTB 2.6 §3.2.1), and disclosure under the Digital Services Act,
// which the values 2 and 3 require and either side must render (IAB Tech Lab,
// DSA Transparency).
func filterApp(o *rtb.Opportunity, l *campaigns.Line) rtb.NoBidReason {
	if l.App != nil && containsFold(o.BApp, l.App.Bundle) {
		return rtb.NoBidAdvertiserBlocked
	}
	const required = 2
	if _, ok := l.Disclosure.Answer(o.DSAPubRender); o.DSARequired >= required && !ok {
		return rtb.NoBidAdvertiserBlocked
	}
	return rtb.NoBidNone
}

// filterCreatives sets the creative of an option for one impression, or returns the
// furthest reason for which none fits. Of several that fit it chooses the first
// with the lowest floor, since video ads may have floors of their own; a line
// with rotation draws one by weight instead.
func (d *Decision) filterCreatives(l *campaigns.Line, i int, opt *option) rtb.NoBidReason {
	imp := &d.opportunity.Imps[i]
	if l.Targeting != nil {
		if r := l.Targeting.Impression(imp, positionOf(imp)); r != rtb.NoBidNone {
			return r
		}
	}
	if !d.canBid(l, imp) {
		return rtb.NoBidDealRequired // OpenRTB 2.6 §3.2.11
	}
	furthest, total := rtb.NoBidNone, 0.0
	steps := 1 + entriesOf(imp)/entriesPerStep
	for n, c := range l.Creatives {
		if d.spend(steps) {
			break
		}
		if l.Rotation != nil && !l.Rotation.Eligible(n, &d.visitor, d.facts.Request(), d.now) {
			furthest = max(furthest, rtb.NoBidNoAudience)
			continue
		}
		f := d.fitted(l, i, c)
		if f.reason != rtb.NoBidNone {
			furthest = max(furthest, f.reason)
			continue
		}
		if l.Rotation != nil && l.Rotation.Picks() {
			w := l.Rotation.Weight(n)
			if total += w; d.drawFor(i, n)*total < w {
				opt.show(f, impFloor(imp, f.shown))
			}
		} else if floor := impFloor(imp, f.shown); opt.creative == nil || floor < opt.floor {
			opt.show(f, floor)
		}
	}
	if opt.creative != nil {
		return rtb.NoBidNone
	}
	return furthest
}

// show sets the creative of an option.
func (o *option) show(f *fitSlot, floor rtb.CPM) {
	o.creative, o.products, o.Fit, o.floor = f.shown, f.products, f.fit, floor
}

// fitSlots is how many results of filterCreative are remembered; a power of two.
const fitSlots = 256

// fitSlot is a result of filterCreative in one round. It does not depend on the line,
// but on its advertiser: on the categories, and on the feed that products are from.
type fitSlot struct {
	round      uint64
	creative   *creatives.Creative
	advertiser *campaigns.Advertiser
	imp        int32
	reason     rtb.NoBidReason
	shown      *creatives.Creative // the creative or its fallback
	products   [2]int
	fit        creatives.Fit
}

// fitted is filterCreative, which is called once for the creatives that several lines
// have in common. The result is valid until the next call.
func (d *Decision) fitted(l *campaigns.Line, i int, c *creatives.Creative) *fitSlot {
	if d.fits == nil {
		d.fits = new([fitSlots]fitSlot)
	}
	s := &d.fits[mix(uint64(uintptr(unsafe.Pointer(c)))+uint64(i))%fitSlots]
	if s.round != d.round || s.creative != c || s.imp != int32(i) || s.advertiser != l.Advertiser {
		s.round, s.creative, s.advertiser, s.imp = d.round, c, l.Advertiser, int32(i)
		d.filterCreative(l, &d.opportunity.Imps[i], s)
	}
	return s
}

// filterCreative tries the creative of s, and its fallback if it needs a product and
// there is none, and sets the result.
func (d *Decision) filterCreative(l *campaigns.Line, imp *rtb.Impression, s *fitSlot) {
	c := s.creative
	for range 2 {
		s.reason = d.fitsImp(l, imp, c, &s.fit)
		if s.reason == rtb.NoBidNone && len(d.refused) > 0 {
			if _, refused := d.refused[c]; refused {
				s.reason = rtb.NoBidCreativePending // conformance B17
			}
		}
		if s.reason != rtb.NoBidNone {
			return
		}
		start := len(d.products)
		d.products = c.Select(d.products, &d.visitor, l.Advertiser.Feed, l.Advertiser.ID, d.now)
		if !c.NeedsProduct || len(d.products) > start {
			s.shown, s.products = c, [2]int{start, len(d.products)}
			s.reason = c.FitsProducts(imp, d.products[start:], d.now)
			return
		}
		if c = c.Fallback; c == nil {
			break
		}
	}
	s.reason = rtb.NoBidNoFormat
}

// fitsImp checks everything that a creative must satisfy on an impression, in the
// order of the reasons, and sets how it is shown.
func (d *Decision) fitsImp(l *campaigns.Line, imp *rtb.Impression, c *creatives.Creative, fit *creatives.Fit) (r rtb.NoBidReason) {
	if *fit, r = c.Fits(imp, &d.opportunity.Device, d.profile); r != rtb.NoBidNone {
		return r
	}
	switch {
	case !d.profile.Takes(c.Format, d.opportunity.ClickTracking):
		return rtb.NoBidNoFormat
	case !c.Secure && imp.Secure != rtb.No:
		return rtb.NoBidSecure // absent means unknown
	}
	v := d.verdictOn(l, c)
	switch {
	case v.language:
		return rtb.NoBidLanguage
	case fit.AttributeBlocked:
		return rtb.NoBidAttribute
	case v.category:
		return rtb.NoBidCategory
	case c.IURL == "" && d.profile.Requires("iurl"):
		return rtb.NoBidIURL // the exchange would drop the bid; another creative may have one
	case d.excludes(imp, c, fit.Size):
		return rtb.NoBidCreativePending
	}
	return rtb.NoBidNone
}

// verdict records which of the request's lists refuse a creative, on any impression.
type verdict struct{ language, category bool } // true: it is refused for that

// verdictSlots is how many verdicts are remembered; a power of two.
const verdictSlots = 32

// verdictSlot is the verdict on a language and categories in one round.
type verdictSlot struct {
	round    uint64
	language string
	cats     []string
	verdict  verdict
}

// verdictOn checks the lists of languages and categories, once for the creatives that
// have the same.
func (d *Decision) verdictOn(l *campaigns.Line, c *creatives.Creative) verdict {
	o := &d.opportunity
	n := len(o.WLang) + len(o.WLangB) + len(o.BCat) + len(o.ACat)
	if n == 0 {
		return verdict{}
	}
	cats := categoriesOf(c, l.Advertiser)
	h := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(cats))))
	for i := range len(c.Language) {
		h = h*31 + uint64(c.Language[i])
	}
	s := &d.verdicts[mix(h)%verdictSlots]
	if s.round != d.round || s.language != c.Language || len(s.cats) != len(cats) || unsafe.SliceData(s.cats) != unsafe.SliceData(cats) {
		*s = verdictSlot{d.round, c.Language, cats, verdict{!languageFits(o, c.Language), categoryBlocked(o, cats)}}
		d.entries += n
		d.spend(n)
	}
	return s.verdict
}

// categoriesOf returns a creative's own categories, or else its advertiser's.
func categoriesOf(c *creatives.Creative, a *campaigns.Advertiser) []string {
	if len(c.Cats) > 0 {
		return c.Cats
	}
	return a.Cats
}

// categoryBlocked checks bcat and acat. Where there is a list, categories that
// cannot be compared are blocked: the list uses another taxonomy, or the
// creative has no category.
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

type sizedCreative struct {
	imp      *rtb.Impression
	creative *creatives.Creative
	size     rtb.Size
}

// excludes reports whether the exchange excludes a creative on an impression.
// The list is read once for each impression, creative and size; a list that could
// not be read excludes every creative.
func (d *Decision) excludes(imp *rtb.Impression, c *creatives.Creative, s rtb.Size) bool {
	list := imp.ExcludedCreativeIDs
	if len(list) == 0 || imp.ExcludedBad {
		return imp.ExcludedBad
	}
	key := sizedCreative{imp, c, s}
	if excluded, ok := d.excluded[key]; ok {
		return excluded
	}
	if d.excluded == nil {
		d.excluded = map[sizedCreative]bool{}
	}
	d.excluded[key] = contains(list, c.CRIDOf(s))
	d.entries += len(list)
	d.spend(len(list))
	return d.excluded[key]
}

// entriesOf returns how many entries an impression's own lists have.
func entriesOf(imp *rtb.Impression) int {
	b, v, a := &imp.Banner, &imp.Video, &imp.Audio
	return len(b.Mimes) + len(b.Sizes) + len(b.Flex) + len(b.BAttr) + len(v.Mimes) + len(v.BAttr) + len(a.Mimes) + len(a.BAttr)
}

// positionOf returns an impression's position on the page (AdCOM 1.0, List:
// Placement Positions); -1 where the request has none.
func positionOf(imp *rtb.Impression) int {
	switch {
	case imp.Formats.Has(rtb.FormatBanner):
		return imp.Banner.Pos
	case imp.Formats.Has(rtb.FormatVideo):
		return imp.Video.Pos
	}
	return -1
}

// drawFor derives a number in [0, 1) for one impression and creative from the
// request's draw.
func (d *Decision) drawFor(imp, creative int) float64 {
	h := math.Float64bits(d.out.Draw) ^ uint64(imp+1)*0x9e3779b97f4a7c15 ^ uint64(creative+1)*0xd1b54a32d192ed03
	return float64(mix(h)>>11) / (1 << 53)
}

// mix is the finalizer of splitmix64, whose upper bits are evenly distributed.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
