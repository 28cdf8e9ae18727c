package creatives

import (
	"regexp"
	"slices"

	"rebound/internal/inventory"
)

// Subtypes of banners (AdCOM 1.0, List: Creative Subtypes - Banner).
const (
	subtypeText   = 1 // XHTML text
	subtypeBanner = 2 // XHTML banner
	subtypeScript = 3 // JavaScript
	subtypeFrame  = 4 // iframe
)

var (
	scripts = regexp.MustCompile(`(?i)<script[\s>/]|javascript:|[\s"'/]on[a-z]+\s*=`)
	frames  = regexp.MustCompile(`(?i)<i?frame[\s>/]`)
	visuals = regexp.MustCompile(`(?i)<(?:img|picture|svg|video|canvas|object|embed|input|image)[\s>/]|url\s*\(`)
)

// bannerSubtypes returns the kinds of content in a banner's markup. Scripts and
// frames make it JavaScript or an iframe; without them it is a banner, or text
// where it shows no image.
func bannerSubtypes(markup string) (out []int) {
	if scripts.MatchString(markup) {
		out = append(out, subtypeScript)
	}
	if frames.MatchString(markup) {
		out = append(out, subtypeFrame)
	}
	switch {
	case len(out) > 0:
		return out
	case visuals.MatchString(markup):
		return []int{subtypeBanner}
	}
	return []int{subtypeText}
}

func containsAny(list, codes []int) bool {
	return slices.ContainsFunc(codes, func(code int) bool { return slices.Contains(list, code) })
}

// mediaType returns a media type under the name that is compared.
func mediaType(name string) string { return string(inventory.MediaType([]byte(name))) }

// mediaTypes returns media types under the names that are compared.
func mediaTypes(list []string) []string {
	out := make([]string, len(list))
	for i, name := range list {
		out[i] = mediaType(name)
	}
	return out
}
