package campaigns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

// randomTargets returns the targeting of a line, of few enough values that lines share
// rules and requests match them.
func randomTargets(r *rand.Rand) *TargetSpec {
	some := func(n int, of ...string) (out []string) {
		for range r.IntN(n + 1) {
			if x := of[r.IntN(len(of))]; !slices.Contains(out, x) {
				out = append(out, x)
			}
		}
		return out
	}
	places := func(n int) (out []PlaceSpec) {
		for range r.IntN(n + 1) {
			p := PlaceSpec{Country: []string{"CA", "USA", "GB", "DE"}[r.IntN(4)]}
			switch r.IntN(6) {
			case 0:
				p.Region = []string{"ON", "QC"}[r.IntN(2)]
			case 1:
				p.ZIP = []string{"100*", "20001"}[r.IntN(2)]
			case 2:
				p = PlaceSpec{City: []string{"Toronto", "Bath"}[r.IntN(2)]}
			}
			out = append(out, p)
		}
		return out
	}
	t := &TargetSpec{}
	if r.IntN(2) == 0 {
		t.Geo = GeoSpec{places(3), places(2)}
	}
	if r.IntN(2) == 0 {
		t.Device = DeviceSpec{Types: some(3, "phone", "tablet", "tv", "connected"), Languages: some(2, "en", "en-gb", "fr")}
	}
	if r.IntN(2) == 0 {
		from := r.IntN(20)
		t.Daypart = []string{fmt.Sprintf("%s %02d-%02d%s", []string{"mon-fri", "sat,sun", "mon-sun", "wed"}[r.IntN(4)], from, from+1+r.IntN(24-from), []string{"", "", " user"}[r.IntN(3)])}
	}
	hosts := []string{"a.example", "=a.example", "news.a.example", "b.example", "=www.c.example", "x.y.b.example"}
	bundles := []string{"com.a.app", "com.a.*", "123456", "com.b.*"}
	t.Inventory.Domains = ListSpec{some(1, hosts...), some(2, hosts...)}
	t.Inventory.Bundles = ListSpec{some(1, bundles...), some(2, bundles...)}
	t.Safety = SafetySpec{BlockCat: some(2, "IAB1", "IAB2-3", "IAB25"), BlockDomains: some(1, hosts...), BlockBundles: some(1, bundles...)}
	t.Keywords = KeywordsSpec{some(1, "shoes", "hats"), some(1, "war", "hats")}
	return t
}

// randomPlace returns a request as far as targeting reads it.
func randomPlace(r *rand.Rand) *rtb.Opportunity {
	pick := func(of ...string) []byte {
		if s := of[r.IntN(len(of))]; s != "" {
			return []byte(s)
		}
		return nil
	}
	o := &rtb.Opportunity{}
	u, d := &o.Supply, &o.Device
	if u.App = r.IntN(3) == 0; u.App {
		u.Bundle, u.Domain = pick("com.a.app", "com.b.game", "123456", ""), pick("a.example", "")
	} else {
		u.Site = true
		u.Domain = pick("a.example", "News.A.example", "b.example", "www.c.example", "d.c.example", "x.y.b.example", "")
		u.Page = pick("https://a.example/x", "https://deep.b.example/", "")
	}
	for range r.IntN(3) {
		u.Cats = append(u.Cats, pick("IAB1", "IAB1-2", "IAB2", "IAB25"))
	}
	u.CatTax = []int{0, 1, 7}[r.IntN(3)]
	d.Country, d.Region, d.City, d.ZIP = pick("CAN", "US", "GBR", "FR", ""), pick("ON", "CA-QC", ""), pick("TORONTO", "bath", ""), pick("10001", "20001", "")
	d.Type, d.Language = []int{3, 4, 5, 6, 7}[r.IntN(5)], pick("en", "en-GB", "en_US", "fr", "")
	if d.HasOffset = r.IntN(2) == 0; d.HasOffset {
		d.UTCOffset = time.Duration(r.IntN(20)-10) * time.Hour
	}
	o.Keywords = [][]byte{pick("Shoes", "hats", "war")}
	o.UserKeywords = r.IntN(2)
	return o
}

