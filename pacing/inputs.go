package pacing

import "rebound/rtb"

// model is one of the models that share the table of weights.
type model uint8

const (
	clickModel model = iota // a click of a billed impression
	models
)

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

// inputs are the indexes of an example's weights. The first is the bias.
type inputs struct {
	n     int
	index [maxInputs]uint32
}

func (x *inputs) list() []uint32 { return x.index[:x.n] }

// set fills x with the features of a showing for a model.
func (x *inputs) set(m model, s *rtb.Showing) {
	a := rtb.HashText(s.Line.Advertiser)
	c := a*31 + rtb.HashText(s.Line.Campaign)
	l := c*31 + rtb.HashText(s.Line.Line)
	x.n = 0
	x.add(m, rtb.HashFeature(kindBias, 0, 0))
	x.add(m, rtb.HashFeature(kindAdvertiser, a, 0))
	x.add(m, rtb.HashFeature(kindCampaign, c, 0))
	x.add(m, rtb.HashFeature(kindLine, l, 0))
	x.add(m, rtb.HashFeature(kindCreative, a, rtb.HashText(s.Creative)))
	x.add(m, rtb.HashFeature(kindExchange, rtb.HashText(s.Exchange), rtb.HashText(s.Format)))
	for _, h := range s.Features.Hash[:min(s.Features.N, rtb.MaxFeatures)] {
		x.add(m, h)
	}
}

func (x *inputs) add(m model, h uint32) {
	h = (h + uint32(m)*0x85ebca6b) * 0x9e3779b1
	x.index[x.n] = h >> (32 - valueBits)
	x.n++
}
