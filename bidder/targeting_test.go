package bidder_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"rebound/bidder"
	"rebound/campaigns"
	"rebound/rtb"
)

// everything is a line with every kind of targeting, all of which asked matches.
var everything = map[string]any{
	"geo":       map[string]any{"include": []any{"CA", map[string]any{"lat": 43.65, "lon": -79.38, "km": 50}}, "exclude": []any{"MX"}},
	"device":    map[string]any{"types": []any{"desktop"}, "os": []any{"linux"}, "browsers": []any{"chrome"}, "languages": []any{"en"}},
	"inventory": map[string]any{"app": false, "domains": map[string]any{"include": []any{"pub.example"}, "exclude": []any{"bad.example"}}, "positions": []any{"above_fold"}, "min_viewability": 0.5, "rewarded": "refuse"},
	"daypart":   []any{"mon-sun 0-24", "mon-fri 8-18 user"},
	"keywords":  map[string]any{"any": []any{"shoes"}, "none": []any{"recall"}},
	"safety": map[string]any{"block_cat": []any{"IAB25"}, "block_words": []any{"crash", "gun control"}, "block_domains": []any{"bad.example"},
		"block_publishers": []any{"p9", "demo/p8"}, "require_schain": "complete", "require_ads_txt": "direct"},
	"request_segments": []any{map[string]any{"ids": []any{"vip"}}},
	"match_methods":    []any{0, 1, 2},
	"deals":            []any{"d1"},
	"bid":              map[string]any{"cpm": 2, "max_cpm": 5, "adjust": map[string]any{"device.type": map[string]any{"desktop": 1.1}, "domain": map[string]any{"pub.example": 1.2}, "hour": map[string]any{"0-12": 1.0, "12-24": 1.0}}},
}

const asked = `{"device":{"language":"en","geo":{"region":"ON","lat":43.66,"lon":-79.39,"utcoffset":-240}},
	"site":{"keywords":"shoes","cat":["IAB1"],"page":"https://pub.example/news/a-quiet-day"},
	"user":{"data":[{"name":"x","segment":[{"id":"vip"}]}]},
	"source":{"schain":{"ver":"1.0","complete":1,"nodes":[{"asi":"exchange.example","sid":"p1"}]}}}`

const askedImp = `{"banner":{"pos":1},"metric":[{"type":"viewability","value":0.7}]}`

func demanding(t testing.TB) *world {
	return newWorld(t, &scenario{
		Campaign: map[string]any{"budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}},
		Exchange: map[string]any{"schain_asi": []any{"exchange.example"}},
		Config: map[string]any{"supply": map[string]any{"sellers": "supply.tsv", "crawlers": []any{"builtin"}, "invalid_agents": []any{"builtin"}, "require_ua": true,
			"datacentres": []any{"198.51.100.0/24"}, "block_sellers": []any{"bad.example"}, "allow_domains": []any{"pub.example"}}},
		Files: map[string]string{"supply.tsv": "pub.example\texchange.example\tp1\tDIRECT\n"},
		Line:  everything,
	})
}

// A line with every kind of targeting allocates no more than a line without, whether
// it bids or not.
func TestTargetingAllocatesNothing(t *testing.T) {
	if raceOn {
		t.Skip("allocation counts differ under the race detector")
	}
	w := demanding(t)
	b, s := w.bare(), bidder.NewDecision()
	for _, c := range []struct {
		name    string
		request string
		imp     string
		want    rtb.NoBidReason
		most    float64
	}{
		{"bid", asked, askedImp, rtb.NoBidNone, 5},
		{"deal and open", asked, `{"banner":{"pos":1},"metric":[{"type":"viewability","value":0.7}],"pmp":{"deals":[{"id":"d1","bidfloor":1}]}}`, rtb.NoBidNone, 9},
		{"place", strings.Replace(asked, `"region":"ON"`, `"country":"MX"`, 1), askedImp, rtb.NoBidGeo, 0},
		{"device", strings.Replace(asked, `"language":"en"`, `"language":"fr"`, 1), askedImp, rtb.NoBidDevice, 0},
		{"words", strings.Replace(asked, "quiet", "crash", 1), askedImp, rtb.NoBidSiteBlocked, 0},
		{"chain", strings.Replace(asked, `"complete":1`, `"complete":0`, 1), askedImp, rtb.NoBidSChain, 0},
		{"seller", strings.Replace(asked, `"sid":"p1"`, `"sid":"p2"`, 1), askedImp, rtb.NoBidAdsTxt, 0},
		{"position", asked, `{"banner":{"pos":3}}`, rtb.NoBidInventory, 0},
		{"machine", strings.Replace(asked, `"device":{`, `"device":{"ip":"198.51.100.7",`, 1), askedImp, rtb.NoBidInvalidTraffic, 0},
		{"crawler", strings.Replace(asked, `"device":{`, `"device":{"ua":"Mozilla/5.0 (compatible; Googlebot/2.1)",`, 1), askedImp, rtb.NoBidCrawler, 0},
	} {
		body := w.requestBody(&call{Request: c.request, Imp: c.imp})
		var a bidder.Response
		rq := bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}
		n := math.Inf(1)
		for range 5 {
			runtime.Gosched() // for the goroutine that fills the cache of visitors
			n = min(n, testing.AllocsPerRun(100, func() { a = b.Answer(&rq, s) }))
		}
		if a.Reason != c.want || n > c.most {
			t.Errorf("%s: got %q with %v allocations; want %q with at most %v", c.name, a.Reason, n, c.want, c.most)
		}
	}
}

