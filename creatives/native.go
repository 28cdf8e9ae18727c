package creatives

import (
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// native holds the assets of a native ad (Native Ads 1.2).
type native struct {
	title      text
	images     []nativeImage
	data       [dataTypes]text // by data type
	privacyURL string
	imp, click []string // third-party trackers
}

type nativeImage struct {
	kind int
	url  text
	size rtb.Size // the usual one if any is possible
	any  bool
	mime string
}

// Types of images and data (Native Ads 1.2 §7.3, §7.4).
const (
	imageIcon = 1
	imageLogo = 2
	imageMain = 3

	dataDesc, dataDesc2 = 2, 10
	dataTypes           = 13
)

var imageNames = []string{"", "icon", "logo", "main"}

func (n *native) compile(c *compiler, out *Creative) string {
	s := c.spec.Native
	if s == nil || s.Title == "" {
		c.Add("native", "no title", "at least a title")
		return ""
	}
	if len(out.Mimes) == 0 {
		out.Mimes = []string{"text/html"}
	}
	n.privacyURL, n.imp, n.click = s.PrivacyURL, c.spec.Trackers.Imp, c.spec.Trackers.Click
	word := func(field, value string) text {
		t := compileText(value, itemWord, func(got, want, hint string) { c.AddHint("native."+field, got, want, hint) })
		out.NeedsProduct = out.NeedsProduct || t.needsProduct()
		return t
	}
	n.title = word("title", s.Title)
	for i, f := range []struct{ name, value string }{{}, {"sponsored", s.Sponsored}, {"desc", s.Desc}, {"rating", s.Rating}, {"likes", s.Likes},
		{"downloads", s.Downloads}, {"price", s.Price}, {"saleprice", s.SalePrice}, {"phone", s.Phone}, {"address", s.Address},
		{"desc2", s.Desc2}, {"displayurl", s.DisplayURL}, {"ctatext", s.CTAText}} {
		n.data[i] = word(f.name, f.value)
	}
	for i := range s.Images {
		n.images = append(n.images, c.nativeImage(out, i))
	}
	if s.PrivacyURL != "" {
		c.checkLink("native.privacy_url", s.PrivacyURL, out)
	}
	c.trackers(out)
	return ""
}

func (c *compiler) nativeImage(out *Creative, i int) nativeImage {
	s, field := &c.spec.Native.Images[i], spec.At("native.images", i)
	img := nativeImage{kind: imageMain, size: rtb.Size{W: s.W, H: s.H}, mime: mediaType(s.Mime)}
	if s.Type != "" {
		img.kind = 1 + c.OneOf(field+".type", s.Type, imageNames[1:])
	}
	img.url = compileText(s.URL, imagePart, func(got, want, hint string) { c.AddHint(field+".url", got, want, hint) })
	img.any = img.url.uses(macroWidth) && img.url.uses(macroHeight)
	out.NeedsProduct = out.NeedsProduct || img.url.needsProduct()
	if img.mime == "" {
		img.mime = imageMime(s.URL)
	}
	if s.W < 1 || s.H < 1 || s.W > 9999 || s.H > 9999 {
		c.Add(field+".w", itoa(s.W)+"x"+itoa(s.H), "the width and height of the image in pixels, 1 to 9999")
	}
	c.checkLink(field+".url", img.url.sample(), out)
	return img
}

// image returns the image for an asset and the size in which it is shown, or
// the reason for which there is none.
func (n *native) image(a *rtb.NativeAsset) (img *nativeImage, size rtb.Size, r rtb.NoBidReason) {
	r = rtb.NoBidNoFormat
	for i := range n.images {
		img = &n.images[i]
		if !img.serves(a.Type) {
			continue
		}
		size, ok := img.fits(a)
		switch {
		case !ok:
			r = max(r, rtb.NoBidSize)
		case !listedImage(a.Mimes, img.mime):
			r = max(r, rtb.NoBidMimes)
		default:
			return img, size, rtb.NoBidNone
		}
	}
	return nil, rtb.Size{}, r
}

// serves reports whether an image may be used for a requested type. No type
// means main, and an icon may be used as a logo.
func (img *nativeImage) serves(kind int) bool {
	switch kind {
	case 0:
		return img.kind == imageMain
	case imageLogo:
		return img.kind == imageLogo || img.kind == imageIcon
	}
	return img.kind == kind
}

// listedImage reports whether the MIME types of an asset include an image's; an
// empty list includes all.
func listedImage(mimes [][]byte, mime string) bool {
	return len(mimes) == 0 || lists(mimes, mime)
}

// fits returns the size in which an image is shown. A width without a least
// width is exact, and so is a height (Native Ads 1.2 §4.4).
func (img *nativeImage) fits(a *rtb.NativeAsset) (rtb.Size, bool) {
	w, okW := img.side(img.size.W, a.W, a.WMin)
	h, okH := img.side(img.size.H, a.H, a.HMin)
	return rtb.Size{W: w, H: h}, okW && okH
}

// maxSide is the largest side of an image of any size.
const maxSide = 4096

func (img *nativeImage) side(have, want, least int) (int, bool) {
	if !img.any {
		return have, have >= least && (want <= 0 || least > 0 || want == have)
	}
	if want > 0 {
		have = want
	}
	return max(have, least), max(have, least) <= maxSide
}

// fits checks everything about a native ad that does not depend on its product: the
// request must be readable, and if our pixel bills it must be one that the
// placement calls (Native Ads 1.2 §4.7).
func (n *native) fits(c *Creative, imp *rtb.Impression, _ *rtb.Device, x Exchange) (f Fit, r rtb.NoBidReason) {
	slot := &imp.Native
	switch {
	case slot.Bad, len(slot.Assets) == 0, x.BillingSource(rtb.FormatNative) == rtb.BillOnImp && !tracksImp(slot):
		return f, rtb.NoBidNoFormat
	case !c.offersAPIs(slot.API):
		return f, rtb.NoBidAPI
	}
	f.AttributeBlocked = c.blocks(slot.BAttr, x)
	return f, rtb.NoBidNone
}

// likeness is empty: native ads differ in their assets.
func (n *native) likeness(*Creative) string { return "" }

// answersAll reports whether there is an answer to every asset that a native
// request requires, and to at least one asset: [rtb.NoBidNone], or why not. An
// asset that is unknown or unreadable has no answer.
func (n *native) answersAll(slot *rtb.Native, products []*Product, now time.Time) rtb.NoBidReason {
	some := false
	for i := range slot.Assets {
		a := &slot.Assets[i]
		r := n.answers(a, products, now)
		if r != rtb.NoBidNone && a.Required {
			return r
		}
		some = some || r == rtb.NoBidNone
	}
	if !some {
		return rtb.NoBidNoFormat
	}
	return rtb.NoBidNone
}

func (n *native) answers(a *rtb.NativeAsset, products []*Product, now time.Time) rtb.NoBidReason {
	if a.Bad {
		return rtb.NoBidNoFormat
	}
	switch a.Kind {
	case rtb.NativeTitle:
		if size := n.title.runes(products, now); size > 0 && (a.Len <= 0 || size <= a.Len || n.title.cuttable()) {
			return rtb.NoBidNone
		}
	case rtb.NativeImage:
		_, _, r := n.image(a)
		return r
	case rtb.NativeData:
		if n.value(a, products, now) != nil {
			return rtb.NoBidNone
		}
	}
	return rtb.NoBidNoFormat
}

// value returns the text of a data asset, or nil if there is none or if it is
// too long and must not be shortened. A shortened price would be wrong.
func (n *native) value(a *rtb.NativeAsset, products []*Product, now time.Time) text {
	if a.Type < 1 || a.Type >= dataTypes {
		return nil
	}
	t := n.data[a.Type]
	size := t.runes(products, now)
	cuttable := (a.Type == dataDesc || a.Type == dataDesc2) && t.cuttable()
	if size == 0 || a.Len > 0 && size > a.Len && !cuttable {
		return nil
	}
	return t
}
