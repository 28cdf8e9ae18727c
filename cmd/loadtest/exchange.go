package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"rebound/internal/longrun"
	"rebound/loadtest"
	"rebound/loadtest/mock"
	"rebound/rtb"
)

// exchangeFlags are the flags of the command exchange.
type exchangeFlags struct {
	o                          mock.Options
	rivals, deals, zone        string
	secretEnv                  string
	floor, price               float64
	books, html                string
	remote, quiet, auctionsToo bool
}

// flagSet returns the flags of the command, which set f.
func (f *exchangeFlags) flagSet(stderr io.Writer) *flag.FlagSet {
	fs := newFlagSet("exchange", stderr, "loadtest exchange is an ad exchange: visitors of the shop see ads elsewhere, auctions are held between the bidder and a modelled\n"+
		"competition, notices are sent, ads are clicked and products bought. At the end its books are compared with the bidder's, to the last micro;\n"+
		"the exit status is 1 if they differ.",
		"loadtest exchange --target http://127.0.0.1:8080/openrtb2/demo --duration 30s --rate 200 --html exchange.html")
	o := &f.o
	fs.StringVar(&o.Bidder.Second, "target", "http://127.0.0.1:8080/openrtb2/demo", "bid endpoint for second-price auctions; empty: none")
	fs.StringVar(&o.Bidder.First, "first-target", "", "bid endpoint for first-price auctions, which are then half of all")
	fs.StringVar(&f.secretEnv, "secret-env", "", "name of the environment variable with the exchange's secret, which is sent in X-Rebound-Secret")
	fs.StringVar(&f.rivals, "rivals", "", "bid endpoints of other bidders, separated by commas, which take part in every second-price auction")
	fs.StringVar(&o.Shop.Edge, "edge", "http://127.0.0.1:8081", "edge listener, which receives the visitors' events")
	fs.StringVar(&o.Bidder.Admin, "admin", "http://127.0.0.1:8082", "admin listener, with whose books the exchange compares its own; empty: no comparison")
	fs.StringVar(&o.Bidder.Data, "data", "", "data `folder` of the bidder: its log is compared too, bill by bill")
	fs.StringVar(&o.Shop.Advertiser, "advertiser", "shop", "advertiser whose shop the visitors visit")
	fs.StringVar(&o.Shop.Key, "key", "demo-shop-key", "key for the server events that apps cause")
	fs.IntVar(&o.Shop.Products, "products", 40, "visitors view SKU1 to SKUn")
	fs.IntVar(&o.Pages, "pages", 0, "number of page views; 0: until --duration")
	fs.DurationVar(&o.Duration, "duration", 30*time.Second, "how long pages are viewed; 0: until --pages")
	fs.Float64Var(&o.PerSecond, "rate", 200, "page views per second; 0: as many as possible")
	fs.IntVar(&o.Workers, "workers", 8, "visitors that act at the same time")
	fs.IntVar(&o.Visitors, "visitors", 2000, "number of people")
	fs.Float64Var(&o.ShopperPct, "shopper-pct", 40, "percentage of them who visit the shop")
	fs.Float64Var(&o.AppPct, "app-pct", 25, "percentage of them who use apps, the others use browsers")
	fs.Float64Var(&o.RevisitPct, "revisit-pct", 5, "percentage of a shopper's later page views that are in the shop")
	fs.DurationVar(&o.TMax, "tmax", 150*time.Millisecond, "time within which a bidder must answer")
	fs.Float64Var(&f.floor, "floor", 1.00, "highest floor, CPM")
	fs.Float64Var(&f.price, "price", 2.50, "median of the highest competing bid, CPM")
	fs.Float64Var(&o.Spread, "spread", 0.6, "standard deviation of the logarithm of competing bids")
	fs.Float64Var(&o.DriftPct, "drift-pct", 0, "percentage by which competing bids in first-price auctions have risen at the end")
	fs.StringVar(&f.deals, "deals", "", "deals with a fixed price, such as deal-1=2.50,deal-2=4")
	fs.Float64Var(&o.DealPct, "deal-pct", 0, "percentage of impressions that offer one of --deals")
	fs.Float64Var(&o.Notices.LostPct, "lost-pct", 0, "percentage of notices that are never sent")
	fs.Float64Var(&o.Notices.LatePct, "late-pct", 0, "percentage of notices that are sent after --late-delay")
	fs.DurationVar(&o.Notices.LateDelay, "late-delay", 2*time.Second, "delay of late notices")
	fs.Float64Var(&o.Notices.DuplicatePct, "duplicate-pct", 0, "percentage of notices that are sent twice")
	fs.Float64Var(&o.Notices.ReorderedPct, "reordered-pct", 0, "percentage of wins whose bill is sent before the win notice")
	fs.Float64Var(&o.Notices.BilledLossPct, "billed-loss-pct", 0, "percentage of lost auctions that are billed after their loss notice")
	fs.Float64Var(&o.ClickPct, "click-pct", 2, "percentage of rendered ads that are clicked")
	fs.Float64Var(&o.ConvertPct, "convert-pct", 10, "percentage of clicks that lead to an order")
	fs.StringVar(&f.zone, "zone", "America/Toronto", "time zone of the advertiser, in which days begin")
	fs.Uint64Var(&o.Seed, "seed", 1, "the same seed makes the same visitors, auctions and faults")
	fs.StringVar(&f.books, "report", "", "write the books as JSON to this file")
	fs.BoolVar(&f.auctionsToo, "auctions", false, "include every bid and its price to beat in the report")
	fs.StringVar(&f.html, "html", "", "write the report as an HTML page with charts to this file")
	fs.BoolVar(&f.quiet, "quiet", false, "print no line per second")
	fs.BoolVar(&f.remote, "remote", false, "allow a target that is not this machine or a private network; use it only for hosts that you own")
	return fs
}

