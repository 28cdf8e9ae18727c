package creatives

import (
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Native are the assets of a creative of kind native.
type Native struct {
	title      text
	images     []nativeImage
	data       [dataTypes]text // by data type
	privacyURL string
	imp, click []string // trackers of others
}

type nativeImage struct {
	kind int
	url  text
	size rtb.Size // the usual one, where any is possible
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

// native compiles what kind native has.
func (c *compiler) native(out *Creative) {
	out.Format = rtb.FormatNative
	s := c.spec.Native
	if s == nil || s.Title == "" {
		c.Add("native", "no title", "title, and images, sponsored, desc and the like")
		return
	}
	n := &Native{privacyURL: s.PrivacyURL, imp: c.spec.Trackers.Imp, click: c.spec.Trackers.Click}
	out.Native = n
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
}

func (c *compiler) nativeImage(out *Creative, i int) nativeImage {
	s, field := &c.spec.Native.Images[i], spec.At("native.images", i)
	img := nativeImage{kind: imageMain, size: rtb.Size{W: s.W, H: s.H}, mime: s.Mime}
	if s.Type != "" {
		img.kind = 1 + c.OneOf(field+".type", s.Type, imageNames[1:])
	}
	img.url = compileText(s.URL, imagePart, func(got, want, hint string) { c.AddHint(field+".url", got, want, hint) })
	img.any = img.url.uses(macroWidth) && img.url.uses(macroHeight)
	out.NeedsProduct = out.NeedsProduct || img.url.needsProduct()
	if img.mime == "" {
		img.mime = defaultMimes(KindImage, s.URL)[0]
	}
	if s.W < 1 || s.H < 1 || s.W > 9999 || s.H > 9999 {
		c.Add(field+".w", itoa(s.W)+"x"+itoa(s.H), "w and h of the picture, 1 to 9999")
	}
	c.checkLink(field+".url", img.url.sample(), out)
	return img
}

// image is the picture for an asset and the size that it is shown in. The reason
// is why there is none.
func (n *Native) image(a *rtb.NativeAsset) (img *nativeImage, size rtb.Size, r rtb.NoBidReason) {
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

// serves tells whether a picture is of the type that is asked for; none is main,
// and an icon does for a logo.
func (img *nativeImage) serves(kind int) bool {
	switch kind {
	case 0:
		return img.kind == imageMain
	case imageLogo:
		return img.kind == imageLogo || img.kind == imageIcon
	}
	return img.kind == kind
}

// listedImage asks the mimes of an asset; none listed is all. image/jpg is what
// some call image/jpeg.
func listedImage(mimes [][]byte, mime string) bool {
	if len(mimes) == 0 {
		return true
	}
	for _, m := range mimes {
		if equalFold(m, mime) || mime == "image/jpeg" && equalFold(m, "image/jpg") {
			return true
		}
	}
	return false
}

// fits finds the size in which a picture is shown. A width without a least width
// is exact, and so is a height (Native Ads 1.2 §4.4).
func (img *nativeImage) fits(a *rtb.NativeAsset) (rtb.Size, bool) {
	w, okW := img.side(img.size.W, a.W, a.WMin)
	h, okH := img.side(img.size.H, a.H, a.HMin)
	return rtb.Size{W: w, H: h}, okW && okH
}

// maxSide bounds the size of a picture of any size.
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

// Answers tells whether the creative has an answer to every asset that a native
// request requires: [rtb.NoBidNone], or why not. An asset that is not known, or
// that could not be read, has none.
func (c *Creative) Answers(n *rtb.Native, products []*Product, now time.Time) rtb.NoBidReason {
	some := false
	for i := range n.Assets {
		a := &n.Assets[i]
		r := c.Native.answers(a, products, now)
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

func (n *Native) answers(a *rtb.NativeAsset, products []*Product, now time.Time) rtb.NoBidReason {
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

// value is the text of a data asset; nil when there is none, or when it is too
// long and may not be cut: half a price is a wrong price.
func (n *Native) value(a *rtb.NativeAsset, products []*Product, now time.Time) text {
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