// hostListed is the plain form of a list of hosts.
func hostListed(list []string, host string) bool {
	return slices.ContainsFunc(list, func(e string) bool {
		e, exact := strings.CutPrefix(e, "=")
		e = strings.TrimPrefix(e, "www.")
		return host == e || !exact && strings.HasSuffix(host, "."+e)
	})
}

func bundleListed(list []string, bundle string) bool {
	return slices.ContainsFunc(list, func(e string) bool {
		prefix, below := strings.CutSuffix(e, "*")
		return bundle == e || below && strings.HasPrefix(bundle, prefix)
	})
}

// plainSupply is [Targeting.Supply] without anything that makes it fast.
func plainSupply(t *TargetSpec, o *rtb.Opportunity) rtb.NoBidReason {
	u := &o.Supply
	host := func(b []byte) string {
		s := strings.TrimPrefix(strings.ToLower(string(b)), "https://")
		s, _, _ = strings.Cut(s, "/")
		return strings.TrimPrefix(s, "www.")
	}
	domain, page, bundle := host(u.Domain), host(u.Page), string(u.Bundle)
	if domain == "" {
		domain = page
	}
	listed := func(hosts, bundles []string) bool {
		if u.App {
			return bundle != "" && bundleListed(bundles, bundle)
		}
		return domain != "" && hostListed(hosts, domain)
	}
	blocked := func(hosts, bundles []string) bool {
		return listed(hosts, bundles) || u.App && domain != "" && hostListed(hosts, domain) || !u.App && page != "" && hostListed(hosts, page)
	}
	v := &t.Inventory
	if blocked(v.Domains.Exclude, v.Bundles.Exclude) || blocked(t.Safety.BlockDomains, t.Safety.BlockBundles) {
		return rtb.NoBidSiteBlocked
	}
	if len(t.Safety.BlockCat) > 0 && len(u.Cats) > 0 {
		if u.CatTax > 1 {
			return rtb.NoBidSiteBlocked // the line's categories are of another taxonomy
		}
		for _, c := range u.Cats {
			if slices.ContainsFunc(t.Safety.BlockCat, func(e string) bool { return string(c) == e || strings.HasPrefix(string(c), e+"-") }) {
				return rtb.NoBidSiteBlocked
			}
		}
	}
	if len(v.Domains.Include)+len(v.Bundles.Include) > 0 && !listed(v.Domains.Include, v.Bundles.Include) {
		return rtb.NoBidInventory
	}
	unnamed := u.App && bundle == "" || !u.App && domain == ""
	if unnamed && (u.App && len(v.Bundles.Exclude) > 0 || u.Site && len(v.Domains.Exclude) > 0) {
		return rtb.NoBidInventory
	}
	word := ""
	if o.UserKeywords > 0 {
		word = strings.ToLower(string(o.Keywords[0])) // those of the user may not be read
	}
	if slices.Contains(t.Keywords.None, word) || len(t.Keywords.Any) > 0 && !slices.Contains(t.Keywords.Any, word) {
		return rtb.NoBidInventory
	}
	return rtb.NoBidNone
}

