package campaigns

import "fmt"

// TargetSpec restricts where and when a line may be shown. A field that is left out
// matches everything.
type TargetSpec struct {
	Geo             GeoSpec       `yaml:"geo"`              // location of the device
	Device          DeviceSpec    `yaml:"device"`           // kind of device
	Inventory       InventorySpec `yaml:"inventory"`        // sites, apps and screens
	Daypart         []string      `yaml:"daypart"`          // times: "mon-fri 08-22" in the advertiser's time zone; "sat 10-14:30 user" in the visitor's
	Keywords        KeywordsSpec  `yaml:"keywords"`         // keywords of the request
	RequestSegments []RequestSpec `yaml:"request_segments"` // segments of user.data, at least one of which the request must have
	MM              []int         `yaml:"match_methods"`    // accepted match methods of eids, 0 to 5 (AdCOM); an id without one passes; default all
	Deals           DealsSpec     `yaml:"deals"`            // private deals: ids, any or only; default none
	Safety          SafetySpec    `yaml:"safety"`           // in addition to that of the campaign and the advertiser
}

// GeoSpec is where the device must and must not be.
type GeoSpec struct {
	Include []PlaceSpec `yaml:"include"` // in at least one of these
	Exclude []PlaceSpec `yaml:"exclude"` // and in none of these
}

// PlaceSpec is a place: a country code, or a table of which all fields that are
// set must match.
type PlaceSpec struct {
	Country string   `yaml:"country"` // ISO 3166-1, alpha-2 or alpha-3
	Region  string   `yaml:"region"`  // ISO 3166-2 without the country, such as NY; requires country
	City    string   `yaml:"city"`    // as exchanges write it, in any case
	ZIP     string   `yaml:"zip"`     // postcode; a trailing * matches any suffix
	Lat     *float64 `yaml:"lat"`     // centre of a circle, degrees north
	Lon     *float64 `yaml:"lon"`     // degrees east
	KM      float64  `yaml:"km"`      // its radius, 0.1 to 20000; at least 1 to match if privacy forbids exact locations
}

// UnmarshalText accepts a country code.
func (p *PlaceSpec) UnmarshalText(b []byte) error {
	*p = PlaceSpec{Country: string(b)}
	return nil
}

// DeviceSpec restricts the device. Structured hints take precedence over
// the user agent.
type DeviceSpec struct {
	Types     []string `yaml:"types" enum:"phone,tablet,desktop,tv,settopbox,connected,dooh"`                      // phone, tablet, desktop, tv, settopbox, connected, dooh
	OS        []string `yaml:"os" enum:"ios,android,windows,macos,linux,chromeos,tizen,webos,roku,tvos"`           // ios, android, windows, macos, linux, chromeos, tizen, webos, roku, tvos
	Browsers  []string `yaml:"browsers" enum:"chrome,safari,firefox,edge,opera,samsung,yandex,uc,silk,ie,webview"` // chrome, safari, firefox, edge, opera, samsung, yandex, uc, silk, ie, webview
	Languages []string `yaml:"languages"`                                                                          // of the device: en, or en-gb for one region
}

// InventorySpec is where the ad may be shown.
type InventorySpec struct {
	Site           *bool    `yaml:"site"`                                                                            // web sites; default true
	App            *bool    `yaml:"app"`                                                                             // apps; default true
	DOOH           *bool    `yaml:"dooh"`                                                                            // public screens; default true
	Domains        ListSpec `yaml:"domains"`                                                                         // of sites: news.example includes its subdomains, =news.example does not; file:name is a file of domains
	Bundles        ListSpec `yaml:"bundles"`                                                                         // of apps: com.news.app; com.news.* is all with that prefix; file:name is a file of bundles
	Positions      []string `yaml:"positions" enum:"unknown,above_fold,below_fold,header,footer,sidebar,fullscreen"` // unknown, above_fold, below_fold, header, footer, sidebar, fullscreen
	MinViewability float64  `yaml:"min_viewability"`                                                                 // minimum share of viewable impressions, 0 to 1; impressions without a measurement do not pass
	Rewarded       string   `yaml:"rewarded" enum:"allow,refuse,only"`                                               // allow, refuse or only; default allow
}

// ListSpec includes and excludes by lists. If there is an include list, only
// what is on it passes, for sites and apps alike.
type ListSpec struct {
	Include []string `yaml:"include" config:"lists"`
	Exclude []string `yaml:"exclude" config:"lists"`
}

// KeywordsSpec requires keywords of the request (site, app, content, user), in
// any case.
type KeywordsSpec struct {
	Any  []string `yaml:"any"`  // at least one of these
	None []string `yaml:"none"` // and none of these
}

// RequestSpec selects segments of user.data.
type RequestSpec struct {
	Provider string   `yaml:"provider"` // data.name, or data.id; empty: any
	SegTax   int      `yaml:"segtax"`   // taxonomy; 0: any
	IDs      []string `yaml:"ids"`      // at least one of these; required
}

// DealsSpec is the private deals that the line bids on (OpenRTB 2.6 §3.2.12): a
// list of ids, the word any or only, or a table.
type DealsSpec struct {
	IDs  []string `yaml:"ids"`  // these deals
	Any  bool     `yaml:"any"`  // any deal offered to our seat
	Only bool     `yaml:"only"` // no open bids
}

// UnmarshalYAML decodes a list of ids, the word any or only, or a table.
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

