package creatives

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rebound/internal/spec"
	"rebound/rtb"
)

// banner is a compiled template. The types that are shown as banners share it.
type banner struct {
	subtypes []int   // kinds of content in the markup, compared with btype
	expands  bool    // it may expand beyond its size
	pieces   []piece // shared by the creatives with the same markup
}

// maxSource is the largest source of a template in bytes. Macros may be longer
// than their values, but not by that much.
const maxSource = 4 * MaxMarkup

// pixelMarkup counts the impression. It is added to templates that do not.
const pixelMarkup = `<img src="{{pixel}}" width="1" height="1" alt="" style="position:absolute;left:-9999px">`

// template compiles the sizes and the markup, which comes from the given field.
func (b *banner) template(c *compiler, out *Creative, field, markup string) {
	c.sizes(out)
	report := func(line int, got, want, hint string) {
		c.AddHint(field, got, want, hint)
		p := &c.Problems[len(c.Problems)-1]
		switch field {
		case "html":
			p.Line = line
		case "file":
			p.File, p.Line = c.spec.File, line
		}
	}
	if len(markup) > maxSource {
		report(0, strconv.Itoa(len(markup))+" bytes", "at most "+strconv.Itoa(out.MaxBytes), "")
		return
	}
	t := compileTemplate(markup, report)
	if !t.uses[macroPixel] {
		if !t.closed {
			report(0, "markup that ends inside a tag, a script or a comment", "markup that ends between tags, so that the impression pixel can be added", "")
		}
		t = compileTemplate(markup+pixelMarkup, func(int, string, string, string) {})
	}
	if markup != "" && !t.uses[macroClick] && !t.uses[macroClickEsc] {
		report(0, "markup without {{click}}", "{{click}} or {{click_esc}}, so that clicks are counted", "")
	}
	for m := macroTitle; m <= macroBrand; m++ {
		out.NeedsProduct = out.NeedsProduct || t.uses[m]
	}
	literal := 0
	for i := range t.pieces {
		literal += len(t.pieces[i].lit)
	}
	if literal > out.MaxBytes {
		report(0, strconv.Itoa(literal)+" bytes", "at most "+strconv.Itoa(out.MaxBytes), "")
	}
	if url, line := insecure(markup); url != "" && out.Secure {
		report(line, spec.Quote(url), "https", "secure: false allows http and keeps the creative out of secure impressions")
	}
	if c.templates[markup] == nil {
		t.escape()
		c.templates[markup] = t.pieces
	}
	b.pieces, b.subtypes = c.templates[markup], bannerSubtypes(markup)
	b.expands = slices.ContainsFunc(out.Attrs, func(attr int) bool { return attrExpands <= attr && attr <= attrExpandsOnHover })
}

func (c *compiler) sizes(out *Creative) {
	texts, field := c.spec.Sizes, "sizes"
	if c.spec.Size != "" {
		if len(texts) > 0 {
			c.Add("size", "both size and sizes", "one of them")
		}
		texts, field = []string{c.spec.Size}, "size"
	}
	if len(texts) == 0 {
		c.Add("size", "nothing", "a size such as 300x250, or a list under sizes")
	}
	for i, t := range texts {
		size, ok := ParseSize(t)
		switch {
		case ok && !out.HasSize(size):
			out.Sizes = append(out.Sizes, size)
		case !ok && field == "sizes":
			c.Add(spec.At(field, i), spec.Quote(t), "a size such as 300x250")
		case !ok:
			c.Add(field, spec.Quote(t), "a size such as 300x250")
		}
	}
}

// ParseSize parses a size in CSS pixels such as 300x250. Each side is 1 to 9999.
func ParseSize(t string) (rtb.Size, bool) {
	w, h, ok := strings.Cut(t, "x")
	a, err := strconv.ParseUint(w, 10, 16)
	b, err2 := strconv.ParseUint(h, 10, 16)
	s := rtb.Size{W: int(a), H: int(b)}
	return s, ok && err == nil && err2 == nil && a >= 1 && a <= 9999 && b >= 1 && b <= 9999
}

