package tracking

import (
	"sync/atomic"
	"time"

	"rebound/exchange"
	"rebound/rtb"
)

// Slots of the loss counters: one for each standard code, one for the exchanges'
// own codes and one for all others.
const (
	lossCodes    = 216
	lossExchange = lossCodes
	lossOther    = lossCodes + 1
	lossSlots    = lossCodes + 2
)

// countLoss counts a recorded loss in every statistic of losses.
func (h *Handler) countLoss(c *rtb.Claims, l exchange.Loss, now time.Time) {
	slot := lossOther
	switch {
	case l.Code >= 0 && l.Code < lossCodes:
		slot = l.Code
	case l.Known:
		slot = lossExchange
	}
	h.losses[slot].Add(1)
	h.lossTable.add(c, l.String())
	h.watch(c, l, now)
}

// DelayBuckets are the upper bounds, in seconds, of the time from a bid to its notice.
// One more bucket counts slower ones.
var DelayBuckets = [...]float64{0.1, 0.5, 1, 5, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600}

// delays is the histogram of one kind of notice.
type delays struct {
	counts [len(DelayBuckets) + 1]atomic.Uint64
	nanos  atomic.Int64
}

func (d *delays) observe(took time.Duration) {
	i := 0
	for i < len(DelayBuckets) && took.Seconds() > DelayBuckets[i] {
		i++
	}
	d.counts[i].Add(1)
	d.nanos.Add(int64(max(took, 0)))
}

// Delays returns how long after their bids the notices of a kind were recorded: counts
// by [DelayBuckets], and the sum in seconds (conformance M22).
func (h *Handler) Delays(kind rtb.NoticeKind) (counts []uint64, sum float64) {
	if int(kind) >= kinds {
		return make([]uint64, len(DelayBuckets)+1), 0
	}
	d := &h.delays[kind]
	for i := range d.counts {
		counts = append(counts, d.counts[i].Load())
	}
	return counts, float64(d.nanos.Load()) / 1e9
}

// Count is the number of notices of one kind with one outcome.
type Count struct {
	Kind rtb.NoticeKind
	Code Code
	N    uint64
}

// Stats returns the counts of all kinds and outcomes since the process started, in
// a fixed order, zeros included.
func (h *Handler) Stats() []Count {
	list := make([]Count, 0, kinds*int(codes))
	for kind := 1; kind < kinds; kind++ {
		for code := range codes {
			list = append(list, Count{rtb.NoticeKind(kind), code, h.counts[kind][code].Load()})
		}
	}
	return list
}

// Losses returns the recorded loss notices by the name of their reason
// ([exchange.Loss]). Unknown reasons count as "other".
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
