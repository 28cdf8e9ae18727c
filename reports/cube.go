package reports

import "slices"

// cube is one rollup: sums of the observations of some kinds by some dimensions.
type cube struct {
	name  string
	kinds kind
	dims  []dim
	grain int64 // seconds; 0: that of the store, an hour or a quarter of one
}

// cubes are ordered by size: a query reads the first that has what it needs.
var cubes = []cube{
	{"orders", ofOrder, []dim{dimAdvertiser, dimCurrency}, 0},
	{"pace", ofBid | ofRefusal | ofNotice, []dim{dimAdvertiser, dimCampaign, dimLine, dimCurrency}, paceGrain},
	{"refusals", ofRefusal, []dim{dimExchange, dimAdvertiser, dimCampaign, dimLine, dimNoBid}, 0},
	{"requests", ofRequest, []dim{dimExchange, dimFormat, dimSize, dimNoBid}, 0},
	{"reqplace", ofRequest, []dim{dimExchange, dimCountry, dimRegion}, 0},
	{"reqdevice", ofRequest, []dim{dimExchange, dimDevice, dimOS, dimBrowser}, 0},
	{"reqdomain", ofRequest, []dim{dimDomain, dimBundle}, 0},
	{"reqsite", ofRequest, []dim{dimExchange, dimDomain, dimBundle}, 0},
	{"delivery", ofBid | ofNotice, []dim{dimExchange, dimAdvertiser, dimCampaign, dimLine, dimCreative, dimFormat, dimSize, dimDeal, dimCurrency}, 0},
	{"losses", ofNotice, []dim{dimExchange, dimAdvertiser, dimCampaign, dimLine, dimCreative, dimLoss}, 0},
	{"history", ofBid | ofNotice, []dim{dimAdvertiser, dimCampaign, dimLine, dimRecency, dimFrequency, dimCurrency}, 0},
	{"place", ofBid | ofNotice, []dim{dimExchange, dimAdvertiser, dimCampaign, dimLine, dimCountry, dimRegion, dimCurrency}, 0},
	{"device", ofBid | ofNotice, []dim{dimExchange, dimAdvertiser, dimCampaign, dimLine, dimDevice, dimOS, dimBrowser, dimCurrency}, 0},
	{"items", ofBid | ofNotice, []dim{dimAdvertiser, dimCampaign, dimLine, dimItem, dimCurrency}, 0},
	{"biddomain", ofBid | ofNotice, []dim{dimDomain, dimBundle}, 0},
	{"sites", ofBid | ofNotice, []dim{dimExchange, dimAdvertiser, dimCampaign, dimLine, dimDomain, dimBundle, dimCurrency}, 0},
}

// Grains in seconds.
const (
	paceGrain    = 300
	hourGrain    = 3600
	quarterGrain = 900
	dayGrain     = 86400
)

// measures returns the measures that the cube has.
func (c *cube) measures() (list []measure) {
	for m := range measures {
		if kindOf(m)&c.kinds != 0 {
			list = append(list, m)
		}
	}
	return list
}

// has reports whether the cube can answer a question by dimensions about a measure. A cube
// of several kinds is a worse source for one that another cube holds alone.
func (c *cube) has(need []dim, m measure) bool {
	if kindOf(m)&c.kinds == 0 {
		return false
	}
	for _, d := range need {
		if !slices.Contains(c.dims, d) {
			return false
		}
	}
	return true
}

// covers reports whether the sums of another cube can be summed up from those of c: it is
// about the same observations, with the same grain, and c has its dimensions.
func (c *cube) covers(other *cube) bool {
	if other.kinds != c.kinds || other.grain != c.grain {
		return false
	}
	for _, d := range other.dims {
		if !slices.Contains(c.dims, d) {
			return false
		}
	}
	return true
}

// applies reports whether observations with a measure have a dimension at all.
func applies(d dim, m measure) bool {
	return slices.ContainsFunc(cubes, func(c cube) bool { return c.has([]dim{d}, m) })
}

// observation is something countable: a request, a bid, a refusal, the outcome of a bid, or
// an order.
type observation struct {
	kind kind
	at   int64 // seconds since 1970
	dims [dims]uint32
	sum  [measures]int64
}
