package campaigns

import "fmt"

// TargetSpec is where and when a line may be shown. Everything that is left out
// matches everything.
type TargetSpec struct {
	Geo             GeoSpec       `yaml:"geo"`              // where the device is
	Device          DeviceSpec    `yaml:"device"`           // what it is
	Inventory       InventorySpec `yaml:"inventory"`        // where the ad would show
	Daypart         []string      `yaml:"daypart"`          // when: "mon-fri 08-22" in the advertiser's zone; "sat 10-14:30 user" in the visitor's
	Keywords        KeywordsSpec  `yaml:"keywords"`         // what the request's keywords say
	RequestSegments []RequestSpec `yaml:"request_segments"` // segments of user.data; one of them must be there
	MM              []int         `yaml:"match_methods"`    // accepted match methods of eids, 0 to 5 (AdCOM); an id that tells none passes; default all
	Deals           DealsSpec     `yaml:"deals"`            // private deals: ids, any or only; default none
	Safety          SafetySpec    `yaml:"safety"`           // added to the campaign's and the advertiser's
}

// GeoSpec says where the device must and must not be.
type GeoSpec struct {
	Include []PlaceSpec `yaml:"include"` // in one of these
	Exclude []PlaceSpec `yaml:"exclude"` // and in none of these
}

// PlaceSpec is a place: a country's code alone, or a table. All fields that are
// set must hold.
type PlaceSpec struct {
	Country string   `yaml:"country"` // ISO 3166-1, alpha-2 or alpha-3
	Region  string   `yaml:"region"`  // ISO 3166-2 without the country, such as NY; wants country
	City    string   `yaml:"city"`    // as exchanges write it; case does not matter
	ZIP     string   `yaml:"zip"`     // postcode; a trailing * stands for any rest
	Lat     *float64 `yaml:"lat"`     // centre of a circle, degrees north
	Lon     *float64 `yaml:"lon"`     // degrees east
	KM      float64  `yaml:"km"`      // its radius, 0.1 to 20000; 1 or more where privacy hides exact places
}

// UnmarshalText reads a country's code.
func (p *PlaceSpec) UnmarshalText(b []byte) error {
	*p = PlaceSpec{Country: string(b)}
	return nil
}

// DeviceSpec says what the device may be. Structured hints win over the user
// agent's text.
type DeviceSpec struct {
	Types     []string `yaml:"types"`     // phone, tablet, desktop, tv, settopbox, connected, dooh
	OS        []string `yaml:"os"`        // ios, android, windows, macos, linux, chromeos, tizen, webos, roku, tvos
	Browsers  []string `yaml:"browsers"`  // chrome, safari, firefox, edge, opera, samsung, yandex, uc, silk, ie, webview
	Languages []string `yaml:"languages"` // of the device: en, or en-gb for a region
}

// InventorySpec says where the ad may show.
type InventorySpec struct {
	Site           *bool    `yaml:"site"`            // web sites; default true
	App            *bool    `yaml:"app"`             // apps; default true
	DOOH           *bool    `yaml:"dooh"`            // screens in public; default true
	Domains        ListSpec `yaml:"domains"`         // of sites: news.example covers all below it, =news.example itself only, file:name a file of such
	Bundles        ListSpec `yaml:"bundles"`         // of apps: com.news.app, com.news.* for all below, file:name
	Positions      []string `yaml:"positions"`       // unknown, above_fold, below_fold, header, footer, sidebar, fullscreen
	MinViewability float64  `yaml:"min_viewability"` // least share of viewable impressions, 0 to 1; what is not measured does not pass
	Rewarded       string   `yaml:"rewarded"`        // allow, refuse or only; default allow
}

// ListSpec allows and forbids by lists. Where there is an include list, what is
// not on one is out, of sites and apps alike.
type ListSpec struct {
	Include []string `yaml:"include" config:"lists"`
	Exclude []string `yaml:"exclude" config:"lists"`
}

// KeywordsSpec asks for keywords of the request (site, app, content, user); case
// does not matter.
type KeywordsSpec struct {
	Any  []string `yaml:"any"`  // one of these is there
	None []string `yaml:"none"` // and none of these
}

// RequestSpec names segments of user.data.
type RequestSpec struct {
	Provider string   `yaml:"provider"` // data.name, or data.id; empty: any
	SegTax   int      `yaml:"segtax"`   // taxonomy; 0: any
	IDs      []string `yaml:"ids"`      // one of these; required
}

// DealsSpec says which private deals the line bids on (OpenRTB 2.6 §3.2.12): a
// list of ids, or the words any or only, or a table.
type DealsSpec struct {
	IDs  []string `yaml:"ids"`  // these deals
	Any  bool     `yaml:"any"`  // any deal that is offered to our seat
	Only bool     `yaml:"only"` // no open bid beside them
}

// UnmarshalYAML reads a list of ids, the word any, the word only, or a table.
func (d *DealsSpec) UnmarshalYAML(unmarshal func(any) error) error {
	var ids []string
	if unmarshal(&ids) == nil {
		*d = DealsSpec{IDs: ids}
		return nil
	}
	var word string
	if unmarshal(&word) == nil {
		switch word {
		case "any":
			*d = DealsSpec{Any: true}
		case "only":
			*d = DealsSpec{Any: true, Only: true}
		default:
			return fmt.Errorf("cannot read deals: got %q; want any, only, or a list of deal ids", word)
		}
		return nil
	}
	type table DealsSpec
	return unmarshal((*table)(d))
}

