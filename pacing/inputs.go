package pacing

import "rebound/rtb"

// model is one of the models that share the table of weights.
type model uint8

const (
	clickModel model = iota // a click of a billed impression
	viewModel               // a conversion that is credited to a billed impression
	buyModel                // a conversion that is credited to a click
	models
)

// modelNames are the names of the models in metrics.
var modelNames = [models]string{"click", "view", "buy"}

// Kinds of the features that follow from the ids of a bid. Those of the request begin at
// 32, see bidder.
const (
	kindBias = iota
	kindAdvertiser
	kindCampaign
	kindLine
	kindCreative
	kindExchange
	ownFeatures // number of these
)

// maxInputs is the largest number of features of one example.
const maxInputs = ownFeatures + rtb.MaxFeatures

// inputs are the hashed features of an example. The first is the bias.
type inputs struct {
	n    int
	hash [maxInputs]uint32
}

func (x *inputs) list() []uint32 { return x.hash[:x.n] }

// set fills x with the features of a showing.
func (x *inputs) set(s *rtb.Showing) {
	a := rtb.HashText(s.Line.Advertiser)
	c := a*31 + rtb.HashText(s.Line.Campaign)
	l := c*31 + rtb.HashText(s.Line.Line)
	x.n = 0
	x.add(rtb.HashFeature(kindBias, 0, 0))
	x.add(rtb.HashFeature(kindAdvertiser, a, 0))
	x.add(rtb.HashFeature(kindCampaign, c, 0))
	x.add(rtb.HashFeature(kindLine, l, 0))
	x.add(rtb.HashFeature(kindCreative, a, rtb.HashText(s.Creative)))
	x.add(rtb.HashFeature(kindExchange, rtb.HashText(s.Exchange), rtb.HashText(s.Format)))
	for _, h := range s.Features.Hash[:min(s.Features.N, rtb.MaxFeatures)] {
		x.add(h)
	}
}

func (x *inputs) add(h uint32) {
	x.hash[x.n] = h
	x.n++
}

// index returns the index of a feature's weight in a model.
func (m model) index(h uint32) uint32 {
	return (h + uint32(m)*0x85ebca6b) * 0x9e3779b1 >> (32 - valueBits)
}
