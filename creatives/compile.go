package creatives

import (
	"fmt"
	"strconv"
	"strings"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Compile compiles specs in their order. A creative that has problems is nil.
// read opens the files that specs name. Paths of problems begin with the index of
// the creative, such as [3].html; the line of a problem in markup that is part of
// the configuration counts from the markup's first line.
func Compile(specs []Spec, read func(file string) ([]byte, error)) ([]*Creative, spec.Problems) {
	out := make([]*Creative, len(specs))
	var r spec.Report
	index := map[string]int{}
	templates := map[string][]piece{}
	for i := range specs {
		c := compiler{spec: asciiURLs(&specs[i]), read: read, templates: templates}
		if first, again := index[specs[i].ID]; again && specs[i].ID != "" {
			c.Add("id", spec.Quote(specs[i].ID)+" again", fmt.Sprintf("an id that no other creative has; creatives[%d] has it", first))
		} else {
			index[specs[i].ID] = i
		}
		if cr := c.compile(); len(c.Problems) == 0 {
			out[i] = cr
		}
		r.Include(spec.At("", i), c.Report)
	}
	for i := range specs {
		if !link(&r, specs, out, index, i) {
			out[i] = nil
		}
	}
	linkAlike(out)
	return out, r.Problems
}

// linkAlike sets [Creative.Alike].
func linkAlike(list []*Creative) {
	first := map[string]*Creative{}
	for _, c := range list {
		if c == nil {
			continue
		}
		c.Alike = c
		key := c.body.likeness(c)
		if key == "" {
			continue
		}
		key = fmt.Sprintf("%s %q %q %q %v %v %s", c.Type, c.Language, c.Cats, c.Mimes, c.Secure, c.IURL == "", key)
		if first[key] == nil {
			first[key] = c
		}
		c.Alike = first[key]
	}
}

// link resolves the fallback of one creative and reports whether it can be used.
func link(r *spec.Report, specs []Spec, out []*Creative, index map[string]int, i int) bool {
	id, path := specs[i].Fallback, spec.At("", i)+".fallback"
	if id == "" {
		return true
	}
	j, ok := index[id]
	switch {
	case !ok:
		return spec.KnownIn(r, path, id, "a creative", index)
	case out[i] == nil || out[j] == nil:
		return true // they have problems of their own
	case out[j].NeedsProduct:
		r.Add(path, spec.Quote(id), "a creative that needs no product")
		return false
	}
	out[i].Fallback = out[j]
	return true
}

type compiler struct {
	spec.Report // paths are relative to the creative
	spec        *Spec
	read        func(string) ([]byte, error)
	templates   map[string][]piece // of banners, by markup
}

func (c *compiler) compile() *Creative {
	s := c.spec
	c.ID("id", s.ID)
	n := c.OneOf("type", s.Type, kindsWith(func(*kind) bool { return true }))
	if n < 0 {
		return nil
	}
	k := &kinds[n]
	out := &Creative{ID: s.ID, Advertiser: s.Advertiser, Type: k.name, Format: k.format, ClickURL: s.ClickURL, IURL: s.IURL,
		Secure: s.Secure == nil || *s.Secure, FullScreen: s.FullScreen, Attrs: s.Attr, Cats: s.Cat, APIs: s.API, Mimes: mediaTypes(s.Mimes), MaxBytes: MaxMarkup, body: k.make()}
	c.only(k)
	c.lists(out)
	if s.MaxAdm != 0 {
		out.MaxBytes = int(s.MaxAdm)
		if s.MaxAdm < 256 || s.MaxAdm > MaxMarkup {
			c.Add("max_adm", s.MaxAdm.String(), "256 to 32KiB")
		}
	}
	markup := out.body.compile(c, out)
	c.urls(out)
	out.CRID = crid(s, out, markup, rtb.Size{})
	if len(out.Sizes) > 1 {
		for _, size := range out.Sizes {
			out.crids = append(out.crids, crid(s, out, markup, size))
		}
	}
	return out
}

func (c *compiler) lists(out *Creative) {
	s := c.spec
	for field, codes := range map[string][]int{"attr": s.Attr, "api": s.API} {
		for i, code := range codes {
			if code < 1 {
				c.Add(spec.At(field, i), strconv.Itoa(code), "a code of AdCOM 1.0, at least 1")
			}
		}
	}
	out.Language = strings.ToLower(s.Language)
	if n := len(out.Language); s.Language != "" && (n < 2 || n > 8) {
		c.Add("language", spec.Quote(s.Language), "an ISO 639-1 code such as en, or xx for a creative without words")
	}
	if len(s.Fill) == 0 {
		out.Fill = Fills(0).with(FillCart).with(FillViewed)
	}
	for i, name := range s.Fill {
		if n := c.OneOf(spec.At("fill", i), name, fillNames[1:]); n >= 0 {
			out.Fill = out.Fill.with(Fill(n + 1))
		}
	}
	if len(s.CRID) > maxCRIDName {
		c.Add("crid", spec.Quote(s.CRID), fmt.Sprintf("at most %d bytes", maxCRIDName))
	}
}

func (c *compiler) urls(out *Creative) {
	check := func(field, u string) {
		if want := checkURL(u, !out.Secure); want != "" {
			c.Add(field, spec.Quote(u), want)
		}
	}
	if out.ClickURL != "" {
		check("click_url", out.ClickURL)
	} else if !out.NeedsProduct {
		c.Add("click_url", "nothing", "the landing page, which a creative that needs no product must have")
	}
	if out.IURL != "" {
		check("iurl", out.IURL)
	}
}
