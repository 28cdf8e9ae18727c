package loadtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Recorded are bid requests from a file, in their order.
type Recorded struct {
	Bodies [][]byte
	// Offsets are the times of the requests after the first; nil unless every line is a
	// bid record with a time.
	Offsets []time.Duration
}

// ParseRecorded reads one request per line: a bare OpenRTB request, or a bid record
// whose request was kept. Records without a request are skipped. The ids in bid records
// are pseudonyms, so the bidder does not know these visitors.
func ParseRecorded(text []byte) (*Recorded, error) {
	out, first, timed := &Recorded{}, time.Time{}, true
	for raw := range bytes.Lines(text) {
		line := bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(raw), []byte("\ufeff")))
		if len(line) == 0 {
			continue
		}
		var record struct {
			TS      time.Time       `json:"ts"`
			BidID   string          `json:"bid_id"`
			Request json.RawMessage `json:"request"`
		}
		if json.Unmarshal(line, &record) != nil || record.TS.IsZero() {
			out.Bodies, timed = append(out.Bodies, bytes.Clone(line)), false
			continue
		}
		if len(record.Request) == 0 || record.Request[0] != '{' {
			continue
		}
		if len(out.Bodies) == 0 {
			first = record.TS
		}
		out.Bodies = append(out.Bodies, record.Request)
		at := max(record.TS.Sub(first), 0)
		if n := len(out.Offsets); n > 0 {
			at = max(at, out.Offsets[n-1]) // records of several cores are not quite in order
		}
		out.Offsets = append(out.Offsets, at)
	}
	if len(out.Bodies) == 0 {
		return nil, errors.New("cannot read requests: got no request; want one bid request or bid record per line")
	}
	if !timed {
		out.Offsets = nil
	}
	return out, nil
}

// AtSpeed returns the offsets at a multiple of the recorded speed.
func (r *Recorded) AtSpeed(speed float64) ([]time.Duration, error) {
	if r.Offsets == nil {
		return nil, errors.New("cannot use --speed: the requests have no times; want bid records")
	}
	if !(speed >= 0.001 && speed <= 10_000) {
		return nil, fmt.Errorf("cannot use --speed: got %g; want 0.001 to 10000", speed)
	}
	out := make([]time.Duration, len(r.Offsets))
	for i, d := range r.Offsets {
		out[i] = time.Duration(float64(d) / speed)
	}
	return out, nil
}