// fits checks the requirements for a banner (OpenRTB 2.6 §3.2.6).
func (b *banner) fits(c *Creative, imp *rtb.Impression, dev *rtb.Device, x Exchange) (f Fit, r rtb.NoBidReason) {
	slot, ok := &imp.Banner, false
	f.Size, f.Flex, ok = c.sizeOn(imp, dev)
	switch {
	case !ok:
		return f, rtb.NoBidSize
	case len(slot.Mimes) > 0 && !c.listsAny(slot.Mimes):
		return f, rtb.NoBidMimes
	case !c.offersAPIs(slot.API):
		return f, rtb.NoBidAPI
	}
	f.AttributeBlocked = slot.ListsBad || containsAny(slot.BType, b.subtypes) || c.blocks(slot.BAttr, x) || b.expands && !letsExpand(slot)
	return f, rtb.NoBidNone
}

// letsExpand reports whether a banner may expand in at least one direction. If none is
// listed, it may not (OpenRTB 2.6 §3.2.6, conformance BN7).
func letsExpand(slot *rtb.Banner) bool {
	return slices.ContainsFunc(slot.ExpDir, func(dir int) bool { return dirLeft <= dir && dir <= dirFullScreen })
}

func (b *banner) likeness(c *Creative) string {
	return fmt.Sprintf("%v %v %v %v %v", c.Sizes, c.FullScreen, c.APIs, c.Attrs, b.subtypes)
}

// sizeOn returns the size in which a creative is shown: the first of the
// impression's sizes that the creative has; else a size of a listed ratio; else
// a size within a range, which senders before OpenRTB 2.6 use.
func (c *Creative) sizeOn(imp *rtb.Impression, dev *rtb.Device) (rtb.Size, rtb.FlexSize, bool) {
	b := &imp.Banner
	for _, s := range b.Sizes {
		if c.HasSize(s) {
			return s, rtb.FlexSize{}, true
		}
	}
	for _, f := range b.Flex {
		for _, s := range c.Sizes {
			if f.WRatio > 0 && f.HRatio > 0 && s.W*f.HRatio == s.H*f.WRatio && s.W >= f.WMin {
				return s, f, true
			}
		}
	}
	if len(b.Sizes) > 0 || len(b.Flex) > 0 {
		return rtb.Size{}, rtb.FlexSize{}, false
	}
	for _, s := range c.Sizes {
		if inRange(s, imp, dev) {
			return s, rtb.FlexSize{}, true
		}
	}
	return rtb.Size{}, rtb.FlexSize{}, false
}

// inRange reports whether a size is within the impression's bounds. An
// impression without bounds accepts a size only if it is an interstitial, up to
// the size of the screen.
func inRange(s rtb.Size, imp *rtb.Impression, dev *rtb.Device) bool {
	b := &imp.Banner
	wmax, hmax := b.WMax, b.HMax
	if wmax == 0 && hmax == 0 {
		if !imp.Instl || dev.W <= 0 || dev.H <= 0 {
			return false
		}
		wmax, hmax = dev.W, dev.H
	}
	return s.W >= b.WMin && s.H >= b.HMin && (wmax == 0 || s.W <= wmax) && (hmax == 0 || s.H <= hmax)
}

// append escapes only the values for JSON: compile has escaped what is around them.
func (b *banner) append(dst []byte, c *Creative, m *Markup) (out []byte, size int, err error) {
	for i := range b.pieces {
		p := &b.pieces[i]
		dst = append(dst, p.lit...)
		size += p.size
		if p.macro != macroNone {
			start := len(dst)
			text, plain := p.append(dst, c, m)
			size += len(text) - start
			dst = rtb.EscapeFrom(text, plain)
		}
		if size > c.MaxBytes {
			return dst, size, ErrTooLarge
		}
	}
	return dst, size, nil
}
