package reports

import "math/bits"

// dim is a dimension whose value the rollups store.
type dim uint8

// The stored dimensions. The first ones are those of the impression, which the bid record
// has and a notice has not.
const (
	dimSize dim = iota
	dimDomain
	dimBundle
	dimCountry
	dimRegion
	dimDevice
	dimOS
	dimBrowser
	dimRecency
	dimFrequency
	slotDims // the number of dimensions of the impression
)

const (
	dimExchange dim = slotDims + iota
	dimAdvertiser
	dimCampaign
	dimLine
	dimCreative
	dimFormat
	dimDeal
	dimItem
	dimNoBid
	dimLoss
	dimCurrency
	dims // the number of stored dimensions
)

// dimNames are the names in queries, results and the database.
var dimNames = [dims]string{
	dimSize: "size", dimDomain: "domain", dimBundle: "bundle", dimCountry: "country", dimRegion: "region", dimDevice: "device", dimOS: "os",
	dimBrowser: "browser", dimRecency: "recency_bucket", dimFrequency: "frequency_bucket", dimExchange: "exchange", dimAdvertiser: "advertiser",
	dimCampaign: "campaign", dimLine: "line", dimCreative: "creative", dimFormat: "format", dimDeal: "deal", dimItem: "item",
	dimNoBid: "nobid_reason", dimLoss: "loss_reason", dimCurrency: "currency",
}

func dimNamed(name string) (dim, bool) {
	for d, n := range dimNames {
		if n == name {
			return dim(d), true
		}
	}
	return 0, false
}

// measure is a sum that the rollups store.
type measure uint8

// The stored measures. Those of one kind of observations follow each other.
const (
	mRecords measure = iota
	mRequests
	mMatched
	mAudience
	mEligible
	mAnswered
	mBids
	mBidCost
	mWins
	mBills
	mSpend
	mImps
	mViews
	mClicks
	mLosses
	mFlagged
	mOverpaid
	mRefusals
	mPaced
	mNoBudget
	mOrders
	mRevenue
	measures // the number of measures
)

var measureNames = [measures]string{
	mRecords: "records", mRequests: "requests", mMatched: "matched_users", mAudience: "in_audience", mEligible: "eligible", mAnswered: "answered",
	mBids: "bids", mBidCost: "bid_cost", mWins: "wins", mBills: "bills", mSpend: "spend", mImps: "imps", mViews: "viewable", mClicks: "clicks",
	mLosses: "losses", mFlagged: "flagged", mOverpaid: "overpaid", mRefusals: "refusals", mPaced: "paced", mNoBudget: "no_budget",
	mOrders: "orders", mRevenue: "revenue",
}

// unit is what a number of a result counts.
type unit string

// The units.
const (
	unitCount   unit = "count"
	unitWeight  unit = "estimate" // millionths; a sampled record counts with its weight
	unitMoney   unit = "micros"
	unitPercent unit = "percent"
	unitFactor  unit = "factor"
	unitText    unit = "text"
)

var measureUnits = func() (u [measures]unit) {
	for m := range u {
		u[m] = unitCount
	}
	for _, m := range []measure{mRequests, mMatched, mAudience, mEligible, mAnswered, mRefusals, mPaced, mNoBudget} {
		u[m] = unitWeight
	}
	for _, m := range []measure{mBidCost, mSpend, mOverpaid, mRevenue} {
		u[m] = unitMoney
	}
	return u
}()

// A ratio is a metric that is computed from two measures.
type ratio struct {
	name, text string
	num, den   measure
	factor     float64 // by which num/den is multiplied
	unit       unit
}

var ratios = []ratio{
	{"match_rate", "matched_users / requests", mMatched, mRequests, 100, unitPercent},
	{"bid_rate", "answered / requests", mAnswered, mRequests, 100, unitPercent},
	{"win_rate", "wins / bids", mWins, mBids, 100, unitPercent},
	{"view_rate", "viewable / imps", mViews, mImps, 100, unitPercent},
	{"ctr", "clicks / imps", mClicks, mImps, 100, unitPercent},
	{"ecpm", "spend / bills, for a thousand", mSpend, mBills, 1000, unitMoney},
	{"ecpc", "spend / clicks", mSpend, mClicks, 1, unitMoney},
	{"avg_bid", "average bid as CPM in the advertiser's currency", mBidCost, mBids, 1000, unitMoney},
	{"avg_clear", "average price paid as CPM; the same as ecpm", mSpend, mBills, 1000, unitMoney},
	{"bid_shade_gap", "overpaid / bills, for a thousand", mOverpaid, mBills, 1000, unitMoney},
	{"cpa", "spend / orders on the site", mSpend, mOrders, 1, unitMoney},
	{"roas", "revenue on the site / spend", mRevenue, mSpend, 1, unitFactor},
}

// kind is what an observation is about; a set of kinds is a bit mask.
type kind uint8

// The kinds of observations.
const (
	ofRequest kind = 1 << iota
	ofBid
	ofRefusal
	ofNotice
	ofOrder
)

// kinds is the number of kinds of observations.
const kinds = 5

// index returns the number of a single kind.
func (k kind) index() int { return bits.TrailingZeros8(uint8(k)) }

// kindMeasures are the measures of each kind, which follow each other: from first until end.
var kindMeasures = func() (list [kinds]struct{ first, end measure }) {
	for m := range measures {
		k := kindOf(m).index()
		if list[k].end == 0 {
			list[k].first = m
		}
		list[k].end = m + 1
	}
	return list
}()

// kindOf returns the observations that have a measure.
func kindOf(m measure) kind {
	switch m {
	case mRecords, mRequests, mMatched, mAudience, mEligible, mAnswered:
		return ofRequest
	case mBids, mBidCost:
		return ofBid
	case mRefusals, mPaced, mNoBudget:
		return ofRefusal
	case mOrders, mRevenue:
		return ofOrder
	}
	return ofNotice
}