// options completes and checks the options.
func (f *exchangeFlags) options(stderr io.Writer) (err error) {
	o := &f.o
	o.Now, o.KeepAuctions, o.Bidder.Name = time.Now, f.auctionsToo, "bidder"
	if !(f.floor >= 0 && f.floor <= 1000) || !(f.price >= 0.001 && f.price <= 1000) {
		return fmt.Errorf("cannot use --floor and --price: got %g and %g; want 0 to 1000, and 0.001 to 1000", f.floor, f.price)
	}
	o.FloorMax, o.Competition = rtb.CPM(f.floor*1e6), rtb.CPM(f.price*1e6)
	if o.Zone, err = time.LoadLocation(f.zone); err != nil {
		return fmt.Errorf("cannot use --zone: %w", err)
	}
	if o.Deals, err = parseDeals(f.deals); err != nil {
		return err
	}
	if f.secretEnv != "" {
		if o.Bidder.Secret = os.Getenv(f.secretEnv); o.Bidder.Secret == "" {
			return fmt.Errorf("cannot read --secret-env: the environment variable %s is not set or empty", f.secretEnv)
		}
	}
	for i, u := range strings.Split(f.rivals, ",") {
		if u != "" {
			o.Rivals = append(o.Rivals, mock.Bidder{Name: fmt.Sprintf("rival %d", i+1), Second: u})
		}
	}
	o.Shop.Edge, o.Bidder.Admin = strings.TrimSuffix(o.Shop.Edge, "/"), strings.TrimSuffix(o.Bidder.Admin, "/")
	for _, target := range append(strings.Split(f.rivals, ","), o.Bidder.Second, o.Bidder.First, o.Shop.Edge, o.Bidder.Admin) {
		if target == "" {
			continue
		}
		check := loadtest.OnlyLocal
		if f.remote {
			check = loadtest.ValidateURL
		}
		if err := check(target); err != nil {
			return err
		}
	}
	if !f.quiet {
		o.Progress = func(t mock.Totals) { fmt.Fprintln(stderr, t.Line()) }
	}
	return nil
}

// parseDeals reads deals such as deal-1=2.50.
func parseDeals(text string) (out []mock.Deal, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		id, price, ok := strings.Cut(part, "=")
		v, err := rtb.ParseMicros(price, rtb.RoundUp)
		if !ok || id == "" || url.PathEscape(id) != id || err != nil || v <= 0 {
			return nil, fmt.Errorf("cannot use --deals: got %q; want an id, an equals sign and a price in CPM", part)
		}
		out = append(out, mock.Deal{ID: id, Price: rtb.CPM(v)})
	}
	return out, nil
}

// exchange runs the mock exchange.
func exchange(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := &exchangeFlags{}
	if status, done := parseFlags(f.flagSet(stderr), args, stderr); done {
		return status
	}
	if err := f.options(stderr); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitUsage
	}
	x, err := mock.New(f.o)
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitUsage
	}
	var outputs longrun.Outputs
	outputs.Add("report", f.books)
	outputs.Add("html", f.html)
	err = outputs.Check("")
	var r *mock.Report
	if err == nil {
		if r, err = x.Run(ctx); err == nil {
			err = errors.Join(r.WriteText(stdout), longrun.WriteFile(f.books, r.WriteJSON), longrun.WriteFile(f.html, r.WriteHTML))
		}
	}
	if err = errors.Join(err, outputs.Discard()); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	if !r.Agrees() && r.Comparison.Compared {
		return exitFailed
	}
	return exitDone
}