// SafetySpec keeps lines off places. The advertiser's, the campaign's and the
// line's are added up: what one of them forbids is forbidden.
type SafetySpec struct {
	BlockCat        []string `yaml:"block_cat"`                       // categories of site, page and content: IAB25 of Content Taxonomy 1.0 with its children, 7:483 of taxonomy 7
	BlockWords      []string `yaml:"block_words" config:"lists"`      // words in the page's address; a phrase in words that follow each other; file:name
	BlockDomains    []string `yaml:"block_domains" config:"lists"`    // as inventory.domains
	BlockBundles    []string `yaml:"block_bundles" config:"lists"`    // as inventory.bundles
	BlockPublishers []string `yaml:"block_publishers" config:"lists"` // publisher ids, exactly; exchange/id for one exchange's; file:name
	RequireSChain   string   `yaml:"require_schain"`                  // off; valid: a supply chain that is there must hold; complete: there must be a complete one; default off
	RequireAdsTxt   string   `yaml:"require_ads_txt"`                 // off; listed: the seller is in the publisher's ads.txt; direct: as DIRECT; default off
}

// CreativeRef is a creative of a line: its id, or a table.
type CreativeRef struct {
	ID     string   `yaml:"id"`     // id under creatives; required
	Weight *float64 `yaml:"weight"` // share under rotation weighted; 0 to 1000, default 1
	When   WhenSpec `yaml:"when"`   // only for some visitors
}

// WhenSpec narrows a creative to visitors.
type WhenSpec struct {
	Audience string `yaml:"audience"` // who are in it; default all
}

// UnmarshalText reads a creative's id.
func (r *CreativeRef) UnmarshalText(b []byte) error {
	*r = CreativeRef{ID: string(b)}
	return nil
}

// AdjustSpec multiplies the price by what the request is like; factors 0 to 100,
// 0: no bid.
type AdjustSpec struct {
	DeviceType map[string]float64 `yaml:"device.type"` // by types of device
	Domain     map[string]float64 `yaml:"domain"`      // by site, as inventory.domains has them; the closest counts
	Hour       map[string]float64 `yaml:"hour"`        // by hours in the advertiser's zone: "0-6" is midnight to six
}

// DSASpec is what an advertiser discloses where the EU's Digital Services Act
// asks for it (IAB Tech Lab, DSA Transparency).
type DSASpec struct {
	Behalf  string `yaml:"behalf"`  // whose ad it is; 1 to 100 characters; required
	Paid    string `yaml:"paid"`    // who pays; 1 to 100 characters; default behalf
	Domain  string `yaml:"domain"`  // who applied the parameters; default the advertiser's first domain
	Params  []int  `yaml:"params"`  // which: 1 profiling, 2 basic advertising, 3 precise location; default [1, 2]
	Renders bool   `yaml:"renders"` // the creatives show this themselves
}

// AppSpec is the app that a line wants installed or opened.
type AppSpec struct {
	Bundle string   `yaml:"bundle"` // store id, sent as bid.bundle: com.shop.app or 123456789
	SKAdN  SKAdSpec `yaml:"skadn"`  // Apple's attribution; iOS only
}

// SKAdSpec answers SKAdNetwork requests (IAB Tech Lab, SKAdNetwork).
type SKAdSpec struct {
	Network          string `yaml:"network"`           // our ad network id, such as abcd1234.skadnetwork; empty: off
	Campaign         int    `yaml:"campaign"`          // 1 to 100, for versions before 4.0
	SourceIdentifier string `yaml:"source_identifier"` // two to four digits, for version 4.0 and later
	Key              string `yaml:"key" config:"env"`  // PEM of the network's private key (P-256); ${ENV_NAME}
}

// SupplySpec is what is known of supply, for all lines.
type SupplySpec struct {
	Sellers         string   `yaml:"sellers" config:"path"`           // table of ads.txt: domain, asi, sid, DIRECT or RESELLER, separated by tabs
	MissingAdsTxt   string   `yaml:"missing_ads_txt"`                 // refuse or allow a publisher that the table lacks; default refuse
	BlockSellers    []string `yaml:"block_sellers" config:"lists"`    // nodes of supply chains: asi, asi/sid, or file:name
	Crawlers        []string `yaml:"crawlers" config:"lists"`         // parts of user agents: builtin, words, file:name; default none
	InvalidAgents   []string `yaml:"invalid_agents" config:"lists"`   // parts of user agents of programs: builtin, words, file:name; default none
	RequireUA       bool     `yaml:"require_ua"`                      // a request without a plausible user agent is invalid traffic
	DataCentres     []string `yaml:"datacentres" config:"lists"`      // networks of machines: 192.0.2.0/24, file:name
	AllowDomains    []string `yaml:"allow_domains" config:"lists"`    // only these sites; default all
	AllowBundles    []string `yaml:"allow_bundles" config:"lists"`    // only these apps; default all
	BlockDomains    []string `yaml:"block_domains" config:"lists"`    // never these
	BlockBundles    []string `yaml:"block_bundles" config:"lists"`    // never these
	BlockPublishers []string `yaml:"block_publishers" config:"lists"` // never these; as safety.block_publishers
}
