package config

import (
	"time"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/internal/spec"
)

// File is the configuration file. Each section may also be in a file that is
// listed under include.
type File struct {
	Version     int                        `yaml:"version"`     // 1; required
	Listen      Listen                     `yaml:"listen"`      // addresses to listen on
	Data        Data                       `yaml:"data"`        // the log and its views
	Logs        Logs                       `yaml:"logs"`        // the NDJSON logs
	Reports     Reports                    `yaml:"reports"`     // how the logs are counted for reports
	Privacy     Privacy                    `yaml:"privacy"`     // privacy policy
	Collect     Collect                    `yaml:"collect"`     // limits of what the public may send to the edge
	Identity    Identity                   `yaml:"identity"`    // external identifiers that are read
	Rates       RatesSpec                  `yaml:"rates"`       // exchange rates; default none: bids only in the advertiser's currency
	Feeds       []FeedSpec                 `yaml:"feeds"`       // product feeds
	Supply      campaigns.SupplySpec       `yaml:"supply"`      // rules about supply for all lines
	Approvals   ApprovalsSpec              `yaml:"approvals"`   // states of creatives at exchanges
	Exchanges   []exchange.ProfileSpec     `yaml:"exchanges"`   // exchanges that send bid requests
	Advertisers []campaigns.AdvertiserSpec `yaml:"advertisers"` // companies that pay for impressions
	Audiences   []audiences.Spec           `yaml:"audiences"`   // rules over visitors' events
	Creatives   []creatives.Spec           `yaml:"creatives"`   // ads
	Campaigns   []campaigns.CampaignSpec   `yaml:"campaigns"`   // campaigns and their lines
}

// Listen is the addresses of the three listeners, as host:port. An empty host
// means all addresses, port 0 any free port.
type Listen struct {
	Bid       string `yaml:"bid"`        // exchanges; default :8080, or 127.0.0.1:8080 while an exchange has no secret or an advertiser has the sample shop's key
	Edge      string `yaml:"edge"`       // browsers and advertisers' servers; default :8081, or 127.0.0.1:8081 as for bid
	Admin     string `yaml:"admin"`      // metrics, budgets, profiles; default 127.0.0.1:8082; any other host than loopback needs a token in REBOUND_ADMIN_TOKEN
	PublicURL string `yaml:"public_url"` // public URL of the edge listener; https, or http on loopback; default http://127.0.0.1 and the edge port

	TLS            TLS           `yaml:"tls"`                            // certificates; default none: http, for instance behind a proxy that ends TLS
	BidLoop        string        `yaml:"bid_loop" enum:"auto,off"`       // auto: event loops serve plain bid requests, on Linux and without tls.bid; off: the HTTP library serves all; default auto
	ProxyProtocol  []string      `yaml:"proxy_protocol" enum:"bid,edge"` // listeners behind a proxy that sends the PROXY protocol, version 2: bid, edge; default none
	TrustedProxies []string      `yaml:"trusted_proxies"`                // networks (CIDR) of proxies whose X-Forwarded-For, X-Forwarded-Proto and PROXY headers count; default none
	DrainDelay     time.Duration `yaml:"drain_delay"`                    // after SIGTERM the bidder is not ready but still serves for this time, so that a load balancer leaves first; at most 5m; default 0s
}

// TLS is the certificates of the listeners that serve https themselves. They are
// loaded again when their files change.
type TLS struct {
	Bid  Certificate `yaml:"bid"`  // default http
	Edge Certificate `yaml:"edge"` // default http
}

// Certificate is a certificate with its chain and its key, both as PEM.
type Certificate struct {
	Cert string `yaml:"cert" config:"path"` // file of the certificate, followed by its chain; required with key
	Key  string `yaml:"key" config:"path"`  // file of the private key; required with cert
}

// Data is where state is kept.
type Data struct {
	Dir          string     `yaml:"dir"`               // folder, relative to the working directory; default ./data
	CacheBytes   spec.Bytes `yaml:"cache_bytes"`       // memory for profiles; default 256MiB
	BidsInFlight int        `yaml:"bids_in_flight"`    // most bids in flight, of about 1 KB of memory each; others are refused as overloaded; 1000 to 100000000, default 1048576
	NATS         string     `yaml:"nats" config:"env"` // URLs of the servers of a NATS cluster that orders the facts, separated by commas; empty: a single node
	Node         string     `yaml:"node" config:"env"` // name of this node, required with nats; default n1
}

// Logs are the two NDJSON logs.
type Logs struct {
	Bids  BidLog  `yaml:"bids"`
	Facts FactLog `yaml:"facts"`
}

