package rtb

import "time"

// SegmentID identifies a kind of event that profiles remember: a hash of its
// canonical rule, independent of its position in a file.
type SegmentID uint64

// MaxRecent is how many recent events of a segment a profile keeps with their
// exact times. It is the largest min_count that a rule may require.
const MaxRecent = 16

// Second is a point in time in whole seconds since 1970 UTC, the resolution of
// profiles and rules.
type Second uint32

// SecondOf returns t in whole seconds since 1970 UTC; times before 1970 give 0.
func SecondOf(t time.Time) Second {
	s := t.Unix()
	if s < 0 {
		return 0
	}
	return Second(s)
}

// Time returns the start of the second, in UTC.
func (s Second) Time() time.Time { return time.Unix(int64(s), 0).UTC() }

// Visitor is a profile as a decision sees it: borrowed from the store until the
// handler returns, and part of the bid record. Times are those of the events.
type Visitor struct {
	Key      Key            `json:"key,omitzero"`
	Segments []SegmentState `json:"segments,omitempty"` // sorted by ID
	Products []ProductSeen  `json:"products,omitempty"` // the most recent first
	// Frequency counts impressions per scope, sorted by Scope.
	Frequency []FrequencyState `json:"frequency,omitempty"`
	OptedOut  bool             `json:"opted_out,omitempty"`
	// Match is the match method (AdCOM 1.0, List: ID Match Methods) of the
	// identifier that found the visitor, plus one; 0 if the request names none.
	Match int `json:"match,omitempty"`
	// Found is the index, plus one, of the identifier that found the visitor among those
	// that were looked up; 0 if the profile was read by its key.
	Found int `json:"-"`
	// Position is the sequence number of the last fact applied to this profile.
	Position uint64 `json:"pos,omitempty"`
}

// SegmentState is a profile's state for one kind of event.
type SegmentState struct {
	ID    SegmentID `json:"id,string"`
	First Second    `json:"first"`
	Last  Second    `json:"last"`
	Count uint32    `json:"count"`
	// Recent are the times of the most recent events, the newest first.
	Recent []Second `json:"recent,omitempty"`
	// Sums are the values of the events by day, the newest first. Only segments of
	// rules with min_value have them.
	Sums []DayValue `json:"sums,omitempty"`
}

// DayValue is the value of a segment's events of one UTC day, in the currency of the
// segment's rule.
type DayValue struct {
	Day   uint32 `json:"day"` // since 1970
	Value Micros `json:"value_micros"`
}

// UTCDay returns the UTC day of s, counted from 1970.
func (s Second) UTCDay() uint32 { return uint32(s) / (24 * 60 * 60) }

// ValueSince returns the value of the segment's events since the beginning of the UTC day
// of a time.
func (s *SegmentState) ValueSince(from Second) Micros {
	sum := Micros(0)
	for i := range s.Sums {
		if s.Sums[i].Day < from.UTCDay() {
			break
		}
		sum += s.Sums[i].Value
	}
	return sum
}

// ProductKind is the strongest action that the visitor took on a product.
type ProductKind uint8

// The kinds of actions, from the weakest to the strongest.
const (
	ProductViewed ProductKind = iota + 1
	ProductWished
	ProductCarted
	ProductBought
)

// ProductSeen is one product that the visitor acted on.
type ProductSeen struct {
	Advertiser string      `json:"advertiser"`
	ID         string      `json:"id"` // trimmed and case-folded
	Last       Second      `json:"last"`
	Kind       ProductKind `json:"kind"`
}

// ScopeID identifies what a frequency cap counts: a hash of "line:<id>",
// "campaign:<id>", "advertiser:<id>" or "creative:<id>" ([ScopeOf]).
type ScopeID uint64

// ScopeOf returns the scope of an object, e.g. ScopeOf("line", "shop/autumn/cart").
func ScopeOf(kind, id string) ScopeID {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a, 64 bit
	h := uint64(offset)
	for i := range len(kind) {
		h = (h ^ uint64(kind[i])) * prime
	}
	h = (h ^ ':') * prime
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * prime
	}
	return ScopeID(h)
}

// FrequencyState holds the impressions of one visitor in one scope.
type FrequencyState struct {
	Scope   ScopeID           `json:"scope,string"`
	Last    Second            `json:"last"`    // the most recent impression
	Buckets []FrequencyBucket `json:"buckets"` // the newest first
}

// FrequencyBucket counts the impressions of [Start, Start+Span).
type FrequencyBucket struct {
	Start Second `json:"start"`
	Span  uint32 `json:"span"` // seconds
	Count uint32 `json:"count"`
}

// Segment returns the state of a segment, or nil if the visitor has none.
func (v *Visitor) Segment(id SegmentID) *SegmentState {
	lo, hi := 0, len(v.Segments)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if v.Segments[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(v.Segments) && v.Segments[lo].ID == id {
		return &v.Segments[lo]
	}
	return nil
}

// Scope returns the frequency state of a scope, or nil if there is none.
func (v *Visitor) Scope(id ScopeID) *FrequencyState {
	for i := range v.Frequency {
		if v.Frequency[i].Scope == id {
			return &v.Frequency[i]
		}
	}
	return nil
}

// Reset empties the visitor and keeps its memory.
func (v *Visitor) Reset() {
	v.Key = Key{}
	v.Segments = v.Segments[:0]
	v.Products = v.Products[:0]
	v.Frequency = v.Frequency[:0]
	v.OptedOut = false
	v.Match, v.Found = 0, 0
	v.Position = 0
}

// CopyFrom makes v a deep copy of o.
func (v *Visitor) CopyFrom(o *Visitor) {
	v.Key, v.OptedOut, v.Match, v.Found, v.Position = o.Key, o.OptedOut, o.Match, o.Found, o.Position
	v.Segments = v.Segments[:0]
	for i := range o.Segments {
		var recent []Second
		var sums []DayValue
		if n := len(v.Segments); n < cap(v.Segments) {
			recent, sums = v.Segments[:n+1][n].Recent[:0], v.Segments[:n+1][n].Sums[:0]
		}
		s := o.Segments[i]
		s.Recent, s.Sums = append(recent, s.Recent...), append(sums, s.Sums...)
		v.Segments = append(v.Segments, s)
	}
	v.Products = append(v.Products[:0], o.Products...)
	v.Frequency = v.Frequency[:0]
	for i := range o.Frequency {
		var buckets []FrequencyBucket
		if n := len(v.Frequency); n < cap(v.Frequency) {
			buckets = v.Frequency[:n+1][n].Buckets[:0]
		}
		f := o.Frequency[i]
		f.Buckets = append(buckets, f.Buckets...)
		v.Frequency = append(v.Frequency, f)
	}
}
