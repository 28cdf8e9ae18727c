package mock

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"rebound/rtb"
)

// Options describe the exchange, its visitors and the bidders.
type Options struct {
	// Bidder is the one whose books are compared. Rivals are other bidders, which
	// receive the same requests.
	Bidder Bidder
	Rivals []Bidder
	// Shop is where visitors look at products and buy.
	Shop Shop

	// Pages is the number of page views and app screens, visits to the shop included;
	// zero means no limit but Duration.
	Pages int
	// Duration is how long new pages are viewed; zero means until Pages.
	Duration time.Duration
	// PerSecond is the rate of page views; zero means as fast as possible.
	PerSecond float64
	// Workers is the number of visitors that act at the same time; zero means 8.
	Workers int

	// Visitors is the number of people; zero means 2,000. ShopperPct of them visit the
	// shop, AppPct use apps and the others browsers.
	Visitors           int
	ShopperPct, AppPct float64
	// RevisitPct is how many of a shopper's later page views are again in the shop.
	RevisitPct float64

	// TMax is the tmax of requests; a response after it is too late. Zero means 150 ms.
	TMax time.Duration
	// FloorMax is the highest floor; floors lie between a tenth of it and it. Zero means
	// 1.00.
	FloorMax rtb.CPM
	// Competition is the median of the highest competing bid, and Spread the standard
	// deviation of its logarithm. Zero means 1.20 and 0.6.
	Competition rtb.CPM
	Spread      float64
	// DriftPct is by how much competing bids in first-price auctions have risen by the
	// end of the run.
	DriftPct float64
	// DealPct of the impressions offer the deals, at fixed prices.
	DealPct float64
	Deals   []Deal

	Notices Notices

	// ClickPct and ConvertPct are the shares of rendered ads that are clicked, and of
	// clicks that lead to an order.
	ClickPct, ConvertPct float64

	// Zone is the advertiser's time zone, in which the books' days are; nil means UTC.
	Zone *time.Location
	// KeepAuctions keeps the price to beat of every auction with a bid in the books.
	KeepAuctions bool

	Seed   uint64
	Client *http.Client // nil: one with keep-alive connections of its own
	Now    func() time.Time
	// Progress, if not nil, is called about once per second from one goroutine.
	Progress func(Totals)
	// First, if not nil, is called with a sentence about the first of each kind of event:
	// a visit, a bid, a win, a bill, a loss, a click, an order. Workers call it.
	First func(text string)
}

// Bidder is one bidder at the exchange.
type Bidder struct {
	Name string
	// Second and First are the URLs for second-price and first-price auctions; one of
	// them may be empty.
	Second, First string
	Secret        string // sent in X-Rebound-Secret; empty: none
	Admin         string // base URL of its admin listener, for the comparison of books; empty: not compared
	Data          string // its data folder, for the comparison with its log; empty: not compared
}

// Shop is the advertiser whose pixel and server events the visitors trigger.
type Shop struct {
	Advertiser string
	Edge       string // base URL of the edge listener
	Key        string // of server events, which apps cause
	Products   int    // SKU1 to SKUn
}

// Deal is a private deal with a fixed price.
type Deal struct {
	ID    string
	Price rtb.CPM
}

// Notices are the shares of notices with which something goes wrong.
type Notices struct {
	// LostPct of the notices of each kind are never sent.
	LostPct float64
	// LatePct are sent after LateDelay.
	LatePct   float64
	LateDelay time.Duration
	// DuplicatePct are sent twice.
	DuplicatePct float64
	// ReorderedPct of the wins send the bill before the win notice.
	ReorderedPct float64
	// BilledLossPct of the lost auctions are billed after their loss notice.
	BilledLossPct float64
}

// limits of the options.
const (
	maxVisitors = 1_000_000
	maxWorkers  = 1024
)

func (o *Options) setDefaults() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.Workers, 8)
	def(&o.Visitors, 2000)
	def(&o.Shop.Products, 40)
	if o.TMax == 0 {
		o.TMax = 150 * time.Millisecond
	}
	if o.FloorMax == 0 {
		o.FloorMax = 1_000_000
	}
	if o.Competition == 0 {
		o.Competition = 2_500_000
	}
	if o.Spread == 0 {
		o.Spread = 0.6
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Notices.LateDelay == 0 {
		o.Notices.LateDelay = 2 * time.Second
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * o.Workers, MaxConnsPerHost: 0}}
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
}

// validate returns an error if the exchange cannot run.
func (o *Options) validate() error {
	for name, v := range map[string]float64{"shoppers": o.ShopperPct, "apps": o.AppPct, "revisits": o.RevisitPct, "deals": o.DealPct, "clicks": o.ClickPct,
		"conversions": o.ConvertPct, "lost notices": o.Notices.LostPct, "late notices": o.Notices.LatePct, "duplicated notices": o.Notices.DuplicatePct,
		"reordered notices": o.Notices.ReorderedPct, "billed losses": o.Notices.BilledLossPct} {
		if !(v >= 0 && v <= 100) { // NaN too
			return fmt.Errorf("cannot run the exchange: got %g %% %s; want 0 to 100", v, name)
		}
	}
	switch {
	case o.Now == nil:
		return errors.New("cannot run the exchange: got no clock")
	case o.Bidder.Second == "" && o.Bidder.First == "":
		return errors.New("cannot run the exchange: got no bidder")
	case o.Pages < 0 || o.Duration < 0 || o.Pages == 0 && o.Duration == 0:
		return fmt.Errorf("cannot run the exchange: got %d pages and a duration of %s; want one of them", o.Pages, o.Duration)
	case !(o.PerSecond >= 0 && o.PerSecond <= 1e6):
		return fmt.Errorf("cannot run the exchange: got %g pages per second; want 0 to 1000000", o.PerSecond)
	case o.Visitors < 1 || o.Visitors > maxVisitors:
		return fmt.Errorf("cannot run the exchange: got %d visitors; want 1 to %d", o.Visitors, maxVisitors)
	case o.Workers < 1 || o.Workers > maxWorkers:
		return fmt.Errorf("cannot run the exchange: got %d workers; want 1 to %d", o.Workers, maxWorkers)
	case o.FloorMax < 0 || o.FloorMax > rtb.MaxCPM || o.Competition < 1 || o.Competition > rtb.MaxCPM:
		return fmt.Errorf("cannot run the exchange: got a floor of %s and competition of %s; want prices of at most %s", o.FloorMax, o.Competition, rtb.MaxCPM)
	case !(o.Spread > 0 && o.Spread <= 3) || !(o.DriftPct >= -90 && o.DriftPct <= 1000):
		return fmt.Errorf("cannot run the exchange: got a spread of %g and a drift of %g %%; want more than 0 to 3, and -90 to 1000", o.Spread, o.DriftPct)
	case o.DealPct > 0 && len(o.Deals) == 0:
		return errors.New("cannot run the exchange: got a share of deals but no deal")
	}
	return nil
}
