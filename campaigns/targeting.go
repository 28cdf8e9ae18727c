package campaigns

import (
	"slices"
	"strconv"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Targeting restricts where and when a line may be shown, in addition to its audience. It is
// immutable and safe for concurrent use. A line without restrictions has none. Targeting has
// 64 bytes, one cache line: every rule that is larger than a word is a pointer.
type Targeting struct {
	inventory *inventoryRule
	safety    *safety
	keywords  *keywords
	mm        uint8 // accepted match methods as bits; 0: all
	exact     bool  // a place has a postcode or a circle
	geo       *geo
	device    *devices
	daypart   *dayparts
	segments  *requestSegments
}

// inventoryRule is the sites, apps and screens that a line may be shown on. What every
// request needs comes first, so that it is in one cache line.
type inventoryRule struct {
	excluded             nameFilter // of excludeDomains and excludeBundles
	site, app, dooh      bool
	includes             bool // there is an include list
	excludesSites        bool // there are excludeDomains
	excludesApps         bool // there are excludeBundles
	refuseRewarded, only bool // rewarded impressions are refused, or required
	positions            uint16
	minViewability       float64
	includeDomains       names
	excludeDomains       names
	includeBundles       names
	excludeBundles       names
}

// Supply reports whether the line may be shown where the request comes from:
// site_blocked, schain, ads_txt, inventory, or none.
func (t *Targeting) Supply(f *Facts, exchange string) rtb.NoBidReason {
	if v := t.inventory; v != nil && f.mayBeIn(&v.excluded) && f.blocked(v.excludeDomains, v.excludeBundles) {
		return rtb.NoBidSiteBlocked
	}
	if t.safety != nil {
		if r := f.safe(t.safety, exchange); r != rtb.NoBidNone {
			return r
		}
	}
	if v := t.inventory; v != nil && !v.takes(f) {
		return rtb.NoBidInventory
	}
	if t.keywords != nil && !t.keywords.match(f.keywords()) {
		return rtb.NoBidInventory
	}
	return rtb.NoBidNone
}

// takes checks the kind of inventory and the include lists. If a list excludes
// something, a request that does not name its site or app does not pass.
func (v *inventoryRule) takes(f *Facts) bool {
	u := &f.o.Supply
	if u.Site && !v.site || u.App && !v.app || u.DOOH && !v.dooh {
		return false
	}
	if v.includes && !f.listed(v.includeDomains, v.includeBundles) {
		return false
	}
	excludes := v.excludesSites && u.Site || v.excludesApps && u.App
	return !excludes || !f.unnamed()
}

// Device checks the visitor's location, device and time: no_audience (the
// request's own segments), geo, device, daypart, or none.
func (t *Targeting) Device(f *Facts, now time.Time) rtb.NoBidReason {
	d := &f.o.Device
	switch {
	case t.segments != nil && !(f.user && t.segments.match(f.o.UserSegments)):
		return rtb.NoBidNoAudience
	case t.geo != nil && !t.geo.matches(f.place()):
		return rtb.NoBidGeo
	case t.device != nil && !t.device.matches(f):
		return rtb.NoBidDevice
	case t.daypart != nil && !t.daypart.matches(&f.clock, now, d.UTCOffset, d.HasOffset):
		return rtb.NoBidDaypart
	}
	return rtb.NoBidNone
}

// Identity checks how reliably the identifier was matched to the visitor (AdCOM
// 1.0, List: ID Match Methods). mm is -1 if the request does not say.
func (t *Targeting) Identity(mm int) rtb.NoBidReason {
	if t.mm == 0 || mm < 0 || mm < 8 && t.mm&(1<<mm) != 0 {
		return rtb.NoBidNone
	}
	return rtb.NoBidNoID
}

// Impression checks position, viewability and reward: inventory or none. pos is
// the position of the format, -1 if unknown.
func (t *Targeting) Impression(imp *rtb.Impression, pos int) rtb.NoBidReason {
	v := t.inventory
	switch {
	case v == nil:
		return rtb.NoBidNone
	case v.positions != 0 && (pos > 15 || v.positions&(1<<max(pos, 0)) == 0),
		v.minViewability > 0 && !(imp.HasViewability && imp.Viewability >= v.minViewability),
		v.refuseRewarded && (imp.Rewarded || imp.RewardedUnsure), v.only && !imp.Rewarded:
		return rtb.NoBidInventory
	}
	return rtb.NoBidNone
}

// Positions by name (AdCOM 1.0, List: Placement Positions).
var (
	positionNames = []string{"unknown", "above_fold", "below_fold", "header", "footer", "sidebar", "fullscreen"}
	positionCodes = []int{0, 1, 3, 4, 5, 6, 7}
)

// keywords are sets of keywords in lower case.
type keywords struct{ any, none hashSet }

func (k *keywords) match(list [][]byte) bool {
	found := len(k.any.rows) == 0
	for _, w := range list {
		h, ok := hashFold(w)
		if !ok {
			continue
		}
		if k.none.has(h) {
			return false
		}
		found = found || k.any.has(h)
	}
	return found
}

// requestSegments are the entries of request_segments, of which one must match.
type requestSegments []requestSegment

// requestSegment is one entry of request_segments.
type requestSegment struct {
	provider string
	tax      int
	ids      []string
}

func (r requestSegments) match(list []rtb.UserSegment) bool {
	for i := range r {
		want := &r[i]
		for j := range list {
			s := &list[j]
			if want.provider != "" && !rtb.EqualFold(s.Provider, want.provider) || want.tax != 0 && s.SegTax != want.tax {
				continue
			}
			for _, id := range want.ids {
				if string(s.ID) == id {
					return true
				}
			}
		}
	}
	return false
}

// parts returns the parts of a request that the targeting compares.
func (t *Targeting) parts() (parts rtb.Parts) {
	if t == nil {
		return 0
	}
	if t.keywords != nil {
		parts |= rtb.PartKeywords
	}
	if t.segments != nil {
		parts |= rtb.PartSegments
	}
	if t.safety != nil && len(t.safety.cats) > 0 {
		parts |= rtb.PartCategories
	}
	if t.device != nil && t.device.browser != 0 {
		parts |= rtb.PartBrowser
	}
	return parts
}

// targeting compiles the targeting of a line, or returns nil if there are no
// restrictions.
func (c *compiler) targeting(path string, l *Line, s *TargetSpec, above *safety) *Targeting {
	t := &Targeting{
		geo: c.geo(path+".geo", &s.Geo), device: c.devices(path+".device", &s.Device), inventory: c.inventory(path+".inventory", &s.Inventory),
		daypart: c.daypart(path+".daypart", s.Daypart, l.Advertiser.Zone), keywords: c.keywordSets(path+".keywords", &s.Keywords),
		segments: c.requestSegments(path+".request_segments", s.RequestSegments),
		safety:   above.plus(c.safety(path+".safety", &s.Safety)),
	}
	t.exact = t.geo != nil && t.geo.exact
	for i, mm := range s.MM {
		if mm < 0 || mm > 5 {
			c.Add(spec.At(path+".match_methods", i), strconv.Itoa(mm), "a match method of AdCOM 1.0, 0 to 5")
			continue
		}
		t.mm |= 1 << mm
	}
	if t.geo == nil && t.device == nil && t.inventory == nil && t.daypart == nil && t.keywords == nil && t.segments == nil && t.safety == nil && t.mm == 0 {
		return nil
	}
	return t
}

func (c *compiler) inventory(path string, s *InventorySpec) *inventoryRule {
	on := func(b *bool) bool { return b == nil || *b }
	v := &inventoryRule{site: on(s.Site), app: on(s.App), dooh: on(s.DOOH), minViewability: s.MinViewability,
		includeDomains: c.hosts(path+".domains.include", s.Domains.Include), excludeDomains: c.hosts(path+".domains.exclude", s.Domains.Exclude),
		includeBundles: c.bundles(path+".bundles.include", s.Bundles.Include), excludeBundles: c.bundles(path+".bundles.exclude", s.Bundles.Exclude),
		includes: len(s.Domains.Include)+len(s.Bundles.Include) > 0}
	v.excludesSites, v.excludesApps = len(v.excludeDomains) > 0, len(v.excludeBundles) > 0
	v.excluded.addAll(v.excludeDomains)
	v.excluded.addAll(v.excludeBundles)
	switch c.choose(path+".rewarded", s.Rewarded, []string{"allow", "refuse", "only"}, 0) {
	case 1:
		v.refuseRewarded = true
	case 2:
		v.only = true
	}
	for i, p := range s.Positions {
		if n := c.OneOf(spec.At(path+".positions", i), p, positionNames); n >= 0 {
			v.positions |= 1 << positionCodes[n]
		}
	}
	if !(s.MinViewability >= 0 && s.MinViewability <= 1) {
		c.Add(path+".min_viewability", spec.Float(s.MinViewability), "a number from 0 to 1")
	}
	if !v.site && !v.app && !v.dooh {
		c.Add(path, "neither site nor app nor dooh", "at least one of them")
	}
	if v.site && v.app && v.dooh && !v.includes && v.excludeDomains == nil && v.excludeBundles == nil && v.positions == 0 &&
		v.minViewability == 0 && !v.refuseRewarded && !v.only {
		return nil
	}
	return v
}

func (c *compiler) keywordSets(path string, s *KeywordsSpec) *keywords {
	if len(s.Any)+len(s.None) == 0 {
		return nil
	}
	set := func(field string, list []string) hashSet {
		var rows []uint64
		for i, w := range list {
			h, ok := hashFold(w)
			if !ok {
				c.Add(spec.At(path+"."+field, i), spec.Quote(w), "a keyword of at most 256 bytes")
			}
			rows = append(rows, h)
		}
		return newHashSet(rows)
	}
	return &keywords{set("any", s.Any), set("none", s.None)}
}

func (c *compiler) requestSegments(path string, specs []RequestSpec) *requestSegments {
	if len(specs) == 0 {
		return nil
	}
	var out requestSegments
	for i, s := range specs {
		if len(s.IDs) == 0 || slices.Contains(s.IDs, "") {
			c.Add(spec.At(path, i)+".ids", "nothing", "at least one segment id")
		}
		out = append(out, requestSegment{s.Provider, s.SegTax, slices.Clone(s.IDs)})
	}
	return &out
}
