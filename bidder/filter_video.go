package bidder

import (
	"slices"
	"time"

	"rebound/creatives"
	"rebound/rtb"
)

// videoOf returns the impression's object that a video or audio ad answers.
func videoOf(imp *rtb.Impression, f rtb.Formats) *rtb.Video {
	if f == rtb.FormatAudio {
		return &imp.Audio
	}
	return &imp.Video
}

// fitsVideo checks what video and audio ads must satisfy (OpenRTB 2.6 §3.2.7,
// §3.2.8), in the order of the reasons, and sets the option's size and protocol.
func (d *Decision) fitsVideo(imp *rtb.Impression, opt *option) rtb.NoBidReason {
	c := opt.creative
	v, k := videoOf(imp, c.Format), c.Clip
	size, hasMedia := c.FitsMedia(v)
	opt.size = size
	switch {
	case v.Linearity > 0 && v.Linearity != k.Linearity, !fitsPlacement(v, k), !fitsPlayback(v, k):
		return rtb.NoBidNoFormat
	case c.Format == rtb.FormatVideo && !fitsPlayer(v, size):
		return rtb.NoBidSize
	case !hasMedia:
		return rtb.NoBidMimes // without a list nothing is known to play (conformance VD1)
	}
	if opt.protocol = c.Protocol(d.profile.Protocols(v)); opt.protocol == 0 {
		return rtb.NoBidProtocol
	}
	switch {
	case !fitsDuration(v, k.Duration):
		return rtb.NoBidDuration
	case needsOtherAPI(c.APIs, v.API):
		return rtb.NoBidAPI
	}
	return rtb.NoBidNone
}

// fitsDuration reports whether an ad has one of the exact durations, where the
// request has any, or else lies within the limits, which maxextended extends; -1
// extends them without end (OpenRTB 2.6 §3.2.7). No ad is longer than its pod.
func fitsDuration(v *rtb.Video, d time.Duration) bool {
	if v.PodDur > 0 && d > v.PodDur {
		return false
	}
	if len(v.ReqDurations) > 0 {
		return slices.Contains(v.ReqDurations, d)
	}
	if d < v.MinDuration {
		return false
	}
	if v.MaxDuration <= 0 || d <= v.MaxDuration {
		return true
	}
	return v.HasMaxExtended && (v.MaxExtended < 0 || d <= v.MaxDuration+max(v.MaxExtended, 0))
}

// fitsPlayer reports whether a video may be shown in the player: with bars where
// they are allowed, else only in the same aspect ratio, within 5 %. Where the size
// of the player or the video is unknown, it may.
func fitsPlayer(v *rtb.Video, s rtb.Size) bool {
	if v.BoxingAllowed != rtb.No || v.W <= 0 || v.H <= 0 || s.W <= 0 || s.H <= 0 {
		return true
	}
	a, b := v.W*s.H, s.W*v.H
	return 20*max(a, b) <= 21*min(a, b)
}

// placementOf returns the placement type of plcmt; where that is absent, it
// translates the older placement field (OpenRTB 2.6 §3.2.7). 0 means unknown.
func placementOf(v *rtb.Video) int {
	if v.Plcmt > 0 {
		return v.Plcmt
	}
	const instream, interstitial, standalone = 1, 3, 4
	switch v.Placement {
	case 1:
		return instream
	case 2, 3, 4: // in a banner, in an article, in a feed
		return standalone
	case 5:
		return interstitial
	}
	return 0
}

// fitsPlacement reports whether a video may be shown in the placement.
func fitsPlacement(v *rtb.Video, k *creatives.Clip) bool {
	return len(k.Placements) == 0 || slices.Contains(k.Placements, placementOf(v))
}

// fitsPlayback reports whether a video may start as the player starts it: by the
// first listed method, which is the one that will be used.
func fitsPlayback(v *rtb.Video, k *creatives.Clip) bool {
	return len(k.Playback) == 0 || len(v.PlaybackMethod) == 0 || slices.Contains(k.Playback, v.PlaybackMethod[0])
}

// skipRefused reports whether a creative with a skip button of its own must not
// be shown: the publisher adds one, or whether it does cannot be read.
func skipRefused(v *rtb.Video, c *creatives.Creative) bool {
	return c.Clip.Skippable && (v.Skip == rtb.Yes || v.Skip == rtb.Unreadable)
}