// Each creative gets its share of requests, and the same draw selects the same
// creative.
func TestRotationKeepsItsShares(t *testing.T) {
	cr := func(id string) map[string]any {
		return map[string]any{"id": id, "advertiser": "shop", "type": "html", "size": "300x250", "language": "en", "click_url": "https://shop.example/", "html": `<a href="{{click}}">` + id + `</a>`}
	}
	weighted := func(id string, w float64) map[string]any { return map[string]any{"id": id, "weight": w} }
	for _, c := range []struct {
		line map[string]any
		want [3]float64
	}{
		{map[string]any{"rotation": "even", "creatives": []any{"a", "b", "c"}}, [3]float64{1. / 3, 1. / 3, 1. / 3}},
		{map[string]any{"rotation": "weighted", "creatives": []any{weighted("a", 1), weighted("b", 2), weighted("c", 5)}}, [3]float64{1. / 8, 2. / 8, 5. / 8}},
		{map[string]any{"creatives": []any{"a", "b", "c"}}, [3]float64{1, 0, 0}},
	} {
		world := func() *world {
			return newWorld(t, &scenario{
				Campaign: map[string]any{"budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}},
				Config:   map[string]any{"creatives": []any{cr("a"), cr("b"), cr("c")}}, Line: c.line,
			})
		}
		w, other := world(), world()
		s, b, twin := bidder.NewDecision(), w.bare(), other.bare()
		const n = 4000
		var got [3]float64
		source := &steps{}
		for range n {
			at := source.n
			first := shown(t, b, s, w, source)
			source.n = at
			if again := shown(t, twin, s, other, source); again != first {
				t.Fatalf("the same draws show %d, then %d", first, again)
			}
			source.n = at + 1000
			got[first] += 1. / n
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 0.03 {
				t.Errorf("%v: got shares %v; want %v", c.line["rotation"], got, c.want)
				break
			}
		}
	}
}

// steps is a source that can be reset.
type steps struct{ n uint64 }

func (s *steps) Uint64() uint64 {
	s.n++
	h := s.n * 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func shown(t *testing.T, b *bidder.Bidder, s *bidder.Decision, w *world, source bidder.Source) int {
	t.Helper()
	rq := bidder.Request{Exchange: "demo", Body: w.r0, Arrival: w.now, Source: source}
	if a := b.DryRun(&rq, s); a.Offers != 1 {
		t.Fatalf("got %+v; want a bid", a.Reason)
	}
	return int(s.Outcome().Bids[0].Creative.ID[0] - 'a')
}

// The SKAdNetwork signatures are valid for the network's key over the response's fields.
func TestSKAdNetworkIsSigned(t *testing.T) {
	text, err := os.ReadFile("testdata/scenarios/R22-skadnetwork.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sc := parseScenarios(t, text)[0]
	w := newWorld(t, &sc)
	w.send(&call{Imp: `{"ext":{"skadn":{"versions":["4.0"],"sourceapp":"888","skadnetids":["abcd1234.skadnetwork"]}}}`})
	var answer struct {
		SeatBid []struct {
			Bid []struct {
				Ext struct {
					SKAdN struct {
						Version, Network, SourceIdentifier, ITunesItem, SourceApp string
						Fidelities                                                []struct {
							Fidelity                    int
							Nonce, Timestamp, Signature string
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(w.body, &answer); err != nil {
		t.Fatalf("%v in %s", err, w.body)
	}
	a := answer.SeatBid[0].Bid[0].Ext.SKAdN
	key := w.snapshot.Index.Line(rtb.LineID{Advertiser: "shop", Campaign: "c0", Line: "l0"}).App.SKAdN.Key
	if len(a.Fidelities) != 2 || a.Fidelities[0].Nonce == a.Fidelities[1].Nonce {
		t.Fatalf("got %+v; want two with nonces of their own", a)
	}
	for _, f := range a.Fidelities {
		signed := strings.Join([]string{a.Version, a.Network, a.SourceIdentifier, a.ITunesItem, f.Nonce, a.SourceApp, fmt.Sprint(f.Fidelity), f.Timestamp}, "\u2063")
		sum := sha256.Sum256([]byte(signed))
		raw, err := base64.StdEncoding.DecodeString(f.Signature)
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, sum[:], raw) {
			t.Errorf("fidelity %d: the signature is not the network's: %v", f.Fidelity, err)
		}
		if f.Timestamp != fmt.Sprint(w.now.UnixMilli()) || f.Nonce != strings.ToLower(f.Nonce) || len(f.Nonce) != 36 || f.Nonce[14] != '4' {
			t.Errorf("got nonce %q at %q", f.Nonce, f.Timestamp)
		}
	}
}

// An approval that arrives while the bidder runs takes effect with the next catalog,
// and only for the content that was approved.
func TestApprovalsAreSwappedIn(t *testing.T) {
	w := newWorld(t, &scenario{Exchange: map[string]any{"requires_approval": true}})
	try := func(list []campaigns.Approval) string {
		c := w.bidder.Catalog()
		w.bidder.Swap(&bidder.Catalog{Hash: c.Hash, Exchanges: c.Exchanges, Index: c.Index, Policy: c.Policy, Approvals: w.snapshot.Approve(list)})
		w.send(&call{})
		return w.reason.String()
	}
	crid := w.snapshot.CreativeIndex["cr0"].CRID
	for _, c := range []struct {
		state, crid, want string
	}{{"approved", "", ""}, {"approved", crid, ""}, {"rejected", crid, "creative_pending"},
		{"pending", "", "creative_pending"}, {"auto", "", "creative_pending"}} {
		if got := try([]campaigns.Approval{{Creative: "cr0", Exchange: "demo", State: "rejected"}, {Creative: "cr0", Exchange: "demo", State: c.state, CRID: c.crid}}); got != c.want {
			t.Errorf("%+v: got %q; want %q", c, got, c.want)
		}
	}
	if got := try([]campaigns.Approval{{Creative: "cr0", Exchange: "demo", State: "approved", CRID: "cr0-000000000000"}}); got != "creative_pending" {
		t.Errorf("an approval of another content: got %q; want creative_pending", got)
	}
}

// The record holds the price factor of the request, and why a line was dropped.
func TestTheRecordHoldsTheAdjustment(t *testing.T) {
	w := newWorld(t, &scenario{Line: map[string]any{"bid": map[string]any{"cpm": 2, "max_cpm": 5, "adjust": map[string]any{"domain": map[string]any{"pub.example": 1.5}}}}})
	w.send(&call{})
	if r := w.records.last; r == nil || len(r.Decision.Bids) != 1 || r.Decision.Bids[0].Factors.Adjust != 1.5 || r.Decision.Bids[0].Price != 3_000_000 {
		t.Errorf("got %+v", r)
	}
}

// BenchmarkTargeting answers requests for a line without targeting and for one with
// every kind of it.
func BenchmarkTargeting(b *testing.B) {
	for name, w := range map[string]*world{"nothing asked": lasting(b), "everything asked": demanding(b)} {
		b.Run(name, func(b *testing.B) {
			bid, s := w.bare(), bidder.NewDecision()
			body := w.requestBody(&call{Request: asked, Imp: askedImp})
			rq := bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}
			b.ReportAllocs()
			for b.Loop() {
				if a := bid.DryRun(&rq, s); a.Offers != 1 {
					b.Fatalf("got %q", a.Reason)
				}
			}
		})
	}
}

// A line with a goal bids what a click is worth times its estimated rate. The record
// shows what the estimate rests on, and the claims carry what its outcome teaches.
func TestALineWithAGoalBidsItsEstimate(t *testing.T) {
	w := newWorld(t, &scenario{Line: map[string]any{"bid": map[string]any{"strategy": "cpc", "target": 0.5, "cpm": 2, "max_cpm": 5}}})
	w.send(&call{})
	r := w.records.last
	if r == nil || len(r.Decision.Bids) != 1 {
		t.Fatalf("got %+v, reason %s; want a bid", r, w.reason)
	}
	b := r.Decision.Bids[0]
	e := &b.Factors.Estimate
	if e.Click < 0.003 || e.Click > 0.005 || e.Deviation < 0.3 || e.Draw <= 0 || e.Data > 0.1 || e.Target != 500_000 {
		t.Errorf("got the estimate %+v; want a click rate of about 0.4 %%, uncertain and from the cpm", e)
	}
	if want := rtb.CPM(e.Click * 500_000 * 1000 * e.Draw); b.Value < want-1 || b.Value > want+1 || b.Factors.CPM < want-1 || b.Factors.CPM > want+1 {
		t.Errorf("got value %s, factor %s; want %s", b.Value, b.Factors.CPM, want)
	}
	if b.Price > b.Value || b.Price == 0 {
		t.Errorf("got price %s for the value %s", b.Price, b.Value)
	}
}
