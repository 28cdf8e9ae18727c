package creatives

// Spec is a creative as the configuration writes it.
type Spec struct {
	ID         string   `yaml:"id"`                     // [a-z0-9][a-z0-9_-]{0,63}; required
	Advertiser string   `yaml:"advertiser"`             // whose it is; empty: any advertiser's line may use it
	Type       string   `yaml:"type"`                   // image, html or html_template; required
	Size       string   `yaml:"size"`                   // one size such as 300x250
	Sizes      []string `yaml:"sizes"`                  // several sizes; size or sizes is required
	ClickURL   string   `yaml:"click_url"`              // landing page without a product; https
	ImageURL   string   `yaml:"image_url"`              // type image: the picture's URL, may hold {{width}}, {{height}} and {{item.image}}
	Alt        string   `yaml:"alt"`                    // type image: text for the picture
	HTML       string   `yaml:"html"`                   // type html and html_template: the markup
	File       string   `yaml:"file" config:"path"`     // instead of html: a file with the markup
	Fill       []string `yaml:"fill"`                   // products to take: cart, viewed, wishlist, complements; default [cart, viewed]
	Fallback   string   `yaml:"fallback"`               // creative to use where no product fits
	Attr       []int    `yaml:"attr"`                   // AdCOM creative attributes
	Cat        []string `yaml:"cat"`                    // IAB content categories; default the advertiser's
	Language   string   `yaml:"language"`               // ISO 639-1; xx: no language in it
	Mimes      []string `yaml:"mimes"`                  // default by type
	API        []int    `yaml:"api"`                    // AdCOM API frameworks that it needs
	Secure     *bool    `yaml:"secure"`                 // false: http assets are allowed, and the creative stays out of secure impressions; default true
	IURL       string   `yaml:"iurl"`                   // picture for the exchange's audit; https
	CRID       string   `yaml:"crid"`                   // at most 51 bytes, instead of id in crid; the content hash is still added
	MaxAdm     int      `yaml:"max_adm" config:"bytes"` // most bytes of markup; default and limit 32KiB
}

// Problem is one thing that is wrong with a spec. Path leads to it from the
// list that was compiled, e.g. [3].html or [3].sizes[0].
type Problem struct {
	Path string
	Got  string
	Want string
	Hint string // what was probably meant; may be empty
	// Line counts within the markup, from 1; 0 when the problem is not there.
	Line int
}
