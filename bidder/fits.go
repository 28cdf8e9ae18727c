package bidder

import (
	"math"
	"slices"
	"unsafe"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/rtb"
)

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
	draws, varies := l.Rotation != nil && l.Rotation.Picks(), floorVaries(imp)
	steps := 1 + entriesOf(imp)/entriesPerStep
	for n := range l.Creatives {
		if d.spend(steps) {
			break
		}
		if l.Rotation != nil && !l.Rotation.Eligible(n, &d.visitor, d.facts.Request(), d.now) {
			furthest = max(furthest, rtb.NoBidNoAudience)
			continue
		}
		s, r := d.fitting(l, i, n)
		if r != rtb.NoBidNone {
			furthest = max(furthest, r)
			continue
		}
		if draws {
			w := l.Rotation.Weight(n)
			if total += w; d.drawFor(i, n)*total < w {
				opt.show(s, impFloor(imp, s.creative))
			}
			continue
		}
		if floor := impFloor(imp, s.creative); opt.creative == nil || floor < opt.floor {
			opt.show(s, floor)
		}
		if !varies {
			break // no other creative has a lower floor
		}
	}
	if opt.creative != nil {
		return rtb.NoBidNone
	}
	return furthest
}

// fitting is how a creative is shown on an impression. It is valid until the next one is
// asked for.
type fitting struct {
	creative *creatives.Creative // the line's, or its fallback
	products [2]int              // range of products
	fit      *creatives.Fit
}

// show sets the creative of an option.
func (o *option) show(f fitting, floor rtb.CPM) {
	o.creative, o.products, o.Fit, o.floor = f.creative, f.products, *f.fit, floor
}

// fitting tries creative n of a line, and its fallback if it needs a product and there is
// none. It returns how it is shown, or why it is not.
func (d *Decision) fitting(l *campaigns.Line, i, n int) (f fitting, r rtb.NoBidReason) {
	imp, alike := &d.opportunity.Imps[i], l.Alike[n]
	s := d.fitted(l, i, alike)
	if s.reason != rtb.NoBidNone {
		return f, s.reason
	}
	for c := l.Creatives[n]; ; {
		if d.excludes(imp, c, s.fit.Size) {
			return f, rtb.NoBidCreativePending
		}
		if len(d.refused) > 0 {
			if _, refused := d.refused[c]; refused {
				return f, rtb.NoBidCreativePending // conformance B17
			}
		}
		products := d.selected(l.Advertiser, c)
		if !c.NeedsProduct || products[0] < products[1] {
			return fitting{c, products, &s.fit}, c.FitsProducts(imp, d.products[products[0]:products[1]], d.now)
		}
		if c = c.Fallback; c == nil {
			return f, rtb.NoBidNoFormat
		}
		if s = d.fitted(l, i, c.Alike); s.reason != rtb.NoBidNone {
			return f, s.reason
		}
	}
}

// fitSlots is how many results of fitsImp are remembered; a power of two.
const fitSlots = 256

// fitSlot is the result of fitsImp in one round, for the creatives that are alike. It does
// not depend on the line, but on its advertiser, whose categories creatives have that have
// none of their own.
type fitSlot struct {
	round      uint64
	alike      *creatives.Creative
	advertiser *campaigns.Advertiser
	imp        int32
	reason     rtb.NoBidReason
	fit        creatives.Fit
}

// fitted is fitsImp, which is called once for creatives that are alike: most lines have
// the same sizes and formats. The result is valid until the next call.
func (d *Decision) fitted(l *campaigns.Line, i int, alike *creatives.Creative) *fitSlot {
	if d.fits == nil {
		d.fits = new([fitSlots]fitSlot)
	}
	s := &d.fits[mix(uint64(uintptr(unsafe.Pointer(alike)))+uint64(i))%fitSlots]
	if s.round != d.round || s.alike != alike || s.imp != int32(i) || s.advertiser != l.Advertiser {
		s.round, s.alike, s.advertiser, s.imp = d.round, alike, l.Advertiser, int32(i)
		s.reason = d.fitsImp(l, &d.opportunity.Imps[i], alike, &s.fit)
	}
	return s
}

// fitsImp checks everything that creatives that are alike must satisfy on an impression, in
// the order of the reasons, and sets how they are shown.
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
	}
	return rtb.NoBidNone
}

// productChoice is the products that a decision selected for an advertiser.
type productChoice struct {
	advertiser *campaigns.Advertiser
	fill       creatives.Fills
	products   [2]int
}

// selected returns the range of products that a creative of an advertiser shows to the
// visitor. They are selected once for each advertiser and fill.
func (d *Decision) selected(a *campaigns.Advertiser, c *creatives.Creative) [2]int {
	if a.Feed == nil {
		return [2]int{}
	}
	d.spend(len(d.choices) / entriesPerStep)
	for i := range d.choices {
		if s := &d.choices[i]; s.advertiser == a && s.fill == c.Fill {
			return s.products
		}
	}
	start := len(d.products)
	d.products = c.Select(d.products, &d.visitor, a.Feed, a.ID, d.now)
	products := [2]int{start, len(d.products)}
	d.choices = append(d.choices, productChoice{a, c.Fill, products})
	return products
}

// verdict records which of the request's lists refuse a creative, on any impression.
type verdict struct{ language, category bool } // true: it is refused for that

// verdictSlots is how many verdicts are remembered; a power of two.
const verdictSlots = 32

// verdictSlot is the verdict on a language and categories in one round.
type verdictSlot struct {
	known    bool // the slot is used
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
	if !s.known || s.round != d.round || s.language != c.Language || len(s.cats) != len(cats) || unsafe.SliceData(s.cats) != unsafe.SliceData(cats) {
		*s = verdictSlot{true, d.round, c.Language, cats, verdict{!languageFits(o, c.Language), categoryBlocked(o, cats)}}
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
