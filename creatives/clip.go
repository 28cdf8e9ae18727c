package creatives

import (
	"slices"
	"time"

	"rebound/rtb"
)

// clip is a video or audio ad: VAST or DAAST.
type clip struct {
	audio      bool
	skippable  bool        // it has a skip button of its own: attribute 16
	linearity  int         // 1 linear, 2 overlay
	protocols  []int       // that it can be written in, best first
	media      []mediaFile // empty: a wrapper
	placements []int       // AdCOM video placement subtypes; empty: all
	playback   []int       // AdCOM playback methods; empty: all

	title        text
	verification string // the AdVerifications element; empty: none
	apis         []int  // the API frameworks with Open Measurement
	docs         [lastProtocol + 1][]part
}

// mediaFile is one file of a video or audio ad.
type mediaFile struct {
	mime      string
	size      rtb.Size
	bitrate   int // kilobits per second; 0: unknown
	streaming bool

	element, daast string // the file's element in VAST and in DAAST
}

// object returns the impression's object that the ad answers.
func (k *clip) object(imp *rtb.Impression) *rtb.Video {
	if k.audio {
		return &imp.Audio
	}
	return &imp.Video
}

// Protocols (AdCOM 1.0, List: Creative Subtypes - Audio/Video).
const (
	vast2, vast3, vast2Wrapper, vast3Wrapper = 2, 3, 5, 6
	vast4, vast4Wrapper                      = 7, 8
	daast1, daast1Wrapper                    = 9, 10
	vast41, vast41Wrapper                    = 11, 12
	vast42, vast42Wrapper                    = 13, 14
	vast43, vast43Wrapper                    = 15, 16

	lastProtocol = vast43Wrapper
)

// protocolVersions are the version attributes by protocol.
var protocolVersions = [lastProtocol + 1]string{
	vast2: "2.0", vast3: "3.0", vast2Wrapper: "2.0", vast3Wrapper: "3.0", vast4: "4.0", vast4Wrapper: "4.0",
	daast1: "1.0", daast1Wrapper: "1.0", vast41: "4.1", vast41Wrapper: "4.1", vast42: "4.2", vast42Wrapper: "4.2",
	vast43: "4.3", vast43Wrapper: "4.3",
}

// Protocols that can be written, best first.
var (
	inlineProtocols  = []int{vast42, vast41, vast4, vast43, vast3, vast2, daast1}
	wrapperProtocols = []int{vast42Wrapper, vast41Wrapper, vast4Wrapper, vast43Wrapper, vast3Wrapper, vast2Wrapper, daast1Wrapper}
)

// Codes of AdCOM 1.0 that matter here.
const (
	// List: Creative Attributes
	attrExpands, attrExpandsOnHover = 3, 5 // the first and the last of the expandable attributes
	attrSkippable                   = 16

	// List: Expandable Directions; 6 makes the ad smaller
	dirLeft, dirFullScreen = 1, 5 // the first and the last of the directions that expand it

	apiVPAID1, apiVPAID2 = 1, 2 // List: API Frameworks
	apiOMID              = 7
	apiSIMID1, apiSIMID2 = 8, 9

	deliveryStreaming, deliveryProgressive, deliveryDownload = 1, 2, 3 // List: Delivery Methods
)

func wrapper(protocol int) bool { return slices.Contains(wrapperProtocols, protocol) }
func daast(protocol int) bool   { return protocol == daast1 || protocol == daast1Wrapper }

// fourth reports whether a protocol is VAST 4.0 or later.
func fourth(protocol int) bool { return protocol >= vast4 && !daast(protocol) }

// fits checks the requirements for video and audio ads (OpenRTB 2.6 §3.2.7, §3.2.8).
func (k *clip) fits(c *Creative, imp *rtb.Impression, _ *rtb.Device, x Exchange) (f Fit, r rtb.NoBidReason) {
	v, hasMedia := k.object(imp), false
	f.Size, hasMedia = k.fitsMedia(c, v)
	switch {
	case v.Linearity > 0 && v.Linearity != k.linearity, !k.fitsPlacement(v), !k.fitsPlayback(v):
		return f, rtb.NoBidNoFormat
	case !k.audio && !fitsPlayer(v, f.Size):
		return f, rtb.NoBidSize
	case !hasMedia:
		return f, rtb.NoBidMimes // without a list nothing is known to play (conformance VD1)
	}
	if f.Protocol = k.bestProtocol(x.Protocols(v)); f.Protocol == 0 {
		return f, rtb.NoBidProtocol
	}
	switch {
	case !fitsDuration(v, c.Duration):
		return f, rtb.NoBidDuration
	case !c.offersAPIs(v.API):
		return f, rtb.NoBidAPI
	}
	f.AttributeBlocked = v.ListsBad || k.skipRefused(v) || c.blocks(v.BAttr, x)
	return f, rtb.NoBidNone
}

