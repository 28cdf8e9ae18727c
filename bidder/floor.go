package bidder

import (
	"time"

	"rebound/creatives"
	"rebound/rtb"
)

// floorOf is the floor of an impression for a creative, in the impression's
// currency: of films and sounds a floor for the duration or for each second, where
// there is one, else the impression's (OpenRTB 2.6 §3.2.7, §3.2.35; conformance
// P7). Where both are given the higher holds.
func floorOf(imp *rtb.Impression, c *creatives.Creative) rtb.CPM {
	if c.Clip == nil {
		return imp.Floor
	}
	v := videoOf(imp, c.Format)
	if floor, ok := clipFloor(v.DurFloors, v.MinCPMPerSec, c.Clip.Duration); ok {
		return floor
	}
	return imp.Floor
}

// clipFloor is the floor that a duration has of its own; ok tells whether it has
// one. Of several ranges that hold it the highest counts.
func clipFloor(floors []rtb.DurFloor, perSecond rtb.CPM, d time.Duration) (floor rtb.CPM, ok bool) {
	for _, f := range floors {
		if d >= f.Min && (f.Max <= 0 || d <= f.Max) {
			floor, ok = max(floor, f.Floor), true
		}
	}
	if seconds := rtb.CPM(d / time.Second); perSecond > 0 && seconds > 0 {
		floor, ok = max(floor, min(perSecond, rtb.MaxCPM/seconds)*seconds), true
	}
	return floor, ok
}
