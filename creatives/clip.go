package creatives

import (
	"slices"
	"strings"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Clip is the film or the sound of a creative of kind vast or audio.
type Clip struct {
	Duration   time.Duration // whole seconds
	Skippable  bool          // it brings a skip button of its own: attribute 16
	Linearity  int           // 1 linear, 2 overlay
	Protocols  []int         // AdCOM protocols that it can be written in, the best first
	Media      []Media       // empty: a wrapper
	Placements []int         // AdCOM video placement subtypes; empty: all
	Playback   []int         // AdCOM playback methods; empty: all
	Companion  bool

	title        text
	verification string // element; empty: none
	apis         []int  // with Open Measurement
	docs         [lastProtocol + 1][]part
}

// Media is one file of a film or a sound.
type Media struct {
	Mime      string
	W, H      int
	Bitrate   int // kilobits per second; 0 unknown
	Streaming bool

	element, daast string // the file's element in either language
}

// Protocols of AdCOM 1.0, List: Creative Subtypes - Audio/Video.
const (
	vast2, vast3, vast2Wrapper, vast3Wrapper = 2, 3, 5, 6
	vast4, vast4Wrapper                      = 7, 8
	daast1, daast1Wrapper                    = 9, 10
	vast41, vast41Wrapper                    = 11, 12
	vast42, vast42Wrapper                    = 13, 14
	vast43, vast43Wrapper                    = 15, 16

	lastProtocol = vast43Wrapper
)

// protocolVersions are the version attributes of the protocols that we write.
var protocolVersions = [lastProtocol + 1]string{
	vast2: "2.0", vast3: "3.0", vast2Wrapper: "2.0", vast3Wrapper: "3.0", vast4: "4.0", vast4Wrapper: "4.0",
	daast1: "1.0", daast1Wrapper: "1.0", vast41: "4.1", vast41Wrapper: "4.1", vast42: "4.2", vast42Wrapper: "4.2",
	vast43: "4.3", vast43Wrapper: "4.3",
}

// The protocols that are written, the best first.
var (
	inlineProtocols  = []int{vast42, vast41, vast4, vast43, vast3, vast2, daast1}
	wrapperProtocols = []int{vast42Wrapper, vast41Wrapper, vast4Wrapper, vast43Wrapper, vast3Wrapper, vast2Wrapper, daast1Wrapper}
)

// Codes of AdCOM 1.0 that have consequences here.
const (
	AttrSkippable = 16 // List: Creative Attributes

	apiVPAID1, apiVPAID2 = 1, 2 // List: API Frameworks
	apiOMID              = 7
	apiSIMID1, apiSIMID2 = 8, 9

	deliveryStreaming, deliveryProgressive, deliveryDownload = 1, 2, 3 // List: Delivery Methods
)

func wrapper(protocol int) bool { return slices.Contains(wrapperProtocols, protocol) }
func daast(protocol int) bool   { return protocol == daast1 || protocol == daast1Wrapper }

// fourth tells whether a protocol is VAST 4.0 or later.
func fourth(protocol int) bool { return protocol >= vast4 && !daast(protocol) }

// listed tells whether the file's type is among them.
func (m *Media) listed(mimes [][]byte) bool {
	return slices.ContainsFunc(mimes, func(s []byte) bool { return equalFold(s, m.Mime) })
}

// Fits tells whether a file may be offered to an impression: its type is listed,
// and its delivery and bitrate are within what is asked for.
func (m *Media) Fits(v *rtb.Video) bool {
	return m.listed(v.Mimes) && m.delivered(v.Delivery) &&
		(m.Bitrate == 0 || m.Bitrate >= v.MinBitrate && (v.MaxBitrate <= 0 || m.Bitrate <= v.MaxBitrate))
}

func (m *Media) delivered(methods []int) bool {
	if len(methods) == 0 {
		return true
	}
	if m.Streaming {
		return slices.Contains(methods, deliveryStreaming)
	}
	return slices.Contains(methods, deliveryProgressive) || slices.Contains(methods, deliveryDownload)
}

// FitsMedia tells whether the creative has a file for an impression, and which size
// the first one has. What a wrapper leads to is known by its types only.
func (c *Creative) FitsMedia(v *rtb.Video) (size rtb.Size, ok bool) {
	if len(c.Clip.Media) == 0 {
		ok = slices.ContainsFunc(c.Mimes, func(m string) bool {
			return slices.ContainsFunc(v.Mimes, func(s []byte) bool { return equalFold(s, m) })
		})
		return rtb.Size{}, ok
	}
	for i := range c.Clip.Media {
		if m := &c.Clip.Media[i]; m.Fits(v) {
			return rtb.Size{W: m.W, H: m.H}, true
		}
	}
	return rtb.Size{}, false
}

// Protocol is the best protocol that the creative can be written in and that is
// listed; 0 when there is none.
func (c *Creative) Protocol(listed []int) int {
	for _, p := range c.Clip.Protocols {
		if slices.Contains(listed, p) {
			return p
		}
	}
	return 0
}

// APIsOn are the API frameworks that the markup for an impression uses: what the
// creative needs, and measurement where the impression runs it.
func (c *Creative) APIsOn(v *rtb.Video) []int {
	if c.Clip.verification != "" && slices.Contains(v.API, apiOMID) {
		return c.Clip.apis
	}
	return c.APIs
}

func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

// clip compiles what kinds vast and audio have.
func (c *compiler) clip(out *Creative) {
	s := c.spec
	audio := out.Kind == KindAudio
	out.Format = rtb.FormatVideo
	if audio {
		out.Format = rtb.FormatAudio
	}
	k := &Clip{Duration: s.Duration, Skippable: s.Skippable > 0, Linearity: max(s.Linearity, 1), Placements: s.Placements, Playback: s.Playback, Companion: s.Companion != nil}
	out.Clip = k
	if s.Duration < time.Second || s.Duration > 10*time.Minute || s.Duration%time.Second != 0 {
		c.Add("duration", durationText(s.Duration), "whole seconds, 1s to 10m")
	}
	if k.Skippable {
		if s.Skippable >= s.Duration || s.Skippable%time.Second != 0 {
			c.Add("skippable", durationText(s.Skippable), "whole seconds, less than the duration")
		}
		if !slices.Contains(out.Attrs, AttrSkippable) {
			out.Attrs = append(slices.Clone(out.Attrs), AttrSkippable)
		}
	}
	if k.Linearity > 2 || k.Linearity == 2 && s.TagURL == "" {
		c.Add("linearity", "an overlay of our own", "1; 2 for a tag_url")
	}
	if audio && len(s.Placements) > 0 {
		c.Add("placements", "placements", "nothing: they belong to type vast")
	}
	c.media(out)
	c.protocols(out)
	c.scripts(out)
	c.documents(out)
}

func durationText(d time.Duration) string {
	if d == 0 {
		return "nothing"
	}
	return spec.FormatDuration(d)
}

// media compiles the files, or checks that there is a tag instead.
func (c *compiler) media(out *Creative) {
	s := c.spec
	if (len(s.Media) == 0) == (s.TagURL == "") {
		got := "both media and tag_url"
		if s.TagURL == "" {
			got = "neither media nor tag_url"
		}
		c.Add("media", got, "one of them")
	}
	if s.TagURL != "" {
		c.checkLink("tag_url", s.TagURL, out)
		if len(s.Mimes) == 0 {
			c.Add("mimes", "nothing", "what the tag_url answers with, such as [video/mp4]")
		}
		return
	}
	out.Mimes = nil
	for i := range s.Media {
		m := c.mediaFile(out, i)
		out.Clip.Media = append(out.Clip.Media, m)
		if !slices.Contains(out.Mimes, m.Mime) {
			out.Mimes = append(out.Mimes, m.Mime)
		}
	}
}

var mediaMimes = map[string]string{".mp4": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".3gp": "video/3gpp", ".mov": "video/quicktime",
	".m3u8": "application/x-mpegURL", ".mpd": "application/dash+xml", ".js": "application/javascript",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".ogg": "audio/ogg", ".wav": "audio/wav"}

// interactive tells whether a type is a program, which VPAID runs.
func interactive(mime string) bool {
	return strings.HasSuffix(mime, "javascript") || mime == "application/x-shockwave-flash"
}

// protocols are those of the spec, or all that the creative can be written in.
func (c *compiler) protocols(out *Creative) {
	s, all := c.spec, inlineProtocols
	if s.TagURL != "" {
		all = wrapperProtocols
	}
	var can []int
	for _, p := range all {
		if (!daast(p) || out.Kind == KindAudio) && !c.beyond(p) {
			can = append(can, p)
		}
	}
	out.Clip.Protocols = can
	if len(s.Protocols) == 0 {
		return
	}
	out.Clip.Protocols = nil
	for _, p := range can {
		if slices.Contains(s.Protocols, p) {
			out.Clip.Protocols = append(out.Clip.Protocols, p)
		}
	}
	for i, p := range s.Protocols {
		if !slices.Contains(can, p) {
			c.Add(spec.At("protocols", i), itoa(p), "one of "+joinInts(can))
		}
	}
}

// beyond tells whether a protocol cannot say what the spec wants said.
func (c *compiler) beyond(p int) bool {
	s := c.spec
	return s.Skippable > 0 && (p == vast2 || p == vast2Wrapper || daast(p)) ||
		s.Linearity == 2 && (p == vast2Wrapper || daast(p)) ||
		s.Interactive != "" && (p < vast41 || wrapper(p))
}

// scripts checks what runs code: VPAID, SIMID and Open Measurement.
func (c *compiler) scripts(out *Creative) {
	s := c.spec
	vpaid := slices.Contains(out.APIs, apiVPAID1) || slices.Contains(out.APIs, apiVPAID2)
	for i := range out.Clip.Media {
		if interactive(out.Clip.Media[i].Mime) && !vpaid {
			c.Add("api", "a script under media", "1 or 2 in api: VPAID runs it")
		}
	}
	simid := slices.Contains(out.APIs, apiSIMID1) || slices.Contains(out.APIs, apiSIMID2)
	if simid != (s.Interactive != "") {
		c.Add("interactive", spec.Quote(s.Interactive), "a SIMID document where api names 8 or 9, and only there")
	}
	if s.Interactive != "" {
		c.checkLink("interactive", s.Interactive, out)
	}
	if v := s.Verification; v != nil {
		if v.Vendor == "" {
			c.Add("verification.vendor", "nothing", "the vendor's name")
		}
		c.checkLink("verification.url", v.URL, out)
	}
	if k := s.Companion; k != nil {
		c.checkLink("companion.image_url", k.ImageURL, out)
		if _, ok := ParseSize(k.Size); !ok {
			c.Add("companion.size", spec.Quote(k.Size), "a size such as 300x250")
		}
	}
}
