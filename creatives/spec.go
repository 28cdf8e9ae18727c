package creatives

import "time"

// Spec is a creative as the configuration writes it.
type Spec struct {
	ID         string            `yaml:"id"`                     // [a-z0-9][a-z0-9_-]{0,63}; required
	Advertiser string            `yaml:"advertiser"`             // whose it is; empty: any advertiser's line may use it
	Type       string            `yaml:"type"`                   // image, html, html_template, vast, audio or native; required
	Size       string            `yaml:"size"`                   // one size such as 300x250; banner types only
	Sizes      []string          `yaml:"sizes"`                  // several sizes; size or sizes is required of the banner types
	ClickURL   string            `yaml:"click_url"`              // landing page without a product; https
	ImageURL   string            `yaml:"image_url"`              // type image: the picture's URL, may hold {{width}}, {{height}} and {{item.image}}
	Alt        string            `yaml:"alt"`                    // type image: text for the picture
	HTML       string            `yaml:"html"`                   // type html and html_template: the markup
	File       string            `yaml:"file" config:"path"`     // instead of html: a file with the markup
	Fill       []string          `yaml:"fill"`                   // products to take: cart, viewed, wishlist, complements; default [cart, viewed]
	Fallback   string            `yaml:"fallback"`               // creative to use where no product fits
	Attr       []int             `yaml:"attr"`                   // AdCOM creative attributes
	Cat        []string          `yaml:"cat"`                    // IAB content categories; default the advertiser's
	Language   string            `yaml:"language"`               // ISO 639-1; xx: no language in it
	Mimes      []string          `yaml:"mimes"`                  // default by type; of a tag_url: what it answers with
	API        []int             `yaml:"api"`                    // AdCOM API frameworks that it needs
	FullScreen bool              `yaml:"full_screen"`            // shown in interstitials only
	Secure     *bool             `yaml:"secure"`                 // false: http assets are allowed, and the creative stays out of secure impressions; default true
	IURL       string            `yaml:"iurl"`                   // picture for the exchange's audit; https
	CRID       string            `yaml:"crid"`                   // at most 51 bytes, instead of id in crid; the content hash is still added
	Approval   map[string]string `yaml:"approval"`               // by exchange: auto, pending, approved or rejected; default auto
	MaxAdm     int               `yaml:"max_adm" config:"bytes"` // most bytes of markup; default and limit 32KiB

	Title        string            `yaml:"title"`        // types vast and audio: the ad's name, may hold {{item.title}} and the like; default the id
	Media        []MediaSpec       `yaml:"media"`        // types vast and audio: the same film or sound in several encodings
	TagURL       string            `yaml:"tag_url"`      // types vast and audio, instead of media: another server's VAST, which is wrapped; exchange macros stay as they are
	Duration     time.Duration     `yaml:"duration"`     // types vast and audio: whole seconds, 1s to 10m; required
	Skippable    time.Duration     `yaml:"skippable"`    // types vast and audio: it can be skipped after this time, by itself; adds attribute 16; default never
	Linearity    int               `yaml:"linearity"`    // types vast and audio: 1 linear; 2 overlay, for tag_url only; default 1
	Protocols    []int             `yaml:"protocols"`    // types vast and audio: AdCOM protocols to write; default all that fit
	Placements   []int             `yaml:"placements"`   // type vast: AdCOM video placement subtypes where it may run (1 instream to 4 standalone); default all
	Playback     []int             `yaml:"playback"`     // types vast and audio: AdCOM playback methods under which it may run; default all
	Interactive  string            `yaml:"interactive"`  // type vast: URL of its SIMID document; api must name 8 or 9
	Verification *VerificationSpec `yaml:"verification"` // types vast and audio: Open Measurement script, written where the impression offers it
	Companion    *CompanionSpec    `yaml:"companion"`    // types vast and audio: a picture beside it
	Native       *NativeSpec       `yaml:"native"`       // type native: its assets
	Trackers     TrackersSpec      `yaml:"trackers"`     // types vast, audio and native: pixels of others
}

// MediaSpec is one file of a film or a sound.
type MediaSpec struct {
	URL      string `yaml:"url"`      // https; required
	Mime     string `yaml:"mime"`     // such as video/mp4; default by the URL's ending
	W        int    `yaml:"w"`        // pixels; required of films
	H        int    `yaml:"h"`        // pixels; required of films
	Bitrate  int    `yaml:"bitrate"`  // kilobits per second; default not told
	Delivery string `yaml:"delivery"` // progressive or streaming; default progressive
}

// VerificationSpec is a script of Open Measurement.
type VerificationSpec struct {
	Vendor     string `yaml:"vendor"`     // the vendor's name, such as example.com-omid; required
	URL        string `yaml:"url"`        // the script; https; required
	Parameters string `yaml:"parameters"` // text that the script is given
}

// CompanionSpec is a picture beside a film or a sound. A click leads where the
// creative leads.
type CompanionSpec struct {
	ImageURL string `yaml:"image_url"` // https; required
	Size     string `yaml:"size"`      // such as 300x250; required
}

// TrackersSpec are URLs of others that are called beside ours.
type TrackersSpec struct {
	Imp   []string `yaml:"imp"`   // when it is shown; https
	Click []string `yaml:"click"` // when it is clicked; https
}

// NativeSpec are the assets of a native creative (Native Ads 1.2). Texts may hold
// {{item.title}}, {{item.price}}, {{item.sale_price}}, {{item.brand}} and
// {{item.id}}.
type NativeSpec struct {
	Title      string            `yaml:"title"`       // cut to what the placement has room for; required
	Images     []NativeImageSpec `yaml:"images"`      // pictures to choose from
	Sponsored  string            `yaml:"sponsored"`   // data 1: the brand
	Desc       string            `yaml:"desc"`        // data 2; cut where there is not room
	Rating     string            `yaml:"rating"`      // data 3: such as 4.5
	Likes      string            `yaml:"likes"`       // data 4
	Downloads  string            `yaml:"downloads"`   // data 5
	Price      string            `yaml:"price"`       // data 6
	SalePrice  string            `yaml:"saleprice"`   // data 7
	Phone      string            `yaml:"phone"`       // data 8
	Address    string            `yaml:"address"`     // data 9
	Desc2      string            `yaml:"desc2"`       // data 10; cut where there is not room
	DisplayURL string            `yaml:"displayurl"`  // data 11
	CTAText    string            `yaml:"ctatext"`     // data 12: what the button says
	PrivacyURL string            `yaml:"privacy_url"` // where the placement shows a privacy icon; https
}

// NativeImageSpec is one picture. A URL with both {{width}} and {{height}} is a
// picture of any size, of which w and h are the usual one.
type NativeImageSpec struct {
	Type string `yaml:"type"` // icon, logo or main; default main
	URL  string `yaml:"url"`  // may hold {{item.image}}, {{item.id}}, {{width}}, {{height}}; https; required
	W    int    `yaml:"w"`    // pixels; required
	H    int    `yaml:"h"`    // pixels; required
	Mime string `yaml:"mime"` // default by the URL's ending, else image/jpeg
}
