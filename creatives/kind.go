package creatives

import (
	"slices"
	"strings"
	"time"

	"rebound/rtb"
)

// body is the part of a creative that depends on its type. Each type has one, in
// a file of its own.
type body interface {
	// compile checks the fields of the type, and sets the body and everything that
	// depends on it in out. It returns the markup that the advertiser wrote, for
	// the hash in the creative's id; nothing if the fields of the spec say what is
	// shown.
	compile(c *compiler, out *Creative) (markup string)
	// fits returns how a creative with this body is shown on an impression, or
	// why it cannot be. It does not allocate.
	fits(c *Creative, imp *rtb.Impression, dev *rtb.Device, x Exchange) (Fit, rtb.NoBidReason)
	// likeness returns a text that is equal for creatives of the same type for which fits
	// returns the same on every impression; empty if the creative is like no other.
	likeness(c *Creative) string
	// append appends the markup as the content of a JSON string, and returns its size
	// in bytes before escaping. It allocates only to grow dst.
	append(dst []byte, c *Creative, m *Markup) (out []byte, size int, err error)
}

// kind is one type of creative.
type kind struct {
	name   string // the value of type in the configuration
	format rtb.Formats
	fields string // that the type has besides those of every creative, separated by spaces
	make   func() body
}

const (
	clipFields = "title media tag_url duration skippable linearity protocols playback verification companion trackers"
	htmlFields = "size sizes html file"
)

// kinds are all types of creatives. A new type is a line here and a file with
// its body.
var kinds = []kind{
	{"image", rtb.FormatBanner, "size sizes image_url alt", func() body { return new(imageAd) }},
	{"html", rtb.FormatBanner, htmlFields, func() body { return new(htmlAd) }},
	{"html_template", rtb.FormatBanner, htmlFields, func() body { return &htmlAd{products: true} }},
	{"vast", rtb.FormatVideo, clipFields + " placements interactive", func() body { return new(clip) }},
	{"audio", rtb.FormatAudio, clipFields, func() body { return new(clip) }},
	{"native", rtb.FormatNative, "native trackers", func() body { return new(native) }},
}

func (k *kind) has(field string) bool { return slices.Contains(strings.Fields(k.fields), field) }

// kindsWith returns the kinds that meet a condition, by name.
func kindsWith(has func(*kind) bool) (names []string) {
	for i := range kinds {
		if has(&kinds[i]) {
			names = append(names, kinds[i].name)
		}
	}
	return names
}

// Exchange holds the properties of the exchange on which the fit of a creative depends.
type Exchange interface {
	// Protocols returns the AdCOM protocols of a video or audio object.
	Protocols(v *rtb.Video) []int
	// BillingSource returns the notice that bills impressions of a format.
	BillingSource(f rtb.Formats) rtb.BillingSource
	// Attrs returns the creative attributes that every bid declares.
	Attrs() []int
}

// Fit is how a creative is shown on an impression.
type Fit struct {
	Size     rtb.Size
	Flex     rtb.FlexSize // the ratio that the size has; zero if the impression lists the size
	Protocol int          // AdCOM protocol of a video or audio ad
	// AttributeBlocked is set if the impression blocks an attribute or the
	// banner type of the creative, if its block lists cannot be read, or if the
	// creative expands and the banner may not.
	AttributeBlocked bool
}

// Fits returns how the creative is shown on an impression, or why it cannot be,
// in the order of the reasons. It does not allocate.
func (c *Creative) Fits(imp *rtb.Impression, dev *rtb.Device, x Exchange) (Fit, rtb.NoBidReason) {
	if !imp.Formats.Has(c.Format) || c.FullScreen && !imp.Instl {
		return Fit{}, rtb.NoBidNoFormat
	}
	return c.body.fits(c, imp, dev, x)
}

// FitsProducts reports whether the creative can be shown on an impression with
// the chosen products: it returns [rtb.NoBidNone] or the reason.
func (c *Creative) FitsProducts(imp *rtb.Impression, products []*Product, now time.Time) rtb.NoBidReason {
	if n, ok := c.body.(*native); ok {
		return n.answersAll(&imp.Native, products, now)
	}
	return rtb.NoBidNone
}

// blocks reports whether a list blocks an attribute of the creative or of the
// exchange's bids.
func (c *Creative) blocks(blocked []int, x Exchange) bool {
	in := func(attr int) bool { return slices.Contains(blocked, attr) }
	return slices.ContainsFunc(c.Attrs, in) || slices.ContainsFunc(x.Attrs(), in)
}

// offersAPIs reports whether every API framework that the creative needs is
// listed. A framework that is not listed is not supported.
func (c *Creative) offersAPIs(listed []int) bool {
	return !slices.ContainsFunc(c.APIs, func(api int) bool { return !slices.Contains(listed, api) })
}

// listsAny reports whether a list of MIME types has one of the creative's types.
func (c *Creative) listsAny(mimes [][]byte) bool {
	return slices.ContainsFunc(c.Mimes, func(mime string) bool { return lists(mimes, mime) })
}

func lists(mimes [][]byte, mime string) bool {
	return slices.ContainsFunc(mimes, func(m []byte) bool { return rtb.EqualFold(m, mime) })
}