// BidLog is where and how bid records are written.
type BidLog struct {
	Dir             string     `yaml:"dir"`               // default log/bids in the data folder
	MaxBytes        spec.Bytes `yaml:"max_bytes"`         // the oldest files are removed beyond it; default 10GiB
	KnownNoBidPct   *float64   `yaml:"known_nobid_pct"`   // percentage of the no-bids for known visitors that is kept; 0 to 100, default 1
	UnknownNoBidPct *float64   `yaml:"unknown_nobid_pct"` // percentage of the other no-bids; 0 to 100, default 0.1
	Off             bool       `yaml:"off"`               // writes no bid records; replay then has nothing to read
}

// FactLog is where the log of facts is and how long its files are kept.
type FactLog struct {
	Dir      string        `yaml:"dir"`       // default log/facts in the data folder
	Keep     time.Duration `yaml:"keep"`      // older files are deleted once they are not needed; at least 8d, default 90d
	MaxBytes spec.Bytes    `yaml:"max_bytes"` // the oldest files that are not needed are deleted beyond it; default 100GiB
}

// Reports is how the logs are counted for reports.
type Reports struct {
	OnDemand bool `yaml:"on_demand"` // counts the logs only when a report is asked for, not in the background; what the logs have deleted by then is missing
}

// Collect limits the events that browsers may send. What exceeds a limit is counted and
// not stored.
type Collect struct {
	EventsPerVisitor    int `yaml:"events_per_visitor"`    // of one visitor in an hour; default 500
	CallsPerAddress     int `yaml:"calls_per_address"`     // from one public IP address in a minute; default 3000
	EventsPerAdvertiser int `yaml:"events_per_advertiser"` // of one advertiser in a second, of browsers and of servers each; default 20000
}

// Privacy is the privacy policy.
type Privacy struct {
	VendorID       int           `yaml:"vendor_id"`                           // our id in the Global Vendor List; 0: all traffic under the GDPR is refused
	UnknownCountry string        `yaml:"unknown_country" enum:"refuse,allow"` // refuse or allow requests without gdpr and country; default refuse
	NoticeTTL      time.Duration `yaml:"notice_ttl"`                          // how long notices are charged, 1h to 7d; default 48h

	GDPRCountries           []string `yaml:"gdpr_countries"`            // countries where a request without gdpr is subject to the GDPR; default EEA, UK, CH
	PurposeOneTreatment     []string `yaml:"purpose_one_treatment"`     // publisher countries whose strings need not have purpose 1; default none
	MinPolicyVersion        int      `yaml:"min_policy_version"`        // oldest TCF policy version whose strings are accepted; default 4
	RequireDisclosedVendors bool     `yaml:"require_disclosed_vendors"` // refuses strings without disclosed vendors
	FlexiblePurposes        []int    `yaml:"flexible_purposes"`         // purposes registered as flexible in the Global Vendor List
	GPCEverywhere           bool     `yaml:"gpc_everywhere"`            // honors Global Privacy Control outside the United States too
	ContextualWithoutBasis  bool     `yaml:"contextual_without_basis"`  // contextual lines may bid without a legal basis under the GDPR
}

// Identity is the external identifiers that are read.
type Identity struct {
	EIDs []EIDSource `yaml:"eids"` // sources of user.eids, most trusted first; others are ignored
}

// EIDSource is one source of user.eids.
type EIDSource struct {
	Source string `yaml:"source"`                   // e.g. id5-sync.com; required
	Mode   string `yaml:"mode" enum:"plain,ignore"` // plain: the id as it is; or ignore; default plain
}

// RatesSpec is the table of exchange rates: as_of (RFC 3339), base (ISO 4217)
// and rates, the value of one unit of base in each currency.
type RatesSpec struct {
	File   string        `yaml:"file" config:"path"` // default no rates
	MaxAge time.Duration `yaml:"max_age"`            // older rates are not used; default 24h
}

// ApprovalsSpec is a file of the states of creatives at exchanges: rows of
// creative, exchange, state (auto, pending, approved, rejected) and, for an
// approval of one content only, crid. States set through the admin API later
// take precedence.
type ApprovalsSpec struct {
	File string `yaml:"file" config:"path"` // default none
}

// FeedSpec is a product feed.
type FeedSpec struct {
	ID         string `yaml:"id"`                 // [a-z0-9][a-z0-9_-]{0,63}; required
	File       string `yaml:"file" config:"path"` // tab-separated values with Merchant field names; required
	MinKeepPct int    `yaml:"min_keep_pct"`       // a reload with a smaller percentage of the valid rows is refused; 1 to 100, default 50
}
