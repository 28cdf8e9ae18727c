package creatives

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

func (k *clip) compile(c *compiler, out *Creative) string {
	s := c.spec
	k.audio = out.Format == rtb.FormatAudio
	k.skippable, k.linearity, k.placements, k.playback = s.Skippable > 0, max(s.Linearity, 1), s.Placements, s.Playback
	out.Duration = s.Duration
	if s.Duration < time.Second || s.Duration > 10*time.Minute || s.Duration%time.Second != 0 {
		c.Add("duration", durationText(s.Duration), "whole seconds, 1s to 10m")
	}
	if k.skippable {
		if s.Skippable >= s.Duration || s.Skippable%time.Second != 0 {
			c.Add("skippable", durationText(s.Skippable), "whole seconds, less than the duration")
		}
		if !slices.Contains(out.Attrs, attrSkippable) {
			out.Attrs = append(slices.Clone(out.Attrs), attrSkippable)
		}
	}
	if k.linearity > 2 || k.linearity == 2 && s.TagURL == "" {
		c.Add("linearity", "an overlay without a tag_url", "1, or 2 with a tag_url")
	}
	k.compileMedia(c, out)
	k.compileProtocols(c)
	k.compileScripts(c, out)
	c.trackers(out)
	k.documents(c, out)
	return ""
}

func durationText(d time.Duration) string {
	if d == 0 {
		return "nothing"
	}
	return spec.FormatDuration(d)
}

// compileMedia compiles the files, or checks that there is a tag instead.
func (k *clip) compileMedia(c *compiler, out *Creative) {
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
			c.Add("mimes", "nothing", "the types that the tag_url returns, such as [video/mp4]")
		}
		return
	}
	out.Mimes = nil
	for i := range s.Media {
		m := k.mediaFile(c, out, i)
		k.media = append(k.media, m)
		if !slices.Contains(out.Mimes, m.mime) {
			out.Mimes = append(out.Mimes, m.mime)
		}
	}
}

var mediaMimes = map[string]string{".mp4": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".3gp": "video/3gpp", ".mov": "video/quicktime",
	".m3u8": "application/x-mpegURL", ".mpd": "application/dash+xml", ".js": "application/javascript",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".ogg": "audio/ogg", ".wav": "audio/wav"}

// mediaFile compiles one file.
func (k *clip) mediaFile(c *compiler, out *Creative, i int) mediaFile {
	s, field := &c.spec.Media[i], spec.At("media", i)
	m := mediaFile{mime: mediaType(s.Mime), size: rtb.Size{W: s.W, H: s.H}, bitrate: s.Bitrate, streaming: s.Delivery == "streaming"}
	c.checkLink(field+".url", s.URL, out)
	if m.mime == "" {
		if u, err := url.Parse(s.URL); err == nil {
			m.mime = mediaMimes[strings.ToLower(path.Ext(u.Path))]
		}
	}
	audio, example := strings.HasPrefix(m.mime, "audio/"), "video/mp4"
	if k.audio {
		example = "audio/mpeg"
	}
	if m.mime == "" || audio != k.audio {
		c.Add(field+".mime", spec.Quote(m.mime), "a type of "+out.Format.String()+" such as "+example)
	}
	if !audio && (m.size.W < 1 || m.size.H < 1) || m.size.W < 0 || m.size.H < 0 {
		c.Add(field+".w", fmt.Sprintf("%dx%d", m.size.W, m.size.H), "the width and height of the video in pixels")
	}
	if m.bitrate < 0 {
		c.Add(field+".bitrate", itoa(m.bitrate), "kilobits per second, 0 or more")
	}
	delivery := "progressive"
	if s.Delivery != "" {
		delivery = s.Delivery
	}
	c.OneOf(field+".delivery", delivery, []string{"progressive", "streaming"})
	m.write(s.URL, delivery)
	return m
}

// write writes the file's element in VAST and in DAAST.
func (m *mediaFile) write(u, delivery string) {
	attrs := ` delivery="` + delivery + `" type="` + xmlText(m.mime) + `"`
	rate := ""
	if m.bitrate > 0 {
		rate = ` bitrate="` + itoa(m.bitrate) + `"`
	}
	if interactive(m.mime) {
		rate += ` apiFramework="VPAID"`
	}
	b := docBuilder{}
	b.fixed("MediaFile", attrs+` width="`+itoa(m.size.W)+`" height="`+itoa(m.size.H)+`"`+rate, u)
	m.element, b.lit = string(b.lit), nil
	b.fixed("MediaFile", attrs+rate, u)
	m.daast = string(b.lit)
}

// interactive reports whether a MIME type is a script, which VPAID runs.
func interactive(mime string) bool {
	return strings.HasSuffix(mime, "javascript") || mime == "application/x-shockwave-flash"
}

// compileProtocols sets the protocols of the spec, or all that the ad can be
// written in, the best first.
func (k *clip) compileProtocols(c *compiler) {
	s, all := c.spec, inlineProtocols
	if s.TagURL != "" {
		all = wrapperProtocols
	}
	var can []int
	for _, p := range all {
		if (!daast(p) || k.audio) && !c.beyond(p) {
			can = append(can, p)
		}
	}
	k.protocols = can
	if len(s.Protocols) == 0 {
		return
	}
	k.protocols = slices.DeleteFunc(slices.Clone(can), func(p int) bool { return !slices.Contains(s.Protocols, p) })
	for i, p := range s.Protocols {
		if !slices.Contains(can, p) {
			c.Add(spec.At("protocols", i), itoa(p), "one of "+joinInts(can))
		}
	}
}

// beyond reports whether the spec uses features that a protocol cannot express.
func (c *compiler) beyond(p int) bool {
	s := c.spec
	return s.Skippable > 0 && (p == vast2 || p == vast2Wrapper || daast(p)) ||
		s.Linearity == 2 && (p == vast2Wrapper || daast(p)) ||
		s.Interactive != "" && (p < vast41 || wrapper(p))
}

// compileScripts checks everything that runs code: VPAID, SIMID and Open
// Measurement.
func (k *clip) compileScripts(c *compiler, out *Creative) {
	s := c.spec
	vpaid := slices.Contains(out.APIs, apiVPAID1) || slices.Contains(out.APIs, apiVPAID2)
	for i := range k.media {
		if interactive(k.media[i].mime) && !vpaid {
			c.Add("api", "a script in media", "1 or 2 (VPAID) in api")
		}
	}
	simid := slices.Contains(out.APIs, apiSIMID1) || slices.Contains(out.APIs, apiSIMID2)
	if simid != (s.Interactive != "") {
		c.Add("interactive", spec.Quote(s.Interactive), "the URL of a SIMID document if api has 8 or 9, and only then")
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
	if s.Companion != nil {
		c.checkLink("companion.image_url", s.Companion.ImageURL, out)
		if _, ok := ParseSize(s.Companion.Size); !ok {
			c.Add("companion.size", spec.Quote(s.Companion.Size), "a size such as 300x250")
		}
	}
}
