package events

import (
	"encoding/json"
	"time"

	"rebound/rtb"
)

// BidRecord is one line of the bid log and the input of replay. Prices are CPM
// in major units of the bid's currency.
type BidRecord struct {
	V            int             `json:"v"` // 1
	BidID        rtb.BidID       `json:"bid_id,omitzero"`
	TS           time.Time       `json:"ts"` // arrival
	Exchange     string          `json:"exchange"`
	Node         string          `json:"node,omitempty"`
	Build        string          `json:"build,omitempty"`
	Config       string          `json:"config,omitempty"`
	Pos          RecordPos       `json:"pos,omitzero"`
	SampleWeight float64         `json:"sample_weight,omitempty"`
	Privacy      RecordPrivacy   `json:"privacy,omitzero"`
	DeadlineUS   int64           `json:"deadline_us,omitempty"` // from arrival
	TookUS       int64           `json:"took_us,omitempty"`
	Request      json.RawMessage `json:"request"`
	Visitor      *rtb.Visitor    `json:"visitor,omitempty"`
	Decision     *Decision       `json:"decision,omitempty"`
	// Market is the competition against which replay settles bids, by impression id.
	Market map[string]Market `json:"market,omitempty"`

	// memory holds the buffers that a record borrowed from a BidLog reuses.
	memory *recordMemory
}

// recordMemory holds the buffers of a borrowed record.
type recordMemory struct {
	request  []byte
	visitor  rtb.Visitor
	decision Decision
}

// SetRequest copies the request's body into the record.
func (r *BidRecord) SetRequest(body []byte) {
	m := r.own()
	m.request = append(m.request[:0], body...)
	r.Request = m.request
}

// SetVisitor copies the profile into the record; nil removes it.
func (r *BidRecord) SetVisitor(v *rtb.Visitor) {
	if v == nil {
		r.Visitor = nil
		return
	}
	m := r.own()
	m.visitor.CopyFrom(v)
	r.Visitor = &m.visitor
}

// Decide adds an empty decision to the record and returns it; its slices keep their
// capacity from one borrower to the next.
func (r *BidRecord) Decide() *Decision {
	m := r.own()
	m.decision = Decision{Bids: m.decision.Bids[:0], Dropped: m.decision.Dropped[:0]}
	r.Decision = &m.decision
	return r.Decision
}

// Reset empties the record but keeps its memory.
func (r *BidRecord) Reset() { *r = BidRecord{memory: r.memory} }

func (r *BidRecord) own() *recordMemory {
	if r.memory == nil {
		r.memory = new(recordMemory)
	}
	return r.memory
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
}

// Decision is the bidder's decision: bids, or one no-bid reason.
type Decision struct {
	NoBid   rtb.NoBidReason `json:"nobid,omitempty"`
	Bids    []DecisionBid   `json:"bids,omitempty"`
	Dropped []DecisionDrop  `json:"dropped,omitempty"`
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
	Factors    Factors    `json:"factors"`
	Draw       float64    `json:"draw"`
}

// Factors are the components of a price. Money factors are CPM in major units;
// the rest are plain numbers, 1 meaning no effect.
type Factors struct {
	CPM        rtb.CPM `json:"cpm"`
	Recency    float64 `json:"recency"`
	Intensity  float64 `json:"intensity"`
	Multiplier float64 `json:"multiplier"` // the pacing multiplier; the value is divided by it
	Shading    float64 `json:"shading"`
	Adjust     float64 `json:"adjust,omitempty"` // the request's adjustment of the price
	Rate       float64 `json:"rate"`             // currency conversion
	Floor      rtb.CPM `json:"floor,omitempty"`
}

// DecisionDrop is one line that did not bid, with the reason.
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
