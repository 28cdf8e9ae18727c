package bidder

import (
	"hash/maphash"
	"sync"
	"time"

	"rebound/exchange"
	"rebound/rtb"
)

// Some senders ask again when an answer is slow to come. Within the profile's
// retry_window the same bytes get the same answer, with one reservation behind it
// (conformance V19). The table is bounded: a retry whose place was taken is
// decided anew, which costs a second reservation until it expires.
const (
	retrySlots  = 512
	retryAnswer = 16 << 10 // longer answers are not kept
)

// retries are the last answers of one exchange. The lock guards a look at one
// slot and a copy of an answer.
type retries struct {
	mu    sync.Mutex
	slots []retry
}

type retry struct {
	request uint64 // hash of the request's bytes
	at      time.Time
	answer  []byte
}

var retrySeed = maphash.MakeSeed()

// find is the answer that the same request got within the window. A nil table
// has none.
func (r *retries) find(in *Input, rq *Request) ([]byte, bool) {
	if r == nil || in.Opportunity.Test {
		return nil, false
	}
	h := maphash.Bytes(retrySeed, rq.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots == nil {
		return nil, false
	}
	x := &r.slots[h%retrySlots]
	age := in.Now.Sub(x.at)
	if x.request != h || len(x.answer) == 0 || age < -in.Exchange.RetryWindow || age > in.Exchange.RetryWindow {
		return nil, false
	}
	return append([]byte(nil), x.answer...), true
}

// keep remembers an answer with bids.
func (r *retries) keep(in *Input, rq *Request, answer []byte) {
	if r == nil || in.Opportunity.Test || len(answer) > retryAnswer {
		return
	}
	h := maphash.Bytes(retrySeed, rq.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots == nil {
		r.slots = make([]retry, retrySlots)
	}
	x := &r.slots[h%retrySlots]
	x.request, x.at, x.answer = h, in.Now, append(x.answer[:0], answer...)
}

// elapsed is the time since the request arrived.
func (in *Input) elapsed() time.Duration {
	if in.Clock == nil {
		return 0
	}
	return in.Clock().Sub(in.Now)
}

// feedback hands on what the request tells of earlier bids (conformance M16).
func (b *Bidder) feedback(p *exchange.Profile, s *Scratch, a *Answer) {
	if b.o.Feedback == nil || !p.BidFeedback || a.Reason == rtb.NoBidMalformed {
		return
	}
	if f := s.opportunity.BidFeedback; len(f) > 2 {
		b.o.Feedback(p.ID, f)
	}
}
