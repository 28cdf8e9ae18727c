package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"rebound/campaigns"
	"rebound/config"
	"rebound/creatives"
	"rebound/examples"
	"rebound/rtb"
)

var today = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func loadShop(t testing.TB) *config.Snapshot {
	t.Helper()
	s, err := config.LoadFS(examples.FS, examples.Shop, config.Options{Now: today})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestShopFromDisk checks that the sample is the same embedded and in its folder.
func TestShopFromDisk(t *testing.T) {
	s, err := config.Load("../examples/"+examples.Shop, config.Options{Now: today})
	if err != nil {
		t.Fatal(err)
	}
	if embedded := loadShop(t); embedded.Hash != s.Hash {
		t.Errorf("got hash %s from disk and %s embedded; want the same", s.Hash, embedded.Hash)
	}
}

func TestShopIsWhatTheReadmePromises(t *testing.T) {
	s := loadShop(t)
	a, scopes := s.Index.Authenticate([]byte("demo-shop-key"))
	if a == nil || a.ID != "shop" || !scopes.Has(campaigns.ScopeEvents) || a.Zone.String() != "America/Toronto" || a.Currency != rtb.USD || a.Domains[0] != "shop.example" {
		t.Fatalf("demo-shop-key: got %+v", a)
	}
	if s.Policy.VendorID != 42 || !s.Policy.UnknownCountryAllow {
		t.Errorf("privacy: got %+v", s.Policy)
	}
	for id, first := range map[string]bool{"demo": false, "demo-first": true} {
		p := s.Profiles[id]
		if p == nil || p.Seat != "seat-1" || p.Secret != "" || p.BillingSource(rtb.FormatBanner) != rtb.BillOnBURL || p.FirstPrice(p.At) != first {
			t.Errorf("exchange %s: got %+v", id, p)
		}
	}
	for i := 1; i <= 40; i++ {
		p := s.FeedIndex["main"].Product(fmt.Sprintf("sku%d", i))
		if p == nil || !p.InStock || p.Link.Raw != fmt.Sprintf("https://shop.example/p/SKU%d", i) || len(p.Complements) == 0 {
			t.Errorf("SKU%d: got %+v", i, p)
		}
	}
	for _, id := range []string{"product_viewers", "cart_abandoners", "buyers"} {
		if s.AudienceSet.Audience(id) == nil {
			t.Errorf("no audience %s", id)
		}
	}
	for _, w := range s.Warnings {
		if !strings.Contains(w.Path, "secret") && w.Path != "privacy.unknown_country" {
			t.Errorf("got warning %v", w)
		}
	}
}

var commonSizes = []rtb.Size{{W: 300, H: 250}, {W: 728, H: 90}, {W: 160, H: 600}, {W: 320, H: 50}, {W: 300, H: 600}, {W: 970, H: 250}, {W: 320, H: 100}, {W: 300, H: 50}, {W: 468, H: 60}, {W: 336, H: 280}}

func TestShopLines(t *testing.T) {
	s := loadShop(t)
	order := []string{"cart", "viewed", "win_back"}
	last := 101
	for _, name := range order {
		l := s.Index.Line(rtb.LineID{Advertiser: "shop", Campaign: "autumn", Line: name})
		if l == nil || l.Status != campaigns.StatusActive || l.Priority >= last {
			t.Fatalf("line %s: got %+v; want it active, after the ones before", name, l)
		}
		last = l.Priority
		if len(l.Frequency) != 1 || l.Frequency[0].Max != 1000 || l.Frequency[0].Per != 24*time.Hour || l.Frequency[0].MinGap != 0 {
			t.Errorf("line %s: got %+v; want 1000 per 24h and no gap", name, l.Frequency)
		}
		for _, size := range commonSizes {
			kinds := map[string]bool{}
			for _, c := range l.Creatives {
				if c.HasSize(size) {
					kinds[c.Type] = true
				}
			}
			if !kinds["image"] || !kinds["html"] {
				t.Errorf("line %s: got kinds %v in %dx%d; want image and html", name, kinds, size.W, size.H)
			}
		}
		// A load test of 2,000 requests a second with 30 % bids, at the even pace.
		if pace := l.Campaign.Daily / 86400; pace < 600*rtb.CPM(4_000_000).Cost() {
			t.Errorf("campaign: got %s a second; want enough for 600 bids", pace)
		}
	}
}

// TestShopMarkup renders every creative in every size with every product.
func TestShopMarkup(t *testing.T) {
	s := loadShop(t)
	for id, c := range s.CreativeIndex {
		for _, size := range c.Sizes {
			for _, p := range s.FeedIndex["main"].All() {
				m := creatives.Markup{Size: size, Products: []*creatives.Product{p}, Click: []byte("http://127.0.0.1:8081/v1/c?k=K"),
					Pixel: []byte("http://127.0.0.1:8081/v1/imp?k=P&p=${AUCTION_PRICE}"), Advertiser: "Example Shop", Now: today}
				var got string
				b, _, err := c.AppendQuoted(nil, &m)
				if err == nil {
					err = json.Unmarshal(b, &got)
				}
				if err != nil || !strings.Contains(got, "/v1/c?k=K") || strings.Count(got, "/v1/imp?k=P&amp;p=${AUCTION_PRICE}") != 1 || strings.Contains(got, "{{") {
					t.Fatalf("%s in %v with %s: got %s, %v", id, size, p.ID, got, err)
				}
				if c.NeedsProduct && !strings.Contains(got, p.Title.HTML) {
					t.Errorf("%s: got no title in %s", id, got)
				}
			}
		}
	}
}

// TestShopStory follows a visitor through the sample's lines without a server:
// looks, puts into the cart, buys, comes back after weeks.
func TestShopStory(t *testing.T) {
	s := loadShop(t)
	held := map[string]time.Time{}
	check := func(at time.Time, want map[string]rtb.NoBidReason) {
		t.Helper()
		v := &rtb.Visitor{}
		for id, when := range held {
			sec := rtb.SecondOf(when)
			for _, seg := range s.AudienceSet.Audience(id).Triggers() {
				if v.Segment(seg) != nil {
					continue
				}
				v.Segments = append(v.Segments, rtb.SegmentState{ID: seg, First: sec, Last: sec, Count: 1, Recent: []rtb.Second{sec}})
				for i := len(v.Segments) - 1; i > 0 && v.Segments[i-1].ID > v.Segments[i].ID; i-- {
					v.Segments[i-1], v.Segments[i] = v.Segments[i], v.Segments[i-1]
				}
			}
		}
		var scratch campaigns.Scratch
		got := map[string]rtb.NoBidReason{}
		for _, n := range s.Index.Candidates(v, &scratch) {
			l := s.Index.LiveLine(n)
			got[l.ID.Line] = l.Audience.Match(v, nil, at).Reason
		}
		for line, reason := range want {
			if r, ok := got[line]; !ok || r != reason {
				t.Errorf("%s at %v: got %q (candidate: %v); want %q", line, at, r, ok, reason)
			}
		}
		if len(got) != len(want) {
			t.Errorf("got %v; want %v", got, want)
		}
	}
	check(today, map[string]rtb.NoBidReason{})
	held["product_viewers"] = today.Add(-time.Second)
	check(today, map[string]rtb.NoBidReason{"viewed": rtb.NoBidNone})
	held["cart_abandoners"] = today
	check(today, map[string]rtb.NoBidReason{"viewed": rtb.NoBidNone, "cart": rtb.NoBidNone})
	held["buyers"] = today.Add(time.Second)
	check(today.Add(time.Minute), map[string]rtb.NoBidReason{"viewed": rtb.NoBidAudienceExcluded, "cart": rtb.NoBidAudienceExcluded, "win_back": rtb.NoBidNoAudience})
	check(today.Add(15*24*time.Hour), map[string]rtb.NoBidReason{"viewed": rtb.NoBidAudienceExcluded, "cart": rtb.NoBidAudienceExcluded, "win_back": rtb.NoBidNone})
}
