package creatives

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// slot is a place after a part of a document that is filled in for each bid.
type slot uint8

const (
	slotNone slot = iota
	slotImpression
	slotView
	slotError
	slotStart
	slotFirst
	slotMid
	slotThird
	slotComplete
	slotClick         // the landing page
	slotClickTracking // the click tracker
	slotMedia
	slotTitle
	slotBid
	slotVerification
)

// eventNames are the event names of /v1/vast/{ev} and of VAST.
var eventNames = [...]struct{ ours, theirs string }{
	slotStart: {"start", "start"}, slotFirst: {"q1", "firstQuartile"}, slotMid: {"mid", "midpoint"},
	slotThird: {"q3", "thirdQuartile"}, slotComplete: {"complete", "complete"},
}

// part is literal text of a document and the slot that follows it.
type part struct {
	lit  string
	slot slot
}

// docBuilder builds a document.
type docBuilder struct {
	parts []part
	lit   []byte
}

func (b *docBuilder) add(s ...string) {
	for _, t := range s {
		b.lit = append(b.lit, t...)
	}
}

func (b *docBuilder) open(s slot) {
	b.parts = append(b.parts, part{string(b.lit), s})
	b.lit = b.lit[:0]
}

// link adds an element with a URL that the bid fills in.
func (b *docBuilder) link(tag, attrs string, s slot) {
	b.add("<", tag, attrs, "><![CDATA[")
	b.open(s)
	b.add("]]></", tag, ">")
}

// fixed adds an element with a URL of the configuration.
func (b *docBuilder) fixed(tag, attrs, u string) {
	b.add("<", tag, attrs, "><![CDATA[")
	b.lit = appendCDATA(b.lit, u)
	b.add("]]></", tag, ">")
}

// documents writes the ad in each of its protocols.
func (k *clip) documents(c *compiler, out *Creative) {
	title := c.spec.Title
	if title == "" {
		title = c.spec.ID
	}
	report := func(got, want, hint string) { c.AddHint("title", got, want, hint) }
	k.title = compileText(title, itemWord, report)
	out.NeedsProduct = out.NeedsProduct || k.title.needsProduct()
	if v := c.spec.Verification; v != nil {
		k.verification = verification(v)
		k.apis = slices.Clone(out.APIs)
		if !slices.Contains(out.APIs, apiOMID) {
			k.apis = append(k.apis, apiOMID)
		}
	}
	for _, p := range k.protocols {
		b := docBuilder{}
		c.document(&b, k, p)
		b.open(slotNone)
		k.docs[p] = b.parts
		size := 0
		for i := range b.parts {
			size += len(b.parts[i].lit)
		}
		if size > out.MaxBytes {
			c.Add("max_adm", strconv.Itoa(size)+" bytes of VAST", "at most "+strconv.Itoa(out.MaxBytes))
			return
		}
	}
}

func (c *compiler) document(b *docBuilder, k *clip, p int) {
	root, ns, adType := "VAST", "", ""
	if daast(p) {
		root = "DAAST"
	}
	if fourth(p) {
		ns = ` xmlns="http://www.iab.com/VAST"`
	}
	if p >= vast41 && k.audio {
		adType = ` adType="audio"`
	}
	kind := "InLine"
	if wrapper(p) {
		kind = "Wrapper"
	}
	b.add(`<?xml version="1.0" encoding="UTF-8"?><`, root, ` version="`, protocolVersions[p], `"`, ns, `><Ad id="`, xmlText(c.spec.ID), `"`, adType, `><`, kind, `><AdSystem>Rebound</AdSystem>`)
	if fourth(p) {
		c.headOf4(b, p)
	} else {
		c.headOf3(b, p)
	}
	b.add("<Creatives>")
	c.main(b, k, p)
	c.companion(b)
	b.add("</Creatives>")
	switch {
	case fourth(p) && wrapper(p):
		b.fixed("VASTAdTagURI", "", c.spec.TagURL)
	case !fourth(p) && !daast(p):
		b.add("")
		b.open(slotVerification) // as an extension
	}
	b.add("</", kind, "></Ad></", root, ">")
}

// headOf3 writes the elements before the creatives in VAST 2 and 3 and in
// DAAST, which prescribe their order.
func (c *compiler) headOf3(b *docBuilder, p int) {
	switch {
	case p == daast1Wrapper:
		b.fixed("DAASTAdTagURI", "", c.spec.TagURL)
	case wrapper(p):
		b.fixed("VASTAdTagURI", "", c.spec.TagURL)
	default:
		b.add("<AdTitle>")
		b.open(slotTitle)
		b.add("</AdTitle>")
	}
	b.link("Error", "", slotError)
	c.impressions(b)
}

