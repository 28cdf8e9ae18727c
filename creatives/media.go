package creatives

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"rebound/internal/spec"
)

// mediaFile compiles one file.
func (c *compiler) mediaFile(out *Creative, i int) Media {
	s, field := &c.spec.Media[i], spec.At("media", i)
	m := Media{Mime: s.Mime, W: s.W, H: s.H, Bitrate: s.Bitrate, Streaming: s.Delivery == "streaming"}
	c.checkLink(field+".url", s.URL, out)
	if m.Mime == "" {
		if u, err := url.Parse(s.URL); err == nil {
			m.Mime = mediaMimes[strings.ToLower(path.Ext(u.Path))]
		}
	}
	sound := strings.HasPrefix(m.Mime, "audio/")
	if m.Mime == "" || sound != (out.Kind == KindAudio) {
		c.Add(field+".mime", spec.Quote(m.Mime), "a type of "+out.Format.String()+" such as "+map[bool]string{true: "audio/mpeg", false: "video/mp4"}[out.Kind == KindAudio])
	}
	if !sound && (m.W < 1 || m.H < 1) || m.W < 0 || m.H < 0 {
		c.Add(field+".w", fmt.Sprintf("%dx%d", m.W, m.H), "w and h of the film")
	}
	if m.Bitrate < 0 {
		c.Add(field+".bitrate", itoa(m.Bitrate), "kilobits per second")
	}
	delivery := "progressive"
	if s.Delivery != "" {
		delivery = s.Delivery
	}
	c.OneOf(field+".delivery", delivery, []string{"progressive", "streaming"})
	m.write(s.URL, delivery)
	return m
}

// write makes the file's element in either language.
func (m *Media) write(u, delivery string) {
	attrs := ` delivery="` + delivery + `" type="` + xmlText(m.Mime) + `"`
	rate := ""
	if m.Bitrate > 0 {
		rate = ` bitrate="` + itoa(m.Bitrate) + `"`
	}
	if interactive(m.Mime) {
		rate += ` apiFramework="VPAID"`
	}
	b := docBuilder{}
	b.fixed("MediaFile", attrs+` width="`+itoa(m.W)+`" height="`+itoa(m.H)+`"`+rate, u)
	m.element, b.lit = string(b.lit), nil
	b.fixed("MediaFile", attrs+rate, u)
	m.daast = string(b.lit)
}

// clock is a duration as VAST writes it.
func clock(d time.Duration) string {
	s := int(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

func xmlText(s string) string { return string(appendXML(nil, s)) }
func itoa(n int) string       { return strconv.Itoa(n) }
func joinInts(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}

// verification is the element of an Open Measurement script.
func verification(v *VerificationSpec) string {
	b := docBuilder{}
	b.add(`<AdVerifications><Verification vendor="`, xmlText(v.Vendor), `">`)
	b.fixed("JavaScriptResource", ` apiFramework="omid" browserOptional="true"`, v.URL)
	if v.Parameters != "" {
		b.fixed("VerificationParameters", "", v.Parameters)
	}
	b.add("</Verification></AdVerifications>")
	return string(b.lit)
}
