package config

import (
	"time"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/internal/spec"
)

// File is the configuration file. Every section may also stand in a file that is
// named under include.
type File struct {
	Version     int                        `yaml:"version"`     // 1; required
	Listen      Listen                     `yaml:"listen"`      // where to listen
	Data        Data                       `yaml:"data"`        // the log and its views
	Logs        Logs                       `yaml:"logs"`        // the NDJSON logs
	Privacy     Privacy                    `yaml:"privacy"`     // what may be used
	Identity    Identity                   `yaml:"identity"`    // which outside identifiers are read
	Rates       RatesSpec                  `yaml:"rates"`       // exchange rates; none: every bid in its advertiser's currency
	Feeds       []FeedSpec                 `yaml:"feeds"`       // product feeds
	Supply      campaigns.SupplySpec       `yaml:"supply"`      // what is known of supply, for all lines
	Approvals   ApprovalsSpec              `yaml:"approvals"`   // what exchanges say of creatives
	Exchanges   []exchange.ProfileSpec     `yaml:"exchanges"`   // who may ask for bids
	Advertisers []campaigns.AdvertiserSpec `yaml:"advertisers"` // who pays
	Audiences   []audiences.Spec           `yaml:"audiences"`   // rules over visitors' events
	Creatives   []creatives.Spec           `yaml:"creatives"`   // what is shown
	Campaigns   []campaigns.CampaignSpec   `yaml:"campaigns"`   // what is bought
}

// Listen says where the three listeners are; host:port, an empty host means all
// addresses, port 0 any free one.
type Listen struct {
	Bid       string `yaml:"bid"`        // exchanges; default :8080
	Edge      string `yaml:"edge"`       // browsers and advertisers' servers; default :8081
	Admin     string `yaml:"admin"`      // metrics, budgets, profiles; default 127.0.0.1:8082
	PublicURL string `yaml:"public_url"` // how the edge listener is reached from outside; https, or http on loopback; default http://127.0.0.1 and the edge port
}

// Data says where state is kept.
type Data struct {
	Dir        string     `yaml:"dir"`               // folder, relative to the working directory; default ./data
	CacheBytes spec.Bytes `yaml:"cache_bytes"`       // memory for profiles; default 256MiB
	NATS       string     `yaml:"nats" config:"env"` // URL of a NATS cluster that gives the order of facts; empty: this machine alone
	Node       string     `yaml:"node" config:"env"` // name of this node, required with nats; default n1
}

// Logs are the two NDJSON logs.
type Logs struct {
	Bids  BidLog  `yaml:"bids"`
	Facts FactLog `yaml:"facts"`
}

// BidLog says where and how bid records are written.
type BidLog struct {
	Dir             string     `yaml:"dir"`               // default log/bids in the data folder
	MaxBytes        spec.Bytes `yaml:"max_bytes"`         // the oldest files are removed beyond it; default 10GiB
	KnownNoBidPct   *float64   `yaml:"known_nobid_pct"`   // share of the no-bids for known visitors that is kept; 0 to 100, default 1
	UnknownNoBidPct *float64   `yaml:"unknown_nobid_pct"` // share of the other no-bids; 0 to 100, default 0.1
}

// FactLog says where the log of facts is and how long its files are kept.
type FactLog struct {
	Dir      string        `yaml:"dir"`       // default log/facts in the data folder
	Keep     time.Duration `yaml:"keep"`      // files older than this are deleted once nothing needs them; at least 8d, default 90d
	MaxBytes spec.Bytes    `yaml:"max_bytes"` // the oldest files are deleted beyond it, as far as nothing needs them; default 100GiB
}

// Privacy says what may be used.
type Privacy struct {
	VendorID       int           `yaml:"vendor_id"`       // our id in the Global Vendor List; 0: all traffic under the GDPR is refused
	UnknownCountry string        `yaml:"unknown_country"` // refuse or allow, where neither gdpr nor a country is told; default refuse
	NoticeTTL      time.Duration `yaml:"notice_ttl"`      // how long notices count, 1h to 7d; default 48h

	GDPRCountries           []string `yaml:"gdpr_countries"`            // where a request that says nothing of the GDPR is under it; default EEA, UK, CH
	PurposeOneTreatment     []string `yaml:"purpose_one_treatment"`     // publisher countries whose strings need not ask for purpose 1; default none
	MinPolicyVersion        int      `yaml:"min_policy_version"`        // oldest TCF policy whose strings count; default 4
	RequireDisclosedVendors bool     `yaml:"require_disclosed_vendors"` // strings that do not say who was shown to the user do not count
	FlexiblePurposes        []int    `yaml:"flexible_purposes"`         // purposes that we registered as flexible
	GPCEverywhere           bool     `yaml:"gpc_everywhere"`            // Global Privacy Control counts outside the United States too
	ContextualWithoutBasis  bool     `yaml:"contextual_without_basis"`  // contextual lines may bid without any legal basis under the GDPR
}

// Identity says which outside identifiers are read.
type Identity struct {
	EIDs []EIDSource `yaml:"eids"` // sources of user.eids, in the order of trust; others are ignored
}

// EIDSource is one source of user.eids.
type EIDSource struct {
	Source string `yaml:"source"` // e.g. id5-sync.com; required
	Mode   string `yaml:"mode"`   // plain: the id as it stands; ignore; default plain
}

// RatesSpec names the table of exchange rates: as_of (RFC 3339), base (ISO
// 4217) and rates, how much of each currency one unit of base is worth.
type RatesSpec struct {
	File   string        `yaml:"file" config:"path"` // none: no rates
	MaxAge time.Duration `yaml:"max_age"`            // older rates are not used; default 24h
}

// ApprovalsSpec names a file of what exchanges say of creatives: rows of creative,
// exchange, state (auto, pending, approved, rejected) and, where it holds for one
// content only, crid. What the admin API was told later wins.
type ApprovalsSpec struct {
	File string `yaml:"file" config:"path"` // none: creatives' own field and the API alone
}

// FeedSpec is a product feed.
type FeedSpec struct {
	ID         string `yaml:"id"`                 // [a-z0-9][a-z0-9_-]{0,63}; required
	File       string `yaml:"file" config:"path"` // tab separated values with Merchant field names; required
	MinKeepPct int    `yaml:"min_keep_pct"`       // a reload with a smaller share of the good rows is refused; 1 to 100, default 50
}
