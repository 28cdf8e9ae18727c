package bidder

import (
	"hash/maphash"
	"sync"
	"time"
)

// Some senders repeat a request when the response is slow. Within the profile's
// retry_window the same bytes get the same response, backed by one reservation
// (conformance V19). The table is bounded: a repeated request whose slot was
// reused is decided again, at the cost of a second reservation until it expires.
const (
	retrySlots   = 512
	maxRetryBody = 16 << 10 // longer responses are not kept
)

// retries are the last responses of one exchange.
type retries struct {
	mu    sync.Mutex // held for one slot's comparison and copy
	slots []retry
}

type retry struct {
	request uint64 // hash of the request's body
	at      time.Time
	body    []byte // of the response
}

var retrySeed = maphash.MakeSeed()

// find returns a copy of the response that the same request got within the
// window. A nil table has none.
func (r *retries) find(d *Decision) ([]byte, bool) {
	if r == nil || d.opportunity.Test {
		return nil, false
	}
	h := maphash.Bytes(retrySeed, d.request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots == nil {
		return nil, false
	}
	x, window := &r.slots[h%retrySlots], d.profile.RetryWindow
	if age := d.now.Sub(x.at); x.request != h || len(x.body) == 0 || age < -window || age > window {
		return nil, false
	}
	return append([]byte(nil), x.body...), true
}

// keep stores a response with bids.
func (r *retries) keep(d *Decision, body []byte) {
	if r == nil || d.opportunity.Test || len(body) > maxRetryBody {
		return
	}
	h := maphash.Bytes(retrySeed, d.request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots == nil {
		r.slots = make([]retry, retrySlots)
	}
	x := &r.slots[h%retrySlots]
	x.request, x.at, x.body = h, d.now, append(x.body[:0], body...)
}
