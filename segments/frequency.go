package segments

import (
	"cmp"
	"slices"

	"rebound/rtb"
)

// Resolution of impression times, in seconds: five minutes for two hours, an hour for
// two days, a day for ninety days. A bucket becomes coarser only when all of the coarser
// one is old enough, so buckets never overlap.
const (
	fineSpan  = 300
	hourSpan  = 3600
	daySpan   = 86400
	fineLife  = 2 * hourSpan
	hourLife  = 2 * daySpan
	countLife = 90 * daySpan
)

// addImpression counts one impression of a scope. now is the time of the log. It returns
// the number of scopes that had to be dropped.
func addImpression(v *rtb.Visitor, scope rtb.ScopeID, at, now rtb.Second) (dropped int) {
	i, found := slices.BinarySearchFunc(v.Frequency, scope, func(f rtb.FrequencyState, s rtb.ScopeID) int { return cmp.Compare(f.Scope, s) })
	if !found {
		v.Frequency = slices.Insert(v.Frequency, i, rtb.FrequencyState{Scope: scope})
	}
	f := &v.Frequency[i]
	f.Last = max(f.Last, at)
	f.Buckets = append(f.Buckets, rtb.FrequencyBucket{Start: at - at%fineSpan, Span: fineSpan, Count: 1})
	f.Buckets = compactBuckets(f.Buckets, now)
	if len(v.Frequency) <= maxScopes {
		return 0
	}
	oldest := 0
	for i := range v.Frequency {
		if v.Frequency[i].Last < v.Frequency[oldest].Last {
			oldest = i
		}
	}
	v.Frequency = slices.Delete(v.Frequency, oldest, oldest+1)
	return 1
}

// compactBuckets makes old buckets coarser, merges equal ones and drops those that no
// cap covers. The newest come first.
func compactBuckets(buckets []rtb.FrequencyBucket, now rtb.Second) []rtb.FrequencyBucket {
	kept := buckets[:0]
	for _, b := range buckets {
		if b.Span < hourSpan && over(b.Start, hourSpan, fineLife, now) {
			b.Start, b.Span = b.Start-b.Start%hourSpan, hourSpan
		}
		if b.Span < daySpan && over(b.Start, daySpan, hourLife, now) {
			b.Start, b.Span = b.Start-b.Start%daySpan, daySpan
		}
		if !over(b.Start, b.Span, countLife, now) {
			kept = append(kept, b)
		}
	}
	slices.SortFunc(kept, func(a, b rtb.FrequencyBucket) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), cmp.Compare(a.Span, b.Span))
	})
	out := kept[:0]
	for _, b := range kept {
		if n := len(out); n > 0 && out[n-1].Start == b.Start && out[n-1].Span == b.Span {
			out[n-1].Count += b.Count
			continue
		}
		out = append(out, b)
	}
	return out[:min(len(out), maxBuckets)]
}

// over reports whether the bucket of length span that contains start ended at least life
// ago.
func over(start rtb.Second, span, life uint32, now rtb.Second) bool {
	end := uint64(start-start%rtb.Second(span)) + uint64(span)
	return end+uint64(life) <= uint64(now)
}
