package creatives

// htmlAd is markup that the advertiser wrote, with macros in it.
type htmlAd struct {
	banner
	products bool // item macros are allowed
}

func (b *htmlAd) compile(c *compiler, out *Creative) string {
	if len(out.Mimes) == 0 {
		out.Mimes = []string{"text/html"}
	}
	field, markup := c.source()
	b.template(c, out, field, markup)
	if out.NeedsProduct && !b.products {
		c.Add(field, "an item macro in type html", "type html_template")
	}
	return markup
}

// source returns the markup and the field that it comes from.
func (c *compiler) source() (field, markup string) {
	s := c.spec
	switch {
	case s.HTML == "" && s.File == "":
		c.Add("html", "neither html nor file", "one of them")
	case s.HTML != "" && s.File != "":
		c.Add("html", "both html and file", "one of them")
	case s.File != "":
		b, err := c.read(s.File)
		if err != nil {
			c.Add("file", err.Error(), "a file that can be read")
		}
		return "file", string(b)
	}
	return "html", s.HTML
}
