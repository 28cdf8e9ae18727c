package creatives

import (
	"fmt"
	"slices"
	"strings"

	"rebound/internal/spec"
)

// only checks that a spec has no fields of other types.
func (c *compiler) only(out *Creative) {
	s := c.spec
	banner := out.Kind < KindVAST
	fields := []struct {
		name  string
		given bool
		kinds []Kind
	}{
		{"size", s.Size != "" || len(s.Sizes) > 0, []Kind{KindImage, KindHTML, KindTemplate}},
		{"html", !banner && s.HTML != "", nil},
		{"file", !banner && s.File != "", nil},
		{"image_url", !banner && s.ImageURL != "", nil},
		{"alt", !banner && s.Alt != "", nil},
		{"title", s.Title != "", []Kind{KindVAST, KindAudio}},
		{"media", len(s.Media) > 0, []Kind{KindVAST, KindAudio}},
		{"tag_url", s.TagURL != "", []Kind{KindVAST, KindAudio}},
		{"duration", s.Duration != 0, []Kind{KindVAST, KindAudio}},
		{"skippable", s.Skippable != 0, []Kind{KindVAST, KindAudio}},
		{"linearity", s.Linearity != 0, []Kind{KindVAST, KindAudio}},
		{"protocols", len(s.Protocols) > 0, []Kind{KindVAST, KindAudio}},
		{"placements", len(s.Placements) > 0, []Kind{KindVAST}},
		{"playback", len(s.Playback) > 0, []Kind{KindVAST, KindAudio}},
		{"interactive", s.Interactive != "", []Kind{KindVAST}},
		{"verification", s.Verification != nil, []Kind{KindVAST, KindAudio}},
		{"companion", s.Companion != nil, []Kind{KindVAST, KindAudio}},
		{"native", s.Native != nil, []Kind{KindNative}},
		{"trackers", len(s.Trackers.Imp)+len(s.Trackers.Click) > 0, []Kind{KindVAST, KindAudio, KindNative}},
	}
	for _, f := range fields {
		if !f.given || slices.Contains(f.kinds, out.Kind) {
			continue
		}
		want := "nothing for type " + out.Kind.String()
		if len(f.kinds) > 0 {
			names := make([]string, 0, len(f.kinds))
			for _, k := range f.kinds {
				names = append(names, k.String())
			}
			want += ": it belongs to " + strings.Join(names, ", ")
		}
		c.Add(f.name, "it", want)
	}
	for field, urls := range map[string][]string{"trackers.imp": s.Trackers.Imp, "trackers.click": s.Trackers.Click} {
		for i, u := range urls {
			c.checkLink(spec.At(field, i), u, out)
		}
	}
}

// checkLink checks a URL that is loaded or called.
func (c *compiler) checkLink(field, u string, out *Creative) {
	if want := checkURL(withoutMacros(u), !out.Secure); want != "" {
		c.Add(field, spec.Quote(u), want)
	}
}

// withoutMacros takes exchange macros, which no URL may hold, out of a URL.
func withoutMacros(u string) string {
	for {
		i := strings.Index(u, "${")
		if i < 0 {
			return u
		}
		end := strings.IndexByte(u[i:], '}')
		if end < 0 {
			return u
		}
		u = u[:i] + "x" + u[i+end+1:]
	}
}

// content is everything that is shown, for the hash of a creative without
// markup of its own.
func (c *compiler) content() string {
	s := *c.spec
	text := fmt.Sprintf("%q %+v %q %v %v %d %v %v %v %q %+v", s.Title, s.Media, s.TagURL, s.Duration, s.Skippable, s.Linearity, s.Protocols, s.Placements, s.Playback, s.Interactive, s.Trackers)
	if s.Verification != nil {
		text += fmt.Sprintf(" verification %+v", *s.Verification)
	}
	if s.Companion != nil {
		text += fmt.Sprintf(" companion %+v", *s.Companion)
	}
	if s.Native != nil {
		text += fmt.Sprintf(" native %+v", *s.Native)
	}
	return text
}
