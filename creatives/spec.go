package creatives

import (
	"time"

	"rebound/internal/spec"
)

// Spec is a creative as the configuration writes it.
type Spec struct {
	ID         string            `yaml:"id"`                                                     // [a-z0-9][a-z0-9_-]{0,63}; required
	Advertiser string            `yaml:"advertiser"`                                             // owner; empty: lines of any advertiser may use it
	Type       string            `yaml:"type" enum:"image,html,html_template,vast,audio,native"` // image, html, html_template, vast, audio or native; required
	Size       string            `yaml:"size"`                                                   // one size such as 300x250; banner types only
	Sizes      []string          `yaml:"sizes"`                                                  // several sizes; banner types require size or sizes
	ClickURL   string            `yaml:"click_url"`                                              // landing page without a product; https
	ImageURL   string            `yaml:"image_url"`                                              // type image: the URL of the image, may have {{width}}, {{height}} and {{item.image}}
	Alt        string            `yaml:"alt"`                                                    // type image: alternative text
	HTML       string            `yaml:"html"`                                                   // type html and html_template: the markup
	File       string            `yaml:"file" config:"path"`                                     // instead of html: a file with the markup
	Fill       []string          `yaml:"fill" enum:"cart,viewed,wishlist,complements"`           // sources of products: cart, viewed, wishlist, complements; default [cart, viewed]
	Fallback   string            `yaml:"fallback"`                                               // creative to use if there is no product
	Attr       []int             `yaml:"attr"`                                                   // AdCOM creative attributes; with 3, 4 or 5 (expandable) a banner is shown only where expdir allows a direction
	Cat        []string          `yaml:"cat"`                                                    // IAB content categories; default the advertiser's
	Language   string            `yaml:"language"`                                               // ISO 639-1; xx: no words
	Mimes      []string          `yaml:"mimes"`                                                  // default by type; for tag_url the types that it returns
	API        []int             `yaml:"api"`                                                    // required AdCOM API frameworks
	FullScreen bool              `yaml:"full_screen"`                                            // for interstitials only
	Secure     *bool             `yaml:"secure"`                                                 // false: http assets are allowed, and the creative stays out of secure impressions; default true
	IURL       string            `yaml:"iurl"`                                                   // image for the exchange's audit; https
	CRID       string            `yaml:"crid"`                                                   // replaces id in crid, at most 51 bytes; the content hash is still added
	Approval   map[string]string `yaml:"approval" enum:"auto,pending,approved,rejected"`         // by exchange: auto, pending, approved or rejected; default auto
	MaxAdm     spec.Bytes        `yaml:"max_adm"`                                                // largest markup; default and limit 32KiB

	Title        string            `yaml:"title"`        // types vast and audio: name of the ad, may have {{item.title}} and the like; default the id
	Media        []MediaSpec       `yaml:"media"`        // types vast and audio: the same video or audio in several encodings
	TagURL       string            `yaml:"tag_url"`      // types vast and audio, instead of media: VAST of another server, which is wrapped; exchange macros are left as they are
	Duration     time.Duration     `yaml:"duration"`     // types vast and audio: whole seconds, 1s to 10m; required
	Skippable    time.Duration     `yaml:"skippable"`    // types vast and audio: its own skip button appears after this time; adds attribute 16; default no skip button
	Linearity    int               `yaml:"linearity"`    // types vast and audio: 1 linear; 2 overlay, for tag_url only; default 1
	Protocols    []int             `yaml:"protocols"`    // types vast and audio: AdCOM protocols to write; default all that fit
	Placements   []int             `yaml:"placements"`   // type vast: AdCOM video placement subtypes where it may run (1 instream to 4 standalone); default all
	Playback     []int             `yaml:"playback"`     // types vast and audio: AdCOM playback methods under which it may run; default all
	Interactive  string            `yaml:"interactive"`  // type vast: URL of its SIMID document; api must name 8 or 9
	Verification *VerificationSpec `yaml:"verification"` // types vast and audio: Open Measurement script, included if the impression offers it
	Companion    *CompanionSpec    `yaml:"companion"`    // types vast and audio: an image next to the ad
	Native       *NativeSpec       `yaml:"native"`       // type native: its assets
	Trackers     TrackersSpec      `yaml:"trackers"`     // types vast, audio and native: third-party pixels
}

// MediaSpec is one file of a video or audio ad.
type MediaSpec struct {
	URL      string `yaml:"url"`                                   // https; required
	Mime     string `yaml:"mime"`                                  // such as video/mp4; default by the extension of the URL
	W        int    `yaml:"w"`                                     // pixels; required for video
	H        int    `yaml:"h"`                                     // pixels; required for video
	Bitrate  int    `yaml:"bitrate"`                               // kilobits per second; default unknown
	Delivery string `yaml:"delivery" enum:"progressive,streaming"` // progressive or streaming; default progressive
}

// VerificationSpec is an Open Measurement script.
type VerificationSpec struct {
	Vendor     string `yaml:"vendor"`     // the vendor's name, such as example.com-omid; required
	URL        string `yaml:"url"`        // the script; https; required
	Parameters string `yaml:"parameters"` // parameters of the script
}

// CompanionSpec is an image next to a video or audio ad. A click leads where a
// click on the ad leads.
type CompanionSpec struct {
	ImageURL string `yaml:"image_url"` // https; required
	Size     string `yaml:"size"`      // such as 300x250; required
}

// TrackersSpec are third-party URLs that are called in addition to ours.
type TrackersSpec struct {
	Imp   []string `yaml:"imp"`   // called for an impression; https
	Click []string `yaml:"click"` // called for a click; https
}

// NativeSpec is the assets of a native ad (Native Ads 1.2). Texts may have
// {{item.title}}, {{item.price}}, {{item.sale_price}}, {{item.brand}} and
// {{item.id}}.
type NativeSpec struct {
	Title      string            `yaml:"title"`       // shortened to fit the placement; required
	Images     []NativeImageSpec `yaml:"images"`      // images to choose from
	Sponsored  string            `yaml:"sponsored"`   // data 1: the brand
	Desc       string            `yaml:"desc"`        // data 2; shortened to fit
	Rating     string            `yaml:"rating"`      // data 3: such as 4.5
	Likes      string            `yaml:"likes"`       // data 4
	Downloads  string            `yaml:"downloads"`   // data 5
	Price      string            `yaml:"price"`       // data 6
	SalePrice  string            `yaml:"saleprice"`   // data 7
	Phone      string            `yaml:"phone"`       // data 8
	Address    string            `yaml:"address"`     // data 9
	Desc2      string            `yaml:"desc2"`       // data 10; shortened to fit
	DisplayURL string            `yaml:"displayurl"`  // data 11
	CTAText    string            `yaml:"ctatext"`     // data 12: the text of the button
	PrivacyURL string            `yaml:"privacy_url"` // where the placement shows a privacy icon; https
}

// NativeImageSpec is one image. A URL with both {{width}} and {{height}} is an
// image of any size, whose usual one is w by h.
type NativeImageSpec struct {
	Type string `yaml:"type" enum:"icon,logo,main"` // icon, logo or main; default main
	URL  string `yaml:"url"`                        // may hold {{item.image}}, {{item.id}}, {{width}}, {{height}}; https; required
	W    int    `yaml:"w"`                          // pixels; required
	H    int    `yaml:"h"`                          // pixels; required
	Mime string `yaml:"mime"`                       // default by the extension of the URL, else image/jpeg
}
