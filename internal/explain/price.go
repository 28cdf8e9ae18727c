package explain

import (
	"fmt"

	"rebound/bidder"
	"rebound/rtb"
)

// Price is the derivation of one price. Amounts are CPM: CPM, Value, Quote and MaxCPM in
// the advertiser's currency, Price and Floor in Currency.
type Price struct {
	Line       string          `json:"line"`
	ImpID      string          `json:"impid"`
	Deal       string          `json:"deal,omitempty"`
	Creative   string          `json:"creative"`
	Products   []string        `json:"products,omitempty"`
	CPM        rtb.CPM         `json:"cpm"`
	Estimate   *Estimate       `json:"estimate,omitempty"` // of a line with a goal; CPM is its value then
	Recency    float64         `json:"recency"`
	Intensity  float64         `json:"intensity"`
	Adjust     float64         `json:"adjust"`
	Value      rtb.CPM         `json:"value"`
	Multiplier float64         `json:"multiplier"`
	Shading    float64         `json:"shading"`
	Learned    bool            `json:"learned,omitempty"`  // the shading was learned
	Explored   bool            `json:"explored,omitempty"` // the price was randomised, to learn
	Chance     float64         `json:"chance"`
	Quote      rtb.CPM         `json:"quote"`
	MaxCPM     rtb.CPM         `json:"max_cpm"`
	Rate       float64         `json:"rate"`
	Currency   rtb.Currency    `json:"currency"`
	Price      rtb.CPM         `json:"price"`
	Floor      rtb.CPM         `json:"floor"`
	FirstPrice bool            `json:"first_price"`
	Reason     rtb.NoBidReason `json:"reason,omitempty"`

	id rtb.LineID
}

// Estimate is what an impression is expected to bring to a line with a goal.
type Estimate struct {
	Click      float64    `json:"click"`
	Conversion float64    `json:"conversion"`
	Worth      rtb.Micros `json:"worth_micros"` // of the click or conversion; 0 if no order is known
	Deviation  float64    `json:"deviation"`    // relative standard deviation of the value
	Draw       float64    `json:"draw"`         // factor that the uncertainty put on the value
	Data       float64    `json:"data"`         // share that rests on data; the rest is the line's cpm
	Multiplier float64    `json:"multiplier"`   // least multiplier that keeps the cost of conversions within the target

	goal rtb.GoalKind
}

func estimateOf(p *bidder.PriceTrace) *Estimate {
	if p.Line.Bid.Goal.Kind == rtb.GoalFixed {
		return nil
	}
	e := &p.Estimate
	return &Estimate{Click: e.Click, Conversion: e.Conversion, Worth: e.Worth, Deviation: e.Deviation, Draw: e.Draw, Data: e.Data,
		Multiplier: e.Multiplier, goal: p.Line.Bid.Goal.Kind}
}

// text describes the steps of the estimate.
func (e *Estimate) text() string {
	text := fmt.Sprintf("click rate %.3g", e.Click)
	if e.goal != rtb.GoalCPC {
		text = fmt.Sprintf("conversion rate %.3g (click rate %.3g)", e.Conversion, e.Click)
	}
	if e.Worth > 0 {
		text += fmt.Sprintf(" x worth %s", e.Worth)
	} else {
		text += ", worth unknown: the line's cpm"
	}
	return text + fmt.Sprintf(" x draw %.3g (deviation %.0f %%, %.0f %% from data)", e.Draw, 100*e.Deviation, 100*e.Data)
}

func priceOf(p *bidder.PriceTrace, imp string) Price {
	x := Price{Line: p.Line.ID.String(), ImpID: imp, Deal: p.Deal, Creative: p.Creative.ID, Products: p.Products, CPM: p.Line.Bid.CPM,
		Recency: p.Recency, Intensity: p.Intensity, Adjust: p.Adjust, Value: p.Value, Multiplier: p.Quote.Multiplier, Shading: p.Quote.Shading,
		Learned: p.Quote.Learned, Explored: p.Quote.Explored, Chance: p.Quote.Chance, Quote: p.Quote.Price, MaxCPM: p.MaxCPM, Rate: p.Rate,
		Currency: p.Currency, Price: p.Price, Floor: p.Floor, FirstPrice: p.FirstPrice, Reason: p.Reason, id: p.Line.ID}
	if x.Estimate = estimateOf(p); x.Estimate != nil {
		x.CPM = p.Estimate.Value
	}
	return x
}

// Text describes the steps of the price.
func (p *Price) Text() string {
	text := ""
	if p.Estimate != nil {
		text = p.Estimate.text() + " = "
	}
	text += fmt.Sprintf("cpm %s x recency %g x intensity %g", p.CPM, p.Recency, p.Intensity)
	if p.Adjust != 1 {
		text += fmt.Sprintf(" x adjust %g", p.Adjust)
	}
	text += fmt.Sprintf(" = value %s", p.Value)
	if p.Multiplier > 0 {
		text += fmt.Sprintf("; pacing %.4g, shading %.4g, rate %g, chance to win %.2g", p.Multiplier, p.Shading, p.Rate, p.Chance)
	}
	switch {
	case p.Explored:
		text += ", randomised to learn"
	case p.Learned:
		text += ", shading learned"
	}
	if p.MaxCPM > 0 && p.MaxCPM < rtb.MaxCPM {
		text += fmt.Sprintf("; max_cpm %s", p.MaxCPM)
	}
	return text
}
