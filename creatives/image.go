package creatives

import (
	"net/url"
	"path"
	"strings"

	"rebound/internal/spec"
)

// imageAd is an image that links to the landing page.
type imageAd struct{ banner }

func (b *imageAd) compile(c *compiler, out *Creative) string {
	s := c.spec
	if len(out.Mimes) == 0 {
		out.Mimes = []string{imageMime(s.ImageURL)}
	}
	if s.ImageURL == "" {
		c.Add("image_url", "nothing", "the URL of the image")
	} else {
		sample := strings.NewReplacer("{{width}}", "1", "{{height}}", "1", "{{item.image}}", "https://x.example/").Replace(s.ImageURL)
		if want := checkURL(sample, !out.Secure); want != "" {
			c.Add("image_url", spec.Quote(sample), want)
		}
	}
	markup := `<a href="{{click}}" target="_blank" rel="noopener"><img src="` + string(appendHTML(nil, s.ImageURL)) +
		`" width="{{width}}" height="{{height}}" alt="` + string(appendHTML(nil, s.Alt)) + `" style="border:0;display:block"></a>`
	b.template(c, out, "image_url", markup)
	return ""
}

var imageMimes = map[string]string{".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".svg": "image/svg+xml", ".avif": "image/avif"}

// imageMime returns the MIME type of an image by the extension of its URL;
// image/jpeg if that is unknown.
func imageMime(image string) string {
	if u, err := url.Parse(image); err == nil {
		if mime, ok := imageMimes[strings.ToLower(path.Ext(u.Path))]; ok {
			return mime
		}
	}
	return "image/jpeg"
}
