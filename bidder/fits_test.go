package bidder

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/rtb"
)

// randomCreatives returns creatives of which many are alike in some ways.
func randomCreatives(t *testing.T, r *rand.Rand, n int) []*creatives.Creative {
	t.Helper()
	one := func(p int, list ...string) []string {
		if r.IntN(p) > 0 {
			return nil
		}
		return []string{list[r.IntN(len(list))]}
	}
	var specs []creatives.Spec
	for i := range n {
		s := creatives.Spec{ID: fmt.Sprint("c", i), Language: []string{"en", "en", "fr", ""}[r.IntN(4)], ClickURL: "https://shop.example/", Cat: one(6, "IAB1-2", "IAB25"), FullScreen: r.IntN(12) == 0}
		if r.IntN(6) == 0 {
			secure := false
			s.Secure = &secure
		}
		if r.IntN(7) == 0 {
			s.Attr = []int{1 + r.IntN(3)}
		}
		if r.IntN(6) == 0 {
			s.API = []int{3 + 2*r.IntN(2)}
		}
		if r.IntN(5) == 0 {
			s.Type, s.Duration = "vast", time.Duration(10*(1+r.IntN(3)))*time.Second
			s.Media = []creatives.MediaSpec{{URL: "https://shop.example/v.mp4", Mime: []string{"video/mp4", "video/webm"}[r.IntN(2)], W: 640, H: 360}}
			s.API = nil
		} else {
			s.Type, s.Sizes = "html", [][]string{{"300x250"}, {"300x250", "728x90"}, {"728x90", "300x250"}, {"320x50"}}[r.IntN(4)]
			s.HTML, s.Mimes = []string{`<a href="{{click}}">buy</a>`, `<a href="{{click}}"><img src="https://shop.example/a.png"></a>`}[r.IntN(2)], one(6, "image/gif")
		}
		specs = append(specs, s)
	}
	list, problems := creatives.Compile(specs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return list
}

// randomImp returns an impression for banners, a video, or both.
func randomImp(r *rand.Rand) rtb.Impression {
	imp := rtb.Impression{ID: []byte("1"), Secure: []rtb.Flag{rtb.Yes, rtb.No, rtb.No}[r.IntN(3)], Instl: r.IntN(3) == 0, Floor: 2_000_000}
	if r.IntN(4) > 0 {
		imp.Formats |= rtb.FormatBanner
		sizes := []rtb.Size{{W: 300, H: 250}, {W: 728, H: 90}, {W: 320, H: 50}, {W: 970, H: 250}}
		for range 1 + r.IntN(2) {
			imp.Banner.Sizes = append(imp.Banner.Sizes, sizes[r.IntN(4)])
		}
		if r.IntN(3) == 0 {
			imp.Banner.Mimes = texts([]string{"text/html", "image/gif"}[r.IntN(2)])
		}
		if r.IntN(3) == 0 {
			imp.Banner.BAttr, imp.Banner.BType = []int{1 + r.IntN(3)}, []int{1 + r.IntN(2)}
		}
		if r.IntN(2) == 0 {
			imp.Banner.API = []int{3, 5}[r.IntN(2):]
		}
	}
	if imp.Formats == 0 || r.IntN(4) == 0 {
		imp.Formats |= rtb.FormatVideo
		imp.Video = rtb.Video{Mimes: texts("video/mp4"), MaxDuration: 25 * time.Second, API: []int{3}, BAttr: []int{2}, BoxingAllowed: rtb.Yes}
		if r.IntN(2) == 0 {
			imp.Video.DurFloors = []rtb.DurFloor{{Max: 15 * time.Second, Floor: 1_000_000}, {Min: 16 * time.Second, Floor: 3_000_000}}
		}
	}
	if r.IntN(4) == 0 {
		for range 60 {
			imp.ExcludedCreativeIDs = append(imp.ExcludedCreativeIDs, fmt.Appendf(nil, "c%d-x", r.IntN(150)))
		}
	}
	return imp
}

// A line shows the creative that judging each of its creatives by itself, in a decision
// that remembers nothing, would choose, and gives the furthest of their reasons.
func TestCreativesThatAreAlikeAreJudgedAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	got := map[rtb.NoBidReason]int{}
	shared := 0
	alone := &Decision{profile: &exchange.Profile{}, clock: func() time.Time { return time.Time{} }}
	for range 6 {
		list := randomCreatives(t, r, 150)
		var lines []*campaigns.Line
		advertisers := []*campaigns.Advertiser{{ID: "a", Cats: []string{"IAB22"}}, {ID: "b", Cats: []string{"IAB25"}}}
		for range 60 {
			l := &campaigns.Line{Advertiser: advertisers[r.IntN(2)]}
			for range 1 + r.IntN(5) {
				c := list[r.IntN(len(list))]
				c.CRID = c.ID + "-x"
				l.Creatives, l.Alike = append(l.Creatives, c), append(l.Alike, c.Alike)
				if c.Alike != c {
					shared++
				}
			}
			lines = append(lines, l)
		}
		d := &Decision{profile: &exchange.Profile{}, clock: func() time.Time { return time.Time{} }}
		for range 12 {
			o := rtb.Opportunity{CatTax: 1, Imps: []rtb.Impression{randomImp(r), randomImp(r)}}
			if r.IntN(3) == 0 {
				o.WLang = texts("en")
			}
			if r.IntN(3) == 0 {
				o.BCat = texts("IAB25")
			}
			d.reset()
			d.opportunity = o
			d.round++
			for _, l := range lines {
				for i := range o.Imps {
					var opt option
					reason := d.filterCreatives(l, i, &opt)
					want, wantReason := judgeEach(alone, l, &o, i)
					if reason != wantReason || opt.creative != want {
						t.Fatalf("got %v, %q; want %v, %q on %+v", opt.creative, reason, want, wantReason, o.Imps[i])
					}
					got[reason]++
				}
			}
		}
	}
	for _, reason := range []rtb.NoBidReason{rtb.NoBidNone, rtb.NoBidSize, rtb.NoBidMimes, rtb.NoBidAPI, rtb.NoBidSecure, rtb.NoBidLanguage, rtb.NoBidAttribute, rtb.NoBidCategory, rtb.NoBidCreativePending} {
		if got[reason] < 50 {
			t.Errorf("got %q %d times; want some hundreds", reason, got[reason])
		}
	}
	if shared < 100 {
		t.Errorf("got %d uses of a creative that is like an earlier one; want hundreds", shared)
	}
}

// judgeEach chooses the creative of a line in the plain way. Every creative is judged in a
// round of its own, so that nothing is remembered.
func judgeEach(d *Decision, l *campaigns.Line, o *rtb.Opportunity, i int) (best *creatives.Creative, furthest rtb.NoBidReason) {
	var lowest rtb.CPM
	for _, c := range l.Creatives {
		alone := &campaigns.Line{Advertiser: l.Advertiser, Creatives: []*creatives.Creative{c}, Alike: []*creatives.Creative{c}}
		d.reset()
		d.opportunity = *o
		d.round++
		if _, r := d.fitting(alone, i, 0); r != rtb.NoBidNone {
			furthest = max(furthest, r)
			continue
		}
		if floor := impFloor(&o.Imps[i], c); best == nil || floor < lowest {
			best, lowest = c, floor
		}
	}
	if best != nil {
		return best, rtb.NoBidNone
	}
	return nil, furthest
}
