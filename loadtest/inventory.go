package loadtest

import (
	"math/rand/v2"

	"rebound/rtb"
)

// weighted is a banner size and how often exchanges request it.
type weighted struct {
	weight int
	size   rtb.Size
}

// Sizes on pages and in apps; the weights of each add up to 100.
var (
	pageSizes = []weighted{
		{45, rtb.Size{W: 300, H: 250}}, {18, rtb.Size{W: 728, H: 90}}, {15, rtb.Size{W: 320, H: 50}},
		{8, rtb.Size{W: 160, H: 600}}, {7, rtb.Size{W: 300, H: 600}}, {4, rtb.Size{W: 970, H: 250}}, {3, rtb.Size{W: 336, H: 280}},
	}
	appSizes = []weighted{{60, rtb.Size{W: 320, H: 50}}, {30, rtb.Size{W: 300, H: 250}}, {10, rtb.Size{W: 320, H: 100}}}
)

func pickSize(r *rand.Rand, app bool) rtb.Size {
	from := pageSizes
	if app {
		from = appSizes
	}
	n := r.IntN(100)
	for _, s := range from {
		if n -= s.weight; n < 0 {
			return s.size
		}
	}
	return from[0].size
}

var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
}

var slugs = []string{"harbour-bridge-opens", "council-votes-on-trams", "storm-passes-the-coast", "school-prize-for-robots", "ferry-timetable-changes"}

// nativeRequest is a native request of version 1.2 with a title, two images and text.
const nativeRequest = `{"ver":"1.2","context":1,"contextsubtype":11,"plcmttype":1,"plcmtcnt":1,"assets":[{"id":1,"required":1,"title":{"len":90}},{"id":2,"required":1,"img":{"type":3,"wmin":600,"hmin":314}},{"id":3,"required":0,"img":{"type":1,"wmin":50,"hmin":50}},{"id":4,"required":0,"data":{"type":2,"len":140}},{"id":5,"required":0,"data":{"type":1,"len":25}}],"eventtrackers":[{"event":1,"methods":[1,2]}]}`