// plainDevice is [Targeting.Device] without anything that makes it fast.
func plainDevice(t *TargetSpec, o *rtb.Opportunity, now time.Time, zone *time.Location) rtb.NoBidReason {
	d := &o.Device
	country, _ := rtb.ParseCountry(d.Country)
	in := func(p PlaceSpec) bool {
		if p.City != "" {
			return strings.EqualFold(p.City, string(d.City))
		}
		want, _ := rtb.ParseCountry(p.Country)
		region, zip := strings.TrimPrefix(string(d.Region), want.String()+"-"), strings.TrimSuffix(p.ZIP, "*")
		return country == want && (p.Region == "" || region == p.Region) &&
			(p.ZIP == "" || string(d.ZIP) == p.ZIP || zip != p.ZIP && strings.HasPrefix(string(d.ZIP), zip))
	}
	out := func(p PlaceSpec) bool { return in(p) || p.Country != "" && country == rtb.Country{} }
	if len(t.Geo.Include) > 0 && !slices.ContainsFunc(t.Geo.Include, in) || slices.ContainsFunc(t.Geo.Exclude, out) {
		return rtb.NoBidGeo
	}
	kind := map[int]string{3: "tv", 4: "phone", 5: "tablet", 6: "connected"}[d.Type]
	language := strings.ReplaceAll(strings.ToLower(string(d.Language)), "_", "-")
	primary, _, _ := strings.Cut(language, "-")
	speaks := func(l string) bool { return l == language || l == primary }
	if len(t.Device.Types) > 0 && !slices.Contains(t.Device.Types, kind) || len(t.Device.Languages) > 0 && !slices.ContainsFunc(t.Device.Languages, speaks) {
		return rtb.NoBidDevice
	}
	if len(t.Daypart) == 0 {
		return rtb.NoBidNone
	}
	words := strings.Fields(t.Daypart[0])
	clock := now.In(zone)
	if len(words) == 3 {
		if !d.HasOffset {
			return rtb.NoBidDaypart
		}
		clock = now.UTC().Add(d.UTCOffset)
	}
	var from, to int
	_, _ = fmt.Sscanf(words[1], "%d-%d", &from, &to)
	days := map[string][]time.Weekday{"mon-fri": {1, 2, 3, 4, 5}, "sat,sun": {6, 0}, "mon-sun": {0, 1, 2, 3, 4, 5, 6}, "wed": {3}}[words[0]]
	if !slices.Contains(days, clock.Weekday()) || clock.Hour() < from || clock.Hour() >= to {
		return rtb.NoBidDaypart
	}
	return rtb.NoBidNone
}

// Compiled targeting gives the reasons that its specification gives, also where lines
// share rules and facts are remembered.
func TestTargetingAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 8))
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	var f Facts
	got := map[rtb.NoBidReason]int{}
	for range 20 {
		c := &compiler{in: Input{Tables: NewTables(nil, nil, nil)}}
		l := &Line{Advertiser: &Advertiser{Zone: zone}}
		advertiser := (*safety)(nil).plus(c.safety("", &SafetySpec{}))
		var specs []*TargetSpec
		var lines []*Targeting
		for range 30 {
			s := randomTargets(r)
			specs, lines = append(specs, s), append(lines, c.targeting("", l, s, advertiser))
		}
		if len(c.Problems) > 0 {
			t.Fatal(c.Problems)
		}
		for range 60 {
			o := randomPlace(r)
			now := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(14*24*60)) * time.Minute)
			f.Begin(o, nil, nil, true, false)
			for i, s := range specs {
				supply, device := rtb.NoBidNone, rtb.NoBidNone
				if lines[i] != nil {
					supply, device = lines[i].Supply(&f, "demo"), lines[i].Device(&f, now)
				}
				if want := plainSupply(s, o); supply != want {
					t.Fatalf("%+v\non %s %s %s %s tax %d, keywords %s: got %q; want %q", *s, o.Supply.Domain, o.Supply.Page, o.Supply.Bundle, o.Supply.Cats, o.Supply.CatTax, o.Keywords, supply, want)
				}
				if want := plainDevice(s, o, now, zone); device != want {
					t.Fatalf("%+v\non %+v at %v: got %q; want %q", *s, o.Device, now, device, want)
				}
				got[supply]++
				got[device]++
			}
			f.End()
		}
	}
	for _, reason := range []rtb.NoBidReason{rtb.NoBidNone, rtb.NoBidSiteBlocked, rtb.NoBidInventory, rtb.NoBidGeo, rtb.NoBidDevice, rtb.NoBidDaypart} {
		if got[reason] < 600 {
			t.Errorf("got %q %d times; want thousands", reason, got[reason])
		}
	}
}