// likeness is empty: clips differ in their media.
func (k *clip) likeness(*Creative) string { return "" }

// fitsMedia reports whether the ad has a file for an object, and returns the size
// of the first. For a wrapper, only the types of its media are known.
func (k *clip) fitsMedia(c *Creative, v *rtb.Video) (size rtb.Size, ok bool) {
	if len(k.media) == 0 {
		return rtb.Size{}, c.listsAny(v.Mimes)
	}
	for i := range k.media {
		if m := &k.media[i]; m.fits(v) {
			return m.size, true
		}
	}
	return rtb.Size{}, false
}

// fits reports whether a file may be offered: its type is listed, and its
// delivery and bitrate are allowed.
func (m *mediaFile) fits(v *rtb.Video) bool {
	return lists(v.Mimes, m.mime) && m.delivered(v.Delivery) &&
		(m.bitrate == 0 || m.bitrate >= v.MinBitrate && (v.MaxBitrate <= 0 || m.bitrate <= v.MaxBitrate))
}

func (m *mediaFile) delivered(methods []int) bool {
	if len(methods) == 0 {
		return true
	}
	if m.streaming {
		return slices.Contains(methods, deliveryStreaming)
	}
	return slices.Contains(methods, deliveryProgressive) || slices.Contains(methods, deliveryDownload)
}

// bestProtocol returns the best listed protocol that the ad can be written in; 0
// if there is none.
func (k *clip) bestProtocol(listed []int) int {
	for _, p := range k.protocols {
		if slices.Contains(listed, p) {
			return p
		}
	}
	return 0
}

// fitsDuration reports whether an ad has one of the exact durations, if the
// request has any, or else is within the limits, which maxextended extends; -1
// means no maximum (OpenRTB 2.6 §3.2.7). No ad is longer than its pod.
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

// fitsPlayer reports whether a video may be shown in the player: with bars if
// they are allowed, else only in the same aspect ratio, within 5 %. It may if the
// size of the player or the video is unknown.
func fitsPlayer(v *rtb.Video, s rtb.Size) bool {
	if v.BoxingAllowed != rtb.No || v.W <= 0 || v.H <= 0 || s.W <= 0 || s.H <= 0 {
		return true
	}
	a, b := v.W*s.H, s.W*v.H
	return 20*max(a, b) <= 21*min(a, b)
}

// placementOf returns the placement type of plcmt; if that is absent, it
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

// fitsPlacement reports whether the ad may be shown in the placement.
func (k *clip) fitsPlacement(v *rtb.Video) bool {
	return len(k.placements) == 0 || slices.Contains(k.placements, placementOf(v))
}

// fitsPlayback reports whether the ad may start as the player starts it: by the
// first listed method, which is the one that will be used.
func (k *clip) fitsPlayback(v *rtb.Video) bool {
	return len(k.playback) == 0 || len(v.PlaybackMethod) == 0 || slices.Contains(k.playback, v.PlaybackMethod[0])
}

// skipRefused reports whether an ad with a skip button of its own must not be
// shown: the publisher adds one, or whether it does cannot be read.
func (k *clip) skipRefused(v *rtb.Video) bool {
	return k.skippable && (v.Skip == rtb.Yes || v.Skip == rtb.Unreadable)
}

// APIsOn returns the API frameworks that the markup for an impression uses: those
// that the creative needs, and Open Measurement if the impression offers it.
func (c *Creative) APIsOn(imp *rtb.Impression) []int {
	if k, ok := c.body.(*clip); ok && k.verification != "" && slices.Contains(k.object(imp).API, apiOMID) {
		return k.apis
	}
	return c.APIs
}
