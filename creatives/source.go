package creatives

import (
	"net/url"
	"path"
	"strings"

	"rebound/internal/spec"
)

var imageMimes = map[string]string{".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".svg": "image/svg+xml", ".avif": "image/avif"}

// defaultMimes are the types that markup of a kind consists of.
func defaultMimes(k Kind, image string) []string {
	if k != KindImage {
		return []string{"text/html"}
	}
	if u, err := url.Parse(image); err == nil {
		if mime, ok := imageMimes[strings.ToLower(path.Ext(u.Path))]; ok {
			return []string{mime}
		}
	}
	return []string{"image/jpeg"}
}

// markup is the template's source.
func (c *compiler) markup(out *Creative) string {
	s := c.spec
	if out.Kind == KindImage {
		if s.HTML != "" || s.File != "" {
			c.Add("type", "image with markup", "type html or html_template for markup")
		}
		if s.ImageURL == "" {
			c.Add("image_url", "nothing", "the picture's URL")
		}
		return imageMarkup(s.ImageURL, s.Alt)
	}
	for field, text := range map[string]string{"image_url": s.ImageURL, "alt": s.Alt} {
		if text != "" {
			c.Add(field, spec.Quote(text), "nothing: it belongs to type image")
		}
	}
	if (s.HTML == "") == (s.File == "") {
		got := "both html and file"
		if s.HTML == "" {
			got = "neither html nor file"
		}
		c.Add("html", got, "one of them")
		return ""
	}
	if s.File == "" {
		return s.HTML
	}
	b, err := c.read(s.File)
	if err != nil {
		c.Add("file", err.Error(), "a file that can be read")
	}
	return string(b)
}

// imageMarkup is the template of a picture: a link around it.
func imageMarkup(image, alt string) string {
	return `<a href="{{click}}" target="_blank" rel="noopener"><img src="` + string(appendHTML(nil, image)) +
		`" width="{{width}}" height="{{height}}" alt="` + string(appendHTML(nil, alt)) + `" style="border:0;display:block"></a>`
}

// pixelMarkup counts the impression; it is added where a template does not.
const pixelMarkup = `<img src="{{pixel}}" width="1" height="1" alt="" style="position:absolute;left:-9999px">`
