package bidder

import (
	"math/bits"
	"time"

	"rebound/rtb"
)

// Kinds of the features that a token carries. They are part of what was learned: a
// number never changes its meaning. Numbers below 32 belong to pacing.
const (
	featureVisitor     = 32 + iota // recency and intensity
	featureLineRecency             // the same per line
	featureLineIntensity
	featureHour // of the day, UTC
	featureDevice
	featureSize // with the exchange
	featureInventory
	featurePosition
)

// showing fills d.showing with what the estimate of an option depends on.
func (d *Decision) showing(opt *option, c *candidate) *rtb.Showing {
	s, l := &d.shown, c.line
	*s = rtb.Showing{Exchange: d.profile.ID, Line: l.ID, Creative: opt.creative.ID, Format: opt.creative.Format.String(), Draw: d.out.Draw}
	line := rtb.HashText(l.ID.Advertiser)*31*31 + rtb.HashText(l.ID.Campaign)*31 + rtb.HashText(l.ID.Line)
	recency := recencyBucket(d.now.Sub(c.match.Last.Time()))
	intensity := uint64(bits.Len32(min(c.match.Count, 1<<10)))
	classes, systems := d.facts.Device()
	imp := &d.opportunity.Imps[opt.imp]
	place := uint64(imp.Banner.Pos + 1)
	if imp.Instl {
		place = 1 << 32
	}
	s.Features = rtb.Features{N: rtb.MaxFeatures, Hash: [rtb.MaxFeatures]uint32{
		rtb.HashFeature(featureVisitor, recency, intensity),
		rtb.HashFeature(featureLineRecency, line, recency),
		rtb.HashFeature(featureLineIntensity, line, intensity),
		rtb.HashFeature(featureHour, uint64(d.now.UTC().Hour()), 0),
		rtb.HashFeature(featureDevice, uint64(classes), uint64(systems)),
		rtb.HashFeature(featureSize, rtb.HashText(d.profile.ID), uint64(opt.Size.W)<<32|uint64(opt.Size.H)),
		rtb.HashFeature(featureInventory, d.facts.Inventory(), 0),
		rtb.HashFeature(featurePosition, place, uint64(opt.creative.Format)),
	}}
	return s
}

// recencyBuckets are the upper ends of the ranges of recency that share a feature.
var recencyBuckets = [...]time.Duration{
	5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	3 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour,
}

func recencyBucket(age time.Duration) uint64 {
	for i, end := range recencyBuckets {
		if age <= end {
			return uint64(i)
		}
	}
	return uint64(len(recencyBuckets))
}
