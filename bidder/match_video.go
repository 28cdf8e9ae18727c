package bidder

import (
	"slices"
	"time"

	"rebound/creatives"
	"rebound/rtb"
)

// videoOf is the object of the impression that a film or a sound answers.
func videoOf(imp *rtb.Impression, f rtb.Formats) *rtb.Video {
	if f == rtb.FormatAudio {
		return &imp.Audio
	}
	return &imp.Video
}

// fitVideo asks what films and sounds must satisfy (OpenRTB 2.6 §3.2.7, §3.2.8),
// in the order of the reasons.
func (opt *option) fitVideo(in *Input, imp *rtb.Impression) rtb.NoBidReason {
	c := opt.creative
	v, k := videoOf(imp, c.Format), c.Clip
	size, hasMedia := c.FitsMedia(v)
	opt.size = size
	switch {
	case v.Linearity > 0 && v.Linearity != k.Linearity, !placed(v, k), !played(v, k):
		return rtb.NoBidNoFormat
	case c.Format == rtb.FormatVideo && !fitsPlayer(v, size):
		return rtb.NoBidSize
	case !hasMedia:
		return rtb.NoBidMimes // no list is nothing that plays (conformance VD1)
	}
	if opt.protocol = c.Protocol(in.Exchange.Protocols(v)); opt.protocol == 0 {
		return rtb.NoBidProtocol
	}
	switch {
	case !fitsDuration(v, k.Duration):
		return rtb.NoBidDuration
	case !offersAPIs(v.API, c.APIs):
		return rtb.NoBidAPI
	}
	return rtb.NoBidNone
}

// fitsDuration asks for the exact durations where there are any, else for the
// limits; maxextended lets a longer ad pass, at -1 any (OpenRTB 2.6 §3.2.7). No
// ad is longer than its pod.
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

// fitsPlayer tells whether a film may be shown in the player: with bars around
// it where they are allowed, else only in the same shape, within a twentieth. A
// player or a film whose size is not known takes any.
func fitsPlayer(v *rtb.Video, s rtb.Size) bool {
	if v.BoxingAllowed != rtb.No || v.W <= 0 || v.H <= 0 || s.W <= 0 || s.H <= 0 {
		return true
	}
	a, b := v.W*s.H, s.W*v.H
	return 20*max(a, b) <= 21*min(a, b)
}

// placement is the kind of placement by AdCOM's newer list; the older field is
// read only where the newer is absent; 0 unknown (OpenRTB 2.6 §3.2.7).
func placement(v *rtb.Video) int {
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

func placed(v *rtb.Video, k *creatives.Clip) bool {
	return len(k.Placements) == 0 || slices.Contains(k.Placements, placement(v))
}

// played asks how the film begins: the first listed method is the one that will
// be used.
func played(v *rtb.Video, k *creatives.Clip) bool {
	return len(k.Playback) == 0 || len(v.PlaybackMethod) == 0 || slices.Contains(k.Playback, v.PlaybackMethod[0])
}

// skipRefused tells whether a creative's own skip button is one too many: the
// publisher brings one, or nobody can read whether he does.
func skipRefused(v *rtb.Video, c *creatives.Creative) bool {
	return c.Clip.Skippable && (v.Skip == rtb.Yes || v.Skip == rtb.Unreadable)
}
