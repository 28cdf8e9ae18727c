package bidder

import (
	crand "crypto/rand"
	"math/rand/v2"

	"rebound/exchange"
	"rebound/rtb"
)

// maxScratch is how many bytes of buffers a scratch may keep between requests;
// one that a large request blew up is left to the garbage collector.
const maxScratch = 512 << 10

// maxDecision is how many bytes of options and the like it may keep, too.
const maxDecision = 1 << 20

// Scratch is the memory of one request at a time. It is reused; what an [Answer]
// and the methods below give is valid until the next use.
type Scratch struct {
	decoder     exchange.Decoder
	opportunity rtb.Opportunity
	visitor     rtb.Visitor
	ids         []rtb.ExternalID // of the request, those that may be looked up
	permissions rtb.Permissions
	known       bool // the visitor was found
	outcome     Outcome
	input       Input
	offers      []rtb.Offer
	answer      []byte
	inflated    []byte
	source      *rand.ChaCha8
	retries     *retries // of the exchange; nil: none are kept
	code        int      // the wire's code of the no-bid, where its reason has several
	headerOnly  bool     // the impressions were not read
}

// NewScratch makes a scratch with a random source of its own.
func NewScratch() *Scratch {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return &Scratch{source: rand.NewChaCha8(seed)}
}

// Opportunity is the last request as it was read.
func (s *Scratch) Opportunity() *rtb.Opportunity { return &s.opportunity }

// Visitor is the last request's visitor; nil when there was none.
func (s *Scratch) Visitor() *rtb.Visitor {
	if !s.known {
		return nil
	}
	return &s.visitor
}

// Permissions is what privacy said of the last request.
func (s *Scratch) Permissions() rtb.Permissions { return s.permissions }

// Outcome is what was decided for the last request; nil when it did not come
// to a decision.
func (s *Scratch) Outcome() *Outcome {
	if s.headerOnly {
		return nil
	}
	return &s.outcome
}

// reset forgets the last request, so that nothing of it can be taken for the
// next one's.
func (s *Scratch) reset() {
	s.visitor.Reset()
	s.permissions, s.known, s.headerOnly, s.code = rtb.Permissions{}, false, true, 0
	s.outcome.reset()
	s.outcome.Reason = rtb.NoBidNone
	s.answer, s.inflated = s.answer[:0], s.inflated[:0]
}

// listedIDs are the request's identifiers without eids of sources that are not
// listed; those that are come in the order of the list.
func (s *Scratch) listedIDs(sources []string) []rtb.ExternalID {
	all := s.opportunity.IDs
	s.ids = s.ids[:0]
	for i := range all {
		if all[i].Kind != rtb.IDEID {
			s.ids = append(s.ids, all[i])
		}
	}
	if len(s.ids) == len(all) {
		return s.ids
	}
	for _, source := range sources {
		for i := range all {
			if all[i].Kind == rtb.IDEID && string(all[i].Scope) == source {
				s.ids = append(s.ids, all[i])
			}
		}
	}
	return s.ids
}

func (s *Scratch) oversized() bool {
	return cap(s.answer)+cap(s.inflated)+cap(s.outcome.work.text) > maxScratch || s.outcome.size()+held(s.offers) > maxDecision
}

func (b *Bidder) borrow() *Scratch {
	if s, ok := b.scratches.Get().(*Scratch); ok {
		return s
	}
	return NewScratch()
}

func (b *Bidder) giveBack(s *Scratch) {
	if !s.oversized() {
		b.scratches.Put(s)
	}
}