// headOf4 writes the elements before the creatives in VAST 4, which prescribes
// alphabetical order.
func (c *compiler) headOf4(b *docBuilder, p int) {
	b.link("Error", "", slotError)
	c.impressions(b)
	b.add("<ViewableImpression>")
	b.link("Viewable", "", slotView)
	b.add("</ViewableImpression>")
	if !wrapper(p) {
		if p >= vast41 {
			b.add("<AdServingId>")
			b.open(slotBid)
			b.add("</AdServingId>")
		}
		b.add("<AdTitle>")
		b.open(slotTitle)
		b.add("</AdTitle>")
	}
	if p >= vast41 {
		b.open(slotVerification)
	}
}

func (c *compiler) impressions(b *docBuilder) {
	b.link("Impression", ` id="rebound"`, slotImpression)
	for _, u := range c.spec.Trackers.Imp {
		b.fixed("Impression", "", u)
	}
}

// main writes the creative itself.
func (c *compiler) main(b *docBuilder, k *clip, p int) {
	s := c.spec
	adID := ""
	if !wrapper(p) {
		name := "AdID"
		if fourth(p) {
			name = "adId"
		}
		adID = " " + name + `="` + xmlText(s.ID) + `"`
	}
	b.add(`<Creative sequence="1"`, adID, `>`)
	if k.linearity == 2 {
		b.add("<NonLinearAds>")
		events(b)
		b.add("<NonLinear>")
		c.clickTracking(b, "NonLinearClickTracking")
		b.add("</NonLinear></NonLinearAds></Creative>")
		return
	}
	c.linear(b, p)
	if fourth(p) && !wrapper(p) {
		value := ""
		if p == vast4 {
			value = ` idValue="` + xmlText(s.ID) + `"`
		}
		b.add(`<UniversalAdId idRegistry="unknown"`, value, `>`, xmlText(s.ID), `</UniversalAdId>`)
	}
	b.add("</Creative>")
}

// linear writes an ad that takes over the player.
func (c *compiler) linear(b *docBuilder, p int) {
	s := c.spec
	b.add("<Linear")
	if s.Skippable > 0 && !daast(p) {
		b.add(` skipoffset="`, clock(s.Skippable), `"`)
	}
	b.add(">")
	switch {
	case wrapper(p):
		events(b)
		c.clicks(b, p)
	case fourth(p):
		events(b)
		b.add("<Duration>", clock(s.Duration), "</Duration>")
		c.files(b)
		c.clicks(b, p)
	default:
		b.add("<Duration>", clock(s.Duration), "</Duration>")
		events(b)
		c.clicks(b, p)
		c.files(b)
	}
	b.add("</Linear>")
}

func events(b *docBuilder) {
	b.add("<TrackingEvents>")
	for s := slotStart; s <= slotComplete; s++ {
		b.link("Tracking", ` event="`+eventNames[s].theirs+`"`, s)
	}
	b.add("</TrackingEvents>")
}

func (c *compiler) files(b *docBuilder) {
	b.add("<MediaFiles>")
	b.open(slotMedia)
	if c.spec.Interactive != "" {
		b.fixed("InteractiveCreativeFile", ` type="text/html" apiFramework="SIMID"`, c.spec.Interactive)
	}
	b.add("</MediaFiles>")
}

// clicks writes the click elements. A wrapper only tracks clicks and has no
// landing page.
func (c *compiler) clicks(b *docBuilder, p int) {
	tag := "VideoClicks"
	if daast(p) {
		tag = "AdInteractions"
	}
	b.add("<", tag, ">")
	if !wrapper(p) && !fourth(p) {
		b.link("ClickThrough", "", slotClick)
	}
	c.clickTracking(b, "ClickTracking")
	if !wrapper(p) && fourth(p) {
		b.link("ClickThrough", "", slotClick)
	}
	b.add("</", tag, ">")
}

func (c *compiler) clickTracking(b *docBuilder, tag string) {
	b.link(tag, "", slotClickTracking)
	for _, u := range c.spec.Trackers.Click {
		b.fixed(tag, "", u)
	}
}

func (c *compiler) companion(b *docBuilder) {
	k := c.spec.Companion
	if k == nil {
		return
	}
	size, _ := ParseSize(k.Size)
	b.add(`<Creative><CompanionAds><Companion width="`, itoa(size.W), `" height="`, itoa(size.H), `">`)
	b.fixed("StaticResource", ` creativeType="`+xmlText(imageMime(k.ImageURL))+`"`, k.ImageURL)
	b.link("CompanionClickThrough", "", slotClick)
	b.add("</Companion></CompanionAds></Creative>")
}

// clock returns a duration as VAST writes it.
func clock(d time.Duration) string {
	s := int(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

func xmlText(s string) string { return string(appendXML(nil, s)) }
func itoa(n int) string       { return strconv.Itoa(n) }
func joinInts(list []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}

// verification returns the element of an Open Measurement script.
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
