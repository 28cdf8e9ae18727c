package events

import (
	"encoding/json"
	"time"

	"rebound/rtb"
)

// BidRecord is one line of the bid log and the input of replay. Prices are CPM
// in major units of the bid's currency.
type BidRecord struct {
	V        int       `json:"v"` // 1
	BidID    rtb.BidID `json:"bid_id,omitzero"`
	TS       time.Time `json:"ts"` // arrival
	Exchange string    `json:"exchange"`
	Node     string    `json:"node,omitempty"`
	Build    string    `json:"build,omitempty"`
	Config   string    `json:"config,omitempty"`
	// Activation names the folder of data/configs that holds the files of the configuration
	// and the approvals that the decision was made with; empty: they were not stored.
	Activation   string        `json:"activation,omitempty"`
	Pos          RecordPos     `json:"pos,omitzero"`
	SampleWeight float64       `json:"sample_weight,omitempty"`
	Privacy      RecordPrivacy `json:"privacy,omitzero"`
	// Anonymous is set when only contextual lines could bid, because the visitor is
	// unknown or must not be known.
	Anonymous  bool  `json:"anonymous,omitempty"`
	DeadlineUS int64 `json:"deadline_us,omitempty"` // from arrival; absent if the request was refused before it was known
	TookUS     int64 `json:"took_us,omitempty"`
	// Inputs are what the decision depended on beyond the request, the configuration and
	// the visitor, in a compact form that only the bidder reads: replay --verify decides
	// with them again. Records of versions before it have none.
	Inputs   []byte          `json:"inputs,omitempty"`
	Request  json.RawMessage `json:"request"`
	Visitor  *rtb.Visitor    `json:"visitor,omitempty"`
	Decision *Decision       `json:"decision,omitempty"`
	// Market is the competition against which replay settles bids, by impression id.
	Market map[string]Market `json:"market,omitempty"`
}

// RecordPos holds the log positions of the folds when the decision was made.
type RecordPos struct {
	Segments uint64 `json:"segments"`
	Money    uint64 `json:"money"`
}

// RecordPrivacy is the result of the privacy check.
type RecordPrivacy struct {
	Level       rtb.Level `json:"level"`
	Signal      string    `json:"signal,omitempty"`
	ConsentHash string    `json:"consent_hash,omitempty"`
	// Refusal is why the level is below personalised.
	Refusal rtb.NoBidReason `json:"refusal,omitempty"`
	// PreciseGeo is set when exact coordinates could be used; the record's request
	// holds truncated ones.
	PreciseGeo bool `json:"precise_geo,omitempty"`
}

// Decision is the bidder's decision: bids, or one no-bid reason.
type Decision struct {
	NoBid rtb.NoBidReason `json:"nobid,omitempty"`
	Code  int             `json:"code,omitempty"` // OpenRTB's no-bid code, where the reason has several
	// Draw is the request's random draw in [0, 1); 0 when the request was refused before
	// its lines were considered.
	Draw float64       `json:"draw,omitempty"`
	Bids []DecisionBid `json:"bids,omitempty"`
	// Dropped lists the lines that were refused. The bid log counts lines that could
	// have bid, but were outbid by another bid, in Outbid instead of listing them.
	Dropped []DecisionDrop `json:"dropped,omitempty"`
	Outbid  int            `json:"outbid,omitempty"`
	// Skipped counts the candidate lines that were not evaluated, because they could not
	// have changed the bids. Requests with few candidate lines, and a sample of the others,
	// skip none.
	Skipped int `json:"skipped,omitempty"`
	// LostOptions and LostDrops count the ways to bid that were not considered and the
	// refused lines that are not listed, because the request exceeded the limits of a
	// decision.
	LostOptions int `json:"lost_options,omitempty"`
	LostDrops   int `json:"lost_drops,omitempty"`
}

// DecisionBid is one bid with the derivation of its price.
type DecisionBid struct {
	BidID      rtb.BidID  `json:"bid_id,omitzero"`
	ImpID      string     `json:"impid"`
	Advertiser string     `json:"advertiser,omitempty"`
	Campaign   string     `json:"campaign,omitempty"`
	Line       string     `json:"line"`
	Creative   string     `json:"creative"`
	Item       string     `json:"item,omitempty"`
	Deal       string     `json:"deal,omitempty"`
	Price      rtb.CPM    `json:"price"`
	Value      rtb.CPM    `json:"value"`
	Reserved   rtb.Micros `json:"reserved_micros"`
	Expected   rtb.Micros `json:"expected_micros,omitempty"` // predicted cost, in the advertiser's currency
	// RecencyS is how long ago the visitor last did what the line's audience asks for, in
	// seconds and at least 1; 0 if that is unknown or nothing was. Frequency is the number
	// of impressions of the line that the profile held. Both stay when the visitor is
	// erased, because they identify no one.
	RecencyS  int64   `json:"recency_s,omitempty"`
	Frequency int     `json:"frequency,omitempty"`
	Factors   Factors `json:"factors"`
	Draw      float64 `json:"draw"`
}

// Factors are the components of a price. Money factors are CPM in major units;
// the rest are plain numbers, 1 meaning no effect.
type Factors struct {
	CPM        rtb.CPM `json:"cpm"`
	Recency    float64 `json:"recency"`
	Intensity  float64 `json:"intensity"`
	Multiplier float64 `json:"multiplier"` // the pacing multiplier; the value is divided by it
	Shading    float64 `json:"shading"`
	// Estimate is what the value of a line with a goal rests on; zero for fixed lines.
	Estimate Estimate `json:"estimate,omitzero"`
	Adjust   float64  `json:"adjust,omitempty"` // the request's adjustment of the price
	Rate     float64  `json:"rate"`             // currency conversion
	Floor    rtb.CPM  `json:"floor,omitempty"`
	Chance   float64  `json:"chance,omitempty"`   // estimated chance that the bid wins
	Explored bool     `json:"explored,omitempty"` // the price was randomised, to learn
	Quote    rtb.CPM  `json:"quote,omitempty"`    // the price after pacing and shading, in the advertiser's currency
}

// Estimate is what an impression was expected to bring, and how sure that is.
type Estimate struct {
	Click      float64    `json:"click,omitempty"`         // probability of a click
	Conversion float64    `json:"conversion,omitempty"`    // probability of a conversion
	Deviation  float64    `json:"deviation,omitempty"`     // relative standard deviation of the value
	Draw       float64    `json:"draw,omitempty"`          // factor that the uncertainty put on the value
	Data       float64    `json:"data,omitempty"`          // share of the estimate that rests on data; the rest is the line's cpm
	Target     rtb.Micros `json:"target_micros,omitempty"` // of the line; with strategy roas in millionths
	Worth      rtb.Micros `json:"worth_micros,omitempty"`  // estimated worth of the click or conversion
	Multiplier float64    `json:"multiplier,omitempty"`    // least multiplier that keeps the cost of conversions within the target
}

// DecisionDrop is one line that did not bid, with the reason; without one it was
// outbid.
type DecisionDrop struct {
	ImpID      string          `json:"impid,omitempty"`
	Advertiser string          `json:"advertiser,omitempty"`
	Campaign   string          `json:"campaign,omitempty"`
	Line       string          `json:"line"`
	Reason     rtb.NoBidReason `json:"reason"`
}

// Market is the competition for one impression. A bid wins if its price is at
// least MinToWin, which includes the floor; second price pays that, first price
// pays the bid.
type Market struct {
	MinToWin  rtb.CPM `json:"min_to_win"`
	Clicked   bool    `json:"clicked,omitempty"`
	Converted bool    `json:"converted,omitempty"`
}
