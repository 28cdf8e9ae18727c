package pacing

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// sourceKey identifies the notices of one exchange about bids of one format.
type sourceKey struct{ exchange, format string }

func (k sourceKey) String() string { return k.exchange + "/" + k.format }

var errSource = errors.New("want exchange/format")

func parseSource(name string) (k sourceKey, ok bool) {
	k.exchange, k.format, ok = strings.Cut(name, "/")
	return k, ok
}

// The delay of notices is the log time from a bid to the first notice that proves its win:
// a win notice or a bill. It is counted in buckets whose bounds grow by delayStep.
const (
	delayBuckets = 80
	delayStep    = 1.189207115 // the fourth root of two: the last bucket begins after 10 days
	// enoughDelays is the number of notices after which their usual delay is known.
	enoughDelays = 50
	// recentDelays is the number of notices above which older ones count half.
	recentDelays = 5000
	// usualDelay is the share of the notices that come within their usual delay.
	usualDelay = 0.9
)

// noticeDelays counts the delays of one source. It is part of the fold.
type noticeDelays struct {
	Counts [delayBuckets]uint32 `json:"counts"`
	N      uint32               `json:"n"`

	dirty bool
}

// delayBounds are the upper bounds of the buckets in seconds.
var delayBounds = func() (bounds [delayBuckets]rtb.Second) {
	for i := range bounds {
		bounds[i] = rtb.Second(math.Ceil(math.Pow(delayStep, float64(i))))
	}
	return bounds
}()

func (d *noticeDelays) count(delay time.Duration) {
	i := 0
	for i < delayBuckets-1 && delay > time.Duration(delayBounds[i])*time.Second {
		i++
	}
	d.Counts[i]++
	if d.N++; d.N < recentDelays {
		return
	}
	d.N = 0
	for i := range d.Counts {
		d.Counts[i] /= 2
		d.N += d.Counts[i]
	}
}

// usual returns the time within which usualDelay of the notices come, in seconds; 0 if too
// few are known.
func (d *noticeDelays) usual() rtb.Second {
	if d.N < enoughDelays {
		return 0
	}
	later := float64(d.N) * (1 - usualDelay)
	sum := 0.0
	for i := delayBuckets - 1; i >= 0; i-- {
		if sum += float64(d.Counts[i]); sum > later {
			return delayBounds[i]
		}
	}
	return delayBounds[0]
}

// measure counts the delay of a notice that proves a win, if it is the first of its bid.
// p.mu is held.
func (p *Pacer) measure(n *events.Notice, rec *notice) {
	if !rec.won.IsZero() || !rec.charged.IsZero() || n.Exchange == "" || n.Issued.IsZero() {
		return
	}
	key := sourceKey{n.Exchange, n.Format}
	d := p.delays[key]
	if d == nil {
		d = &noticeDelays{}
		p.delays[key] = d
	}
	d.count(p.now.Sub(n.Issued))
	if !d.dirty {
		d.dirty = true
		p.changed.delays = append(p.changed.delays, key)
	}
}

// commitDelays writes the delays that changed.
func (p *Pacer) commitDelays(b *view.Batch) error {
	for _, key := range p.changed.delays {
		d := p.delays[key]
		d.dirty = false
		if err := setJSON(b, nameKey(keyNotices, key.String()), d); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pacer) loadDelays(k, v []byte) error {
	key, ok := parseSource(string(k))
	d := &noticeDelays{}
	if !ok {
		return unreadable("delays of notices", k, errSource)
	}
	if err := json.Unmarshal(v, d); err != nil {
		return unreadable("delays of notices", k, err)
	}
	p.delays[key] = d
	return nil
}