// SafetySpec is where lines must not be shown. The rules of the advertiser, the
// campaign and the line all apply.
type SafetySpec struct {
	BlockCat        []string `yaml:"block_cat"`                                // categories of site, page and content: IAB25 of Content Taxonomy 1.0 with its children, 7:483 of taxonomy 7
	BlockWords      []string `yaml:"block_words" config:"lists"`               // words or phrases in the page's address; file:name is a file of words
	BlockDomains    []string `yaml:"block_domains" config:"lists"`             // in the form of inventory.domains
	BlockBundles    []string `yaml:"block_bundles" config:"lists"`             // in the form of inventory.bundles
	BlockPublishers []string `yaml:"block_publishers" config:"lists"`          // publisher ids; exchange/id for one exchange; file:name is a file of ids
	RequireSChain   string   `yaml:"require_schain" enum:"off,valid,complete"` // off; valid: the supply chain, if there is one, must be valid; complete: there must be a complete one; default off
	RequireAdsTxt   string   `yaml:"require_ads_txt" enum:"off,listed,direct"` // off; listed: the seller must be in the publisher's ads.txt; direct: as DIRECT; default off
}

// CreativeRef refers to a creative of a line: by its id, or in a table.
type CreativeRef struct {
	ID     string   `yaml:"id"`     // id under creatives; required
	Weight *float64 `yaml:"weight"` // for rotation weighted; 0 to 1000, default 1
	When   WhenSpec `yaml:"when"`   // limits the creative to some visitors
}

// WhenSpec limits a creative to some visitors.
type WhenSpec struct {
	Audience string `yaml:"audience"` // visitors in this audience; default all
}

// UnmarshalText accepts the id of a creative.
func (r *CreativeRef) UnmarshalText(b []byte) error {
	*r = CreativeRef{ID: string(b)}
	return nil
}

// AdjustSpec multiplies the price by factors that depend on the request, 0 to
// 100; 0 means no bid.
type AdjustSpec struct {
	DeviceType map[string]float64 `yaml:"device.type"` // by device type
	Domain     map[string]float64 `yaml:"domain"`      // by site, in the form of inventory.domains; the most specific counts
	Hour       map[string]float64 `yaml:"hour"`        // by hours in the advertiser's time zone: "0-6" is midnight to six
}

// DSASpec is an advertiser's disclosure under the EU's Digital Services Act
// (IAB Tech Lab, DSA Transparency).
type DSASpec struct {
	Behalf  string `yaml:"behalf"`  // on whose behalf the ad is shown; 1 to 100 characters; required
	Paid    string `yaml:"paid"`    // who pays for the ad; 1 to 100 characters; default behalf
	Domain  string `yaml:"domain"`  // who applied the parameters; default the advertiser's first domain
	Params  []int  `yaml:"params"`  // parameters used: 1 profiling, 2 basic advertising, 3 precise location; default [1, 2]
	Renders bool   `yaml:"renders"` // the creatives show the disclosure themselves
}

// AppSpec is the app that a line advertises.
type AppSpec struct {
	Bundle string   `yaml:"bundle"` // store id, sent as bid.bundle: com.shop.app or 123456789
	SKAdN  SKAdSpec `yaml:"skadn"`  // attribution on iOS
}

// SKAdSpec configures the answers to SKAdNetwork requests (IAB Tech Lab,
// SKAdNetwork).
type SKAdSpec struct {
	Network          string `yaml:"network"`           // our ad network id, such as abcd1234.skadnetwork; empty: off
	Campaign         int    `yaml:"campaign"`          // 1 to 100, for versions before 4.0
	SourceIdentifier string `yaml:"source_identifier"` // two to four digits, for version 4.0 and later
	Key              string `yaml:"key" config:"env"`  // PEM of the network's private key (P-256); ${ENV_NAME}
}

// SupplySpec is the rules about supply that apply to all lines.
type SupplySpec struct {
	Sellers         string   `yaml:"sellers" config:"path"`               // table of ads.txt rows: domain, asi, sid, DIRECT or RESELLER, separated by tabs
	MissingAdsTxt   string   `yaml:"missing_ads_txt" enum:"refuse,allow"` // refuse or allow publishers that are not in the table; default refuse
	BlockSellers    []string `yaml:"block_sellers" config:"lists"`        // nodes of supply chains: asi, asi/sid; file:name is a file of nodes
	Crawlers        []string `yaml:"crawlers" config:"lists"`             // parts of the user agents of crawlers; builtin is the built-in list, file:name a file; default none
	InvalidAgents   []string `yaml:"invalid_agents" config:"lists"`       // parts of the user agents of programs, in the same form; default none
	RequireUA       bool     `yaml:"require_ua"`                          // requests without a plausible user agent are invalid traffic
	DataCentres     []string `yaml:"datacentres" config:"lists"`          // networks of data centres: 192.0.2.0/24; file:name is a file of networks
	AllowDomains    []string `yaml:"allow_domains" config:"lists"`        // only these sites; default all
	AllowBundles    []string `yaml:"allow_bundles" config:"lists"`        // only these apps; default all
	BlockDomains    []string `yaml:"block_domains" config:"lists"`        // never these
	BlockBundles    []string `yaml:"block_bundles" config:"lists"`        // never these
	BlockPublishers []string `yaml:"block_publishers" config:"lists"`     // never these; in the form of safety.block_publishers
}
