package creatives

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strconv"

	"rebound/rtb"
)

// maxCRIDName is the longest name in a crid: 64 bytes less a dash and 12 hex
// digits.
const maxCRIDName = 51

// cridVersion is the first input of a crid's hash. Exchanges approve creatives
// by crid, so a change of the inputs makes every creative unknown to them: it
// needs a new version and an entry in the changelog.
const cridVersion = "crid 1"

// crid returns the id, or the name that the spec sets instead, followed by a hash
// of everything that is shown or that decides where. size is one of the
// creative's sizes if it has several, else zero.
//
// The hash covers the version and then, for each field that is set, its name and its
// value, each with its length before it, in the order below. A field that is not set
// adds nothing, so a new field keeps the crids of the creatives that do not use it.
func crid(s *Spec, out *Creative, markup string, size rtb.Size) string {
	a := appearance{sha256.New()}
	a.text("version", cridVersion)
	a.text("id", s.ID)
	a.text("type", s.Type)
	for _, have := range out.Sizes {
		a.text("sizes", sizeText(have))
	}
	a.text("click_url", s.ClickURL)
	a.text("image_url", s.ImageURL)
	a.text("alt", s.Alt)
	a.text("markup", markup)
	if !slices.Equal(s.Fill, []string{"cart", "viewed"}) { // the default
		a.texts("fill", s.Fill)
	}
	a.numbers("attr", s.Attr)
	a.texts("cat", s.Cat)
	a.text("language", out.Language)
	a.numbers("api", s.API)
	if !out.Secure {
		a.text("secure", "false")
	}
	a.clip(s)
	a.native(s.Native)
	a.texts("trackers.imp", s.Trackers.Imp)
	a.texts("trackers.click", s.Trackers.Click)
	if size != (rtb.Size{}) {
		a.text("shown", sizeText(size))
	}
	name := s.CRID
	if name == "" {
		name = s.ID
	}
	name = name[:min(len(name), maxCRIDName)]
	return name + "-" + hex.EncodeToString(a.Sum(nil))[:12]
}

func sizeText(s rtb.Size) string { return strconv.Itoa(s.W) + "x" + strconv.Itoa(s.H) }

// appearance hashes the visible content of a creative.
type appearance struct{ hash.Hash }

// text adds a field, unless it is empty.
func (a appearance) text(name, value string) {
	if value == "" {
		return
	}
	for _, s := range [...]string{name, value} {
		a.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
}

func (a appearance) number(name string, n int) {
	if n != 0 {
		a.text(name, strconv.Itoa(n))
	}
}

func (a appearance) texts(name string, list []string) {
	for _, s := range list {
		a.text(name, s)
	}
}

func (a appearance) numbers(name string, list []int) {
	for _, n := range list {
		a.text(name, strconv.Itoa(n))
	}
}

// clip adds the fields of video and audio ads. Durations are in milliseconds.
func (a appearance) clip(s *Spec) {
	a.text("title", s.Title)
	for i := range s.Media {
		m := &s.Media[i]
		a.text("media.url", m.URL)
		a.text("media.mime", m.Mime)
		a.number("media.w", m.W)
		a.number("media.h", m.H)
		a.number("media.bitrate", m.Bitrate)
		if m.Delivery != "progressive" {
			a.text("media.delivery", m.Delivery)
		}
	}
	a.text("tag_url", s.TagURL)
	a.number("duration", int(s.Duration.Milliseconds()))
	a.number("skippable", int(s.Skippable.Milliseconds()))
	if s.Linearity > 1 {
		a.number("linearity", s.Linearity)
	}
	a.numbers("protocols", s.Protocols)
	a.numbers("placements", s.Placements)
	a.numbers("playback", s.Playback)
	a.text("interactive", s.Interactive)
	if v := s.Verification; v != nil {
		a.text("verification.vendor", v.Vendor)
		a.text("verification.url", v.URL)
		a.text("verification.parameters", v.Parameters)
	}
	if c := s.Companion; c != nil {
		a.text("companion.image_url", c.ImageURL)
		a.text("companion.size", c.Size)
	}
}

// native adds the assets of a native ad.
func (a appearance) native(n *NativeSpec) {
	if n == nil {
		return
	}
	for _, f := range [...]struct{ name, value string }{{"title", n.Title}, {"sponsored", n.Sponsored}, {"desc", n.Desc}, {"rating", n.Rating}, {"likes", n.Likes},
		{"downloads", n.Downloads}, {"price", n.Price}, {"saleprice", n.SalePrice}, {"phone", n.Phone}, {"address", n.Address}, {"desc2", n.Desc2},
		{"displayurl", n.DisplayURL}, {"ctatext", n.CTAText}, {"privacy_url", n.PrivacyURL}} {
		a.text("native."+f.name, f.value)
	}
	for i := range n.Images {
		m := &n.Images[i]
		a.text("native.images.url", m.URL)
		if m.Type != "main" {
			a.text("native.images.type", m.Type)
		}
		a.number("native.images.w", m.W)
		a.number("native.images.h", m.H)
		a.text("native.images.mime", m.Mime)
	}
}
