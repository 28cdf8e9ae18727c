package tracking

import (
	"rebound/exchange"
	"rebound/rtb"
)

// Slots of the loss counters: a code of the standard each, one for the
// exchanges' own codes and one for everything else.
const (
	lossCodes    = 216
	lossExchange = lossCodes
	lossOther    = lossCodes + 1
	lossSlots    = lossCodes + 2
)

func (h *Handler) countLoss(l exchange.Loss) {
	slot := lossOther
	switch {
	case l.Code >= 0 && l.Code < lossCodes:
		slot = l.Code
	case l.Known:
		slot = lossExchange
	}
	h.losses[slot].Add(1)
}

// Count is how many notices of one kind had one outcome.
type Count struct {
	Kind rtb.NoticeKind
	Code Code
	N    uint64
}

// Stats are all outcomes since the process started, in a fixed order; those that
// never happened are there with 0.
func (h *Handler) Stats() []Count {
	list := make([]Count, 0, kinds*int(codes))
	for kind := 1; kind < kinds; kind++ {
		for code := range codes {
			list = append(list, Count{rtb.NoticeKind(kind), code, h.counts[kind][code].Load()})
		}
	}
	return list
}

// Losses are the recorded loss notices by the name of their reason
// ([exchange.Loss]): "other" holds what no list knows.
func (h *Handler) Losses() map[string]uint64 {
	m := map[string]uint64{}
	for slot := range h.losses {
		n := h.losses[slot].Load()
		if n == 0 {
			continue
		}
		name := "other"
		switch slot {
		case lossOther:
		case lossExchange:
			name = "exchange"
		default:
			name = exchange.Loss{Code: slot}.String()
		}
		m[name] += n
	}
	return m
}
