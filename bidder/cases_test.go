package bidder_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebound/bidder"
	"rebound/config"
)

// caseRow is a small request that once got the wrong response, and what is right.
type caseRow struct {
	file     string
	exchange string            // of the configuration; default demo
	replace  map[string]string // in the text of the configuration
	seeds    []seed            // in addition to the visitor
	want     func(r *caseResult) string
}

// caseResult is the response to a case.
type caseResult struct {
	status int
	reason string
	bids   []map[string]any
	body   string
	answer map[string]any
	world  *world
}

func wantNoBid(reason string) func(*caseResult) string {
	return func(r *caseResult) string {
		if len(r.bids) > 0 || r.reason != reason {
			return fmt.Sprintf("%d bids, reason %q; want none, %q", len(r.bids), r.reason, reason)
		}
		return ""
	}
}

// wantNone wants no bid, whatever the furthest reason of other creatives and lines.
func wantNone(r *caseResult) string {
	if len(r.bids) > 0 {
		return r.body + "; want no bid"
	}
	return ""
}

func wantBid(r *caseResult) string {
	if len(r.bids) == 0 {
		return fmt.Sprintf("no bid, reason %q; want a bid", r.reason)
	}
	return ""
}

// wantText wants a bid whose response contains texts, and lacks those that begin
// with an exclamation mark.
func wantText(texts ...string) func(*caseResult) string {
	return func(r *caseResult) string {
		for _, text := range texts {
			text, absent := strings.CutPrefix(text, "!")
			if strings.Contains(r.body, text) == absent {
				return fmt.Sprintf("%s; want %q in it: %v", r.body, text, !absent)
			}
		}
		return wantBid(r)
	}
}

// disclosed is the adrender of the first bid; -1 without a disclosure.
func disclosed(r *caseResult) float64 {
	if len(r.bids) == 0 {
		return -1
	}
	ext, _ := r.bids[0]["ext"].(map[string]any)
	dsa, ok := ext["dsa"].(map[string]any)
	if !ok {
		return -1
	}
	return dsa["adrender"].(float64)
}

var (
	eidLink = []seed{{Link: "eid:id5-sync.com", Value: "ID5-abc"}}
	// priceIn reports whether a field of the first bid holds a price macro.
	priceIn = func(r *caseResult, field string) bool {
		if len(r.bids) == 0 {
			return false
		}
		return strings.Contains(fmt.Sprint(r.bids[0][field]), "AUCTION_PRICE")
	}
)

var caseRows = []caseRow{
	{file: "att-1.json", want: wantNoBid("privacy_lmt")},
	{file: "att-2.json", want: wantNoBid("privacy_lmt")},
	{file: "mspa-notice-not-given-usnat-sharing.json", want: wantNoBid("privacy_gpp")},
	{file: "mspa-notice-not-given-usnat.json", want: wantNoBid("privacy_gpp")},
	{file: "mspa-service-provider-usca.json", want: wantNoBid("privacy_gpp")},
	{file: "mspa-service-provider-usmd.json", want: wantNoBid("privacy_gpp")},
	{file: "mspa-service-provider-usnat-v2.json", want: wantNoBid("privacy_gpp")},
	{file: "tcf-global-scope.json", want: wantNoBid("privacy_gdpr")},
	{file: "tcf23-missing-disclosed-new.json", want: wantNoBid("privacy_gdpr")},
	{file: "blocklist-joined-badv-in-list.json", want: wantNoBid("advertiser_blocked")},
	{file: "blocklist-joined-badv-one-text.json", want: wantNoBid("advertiser_blocked")},
	{file: "blocklist-joined-bcat-in-list.json", want: wantNoBid("category")},
	{file: "btype-js-blocked.json", want: wantBid},
	{file: "btype-xhtml-blocked.json", want: wantNoBid("attribute")},
	{file: "bundle-spellings.json", replace: map[string]string{"block_domains: [blocked.example]": `block_bundles: ["123456789", com.bad.app]`}, want: wantNoBid("site_blocked")},
	{file: "idn-badv-subdomain.json", seeds: []seed{{Visitor: "KNOWN", Advertiser: "idn", Event: "view_item"}}, want: wantNone},
	{file: "idn-badv-unicode.json", seeds: []seed{{Visitor: "KNOWN", Advertiser: "idn", Event: "view_item"}}, want: wantNone},
	{file: "idn-block-domains.json", exchange: "px", replace: map[string]string{"[blocked.example]": "[xn--bcher-kva.example]"}, want: wantNoBid("site_blocked")},
	{file: "schain-26-good-25-bad.json", want: wantNoBid("schain")},
	{file: "schain-empty-26-hides-25.json", want: func(r *caseResult) string {
		if r.answer["nbr"] != 17.0 {
			return fmt.Sprintf("nbr %v; want 17", r.answer["nbr"])
		}
		return wantNoBid("schain")(r)
	}},
	{file: "schain-not-an-object.json", want: wantNoBid("schain")},
	{file: "eids-both-places.json", seeds: eidLink, want: wantBid},
	{file: "eids-both-places-unknown-id.json", seeds: eidLink, want: wantBid},
	{file: "dsa-both-render.json", exchange: "px", replace: map[string]string{"params: [1, 2]}": "params: [1, 2], renders: true}"}, want: func(r *caseResult) string {
		if disclosed(r) != 0 {
			return fmt.Sprintf("adrender %v; want 0", disclosed(r))
		}
		return wantBid(r)
	}},
	{file: "dsa-neither-renders.json", want: func(r *caseResult) string {
		if disclosed(r) != -1 {
			return fmt.Sprintf("adrender %v; want no disclosure", disclosed(r))
		}
		return wantBid(r)
	}},
	{file: "dsa-pubrender-absent.json", want: func(r *caseResult) string {
		if disclosed(r) != 0 {
			return fmt.Sprintf("adrender %v; want 0", disclosed(r))
		}
		return wantBid(r)
	}},
	{file: "banner-image-jpg.json", replace: map[string]string{"https://shop.example/i.png\", alt": "https://shop.example/i.jpg\", alt"}, want: wantBid},
	{file: "google-video-click-macro.json", exchange: "google", want: wantText("<ClickThrough><![CDATA[https://edge.shop.example/v1/c?k=", "!CLICK_URL")},
	{file: "bidswitch-ext-protocol.json", exchange: "bidswitch", want: wantText(`"ext":{"protocol":"5.3"}`)},
	{file: "bidswitch-two-price-macros.json", exchange: "bidswitch", want: func(r *caseResult) string {
		if !priceIn(r, "burl") || priceIn(r, "nurl") == priceIn(r, "adm") {
			return r.body + "; want the price macro in burl, and in one of nurl and adm"
		}
		return wantBid(r)
	}},
	{file: "bidswitch-s2s-nurl.json", exchange: "bidswitch", want: func(r *caseResult) string {
		if priceIn(r, "adm") {
			return r.body + "; want no price macro in adm"
		}
		return wantBid(r)
	}},
	{file: "bidswitch-clktrkrq.json", exchange: "bidswitch", want: wantNone}, // see examples/exchanges/bidswitch.yaml
	{file: "bidswitch-vast-in-adm.json", exchange: "bidswitch", want: wantNone},
	{file: "bidswitch-ifa-in-buyeruid.json", exchange: "bidswitch", seeds: []seed{{Visitor: "KNOWN", Link: "ifa", Value: "aebe52e7-03ee-455a-b3c4-e57283966239"}}, want: wantBid},
	{file: "xandr-banner-adm.json", exchange: "xandr", want: wantText(`"crid":"html-`, `!"adm"`)},
	{file: "xandr-video-adm.json", exchange: "xandr", want: wantText(`"crid":"film-`, `!"adm"`)},
	{file: "prebid25-b64-macro.json", exchange: "prebid25", want: wantText("${AUCTION_PRICE}", "!AUCTION_PRICE:B64", `!"burl"`)},
	{file: "cross-currency-vnd.json", exchange: "g", replace: map[string]string{"": "currency.yaml"}, want: func(r *caseResult) string {
		if len(r.bids) == 0 || r.bids[0]["price"] != 3.6*26300 || r.answer["cur"] != "VND" { // 3.60 USD for a view a minute ago
			return fmt.Sprintf("%s, reason %q; want 94680 VND", r.body, r.reason)
		}
		return ""
	}},
	{file: "multi-imp-one-bid.json", want: func(r *caseResult) string {
		if len(r.bids) != 3 {
			return fmt.Sprintf("%d bids: %s; want one for each of the three slots", len(r.bids), r.body)
		}
		return ""
	}},
	{file: "deal-line-and-open-line.json", exchange: "g", replace: map[string]string{"": "two-lines.yaml"}, want: func(r *caseResult) string {
		if len(r.bids) != 2 || r.bids[0]["dealid"] != "deal-1" || r.bids[1]["dealid"] != nil {
			return fmt.Sprintf("%d bids: %s; want one under the deal and an open one", len(r.bids), r.body)
		}
		return ""
	}},
}

// sharedCases finds the folder of the cases, where there is one next to the
// repository.
func sharedCases(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if cases := filepath.Join(dir, "shared", "cases", "protocol"); exists(cases) {
			return cases
		}
		dir = filepath.Dir(dir)
	}
	t.Skip("no cases here")
	return ""
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestCases replays the cases with the example profiles of their exchanges.
func TestCases(t *testing.T) {
	dir := sharedCases(t)
	for _, row := range caseRows {
		t.Run(strings.TrimSuffix(row.file, ".json"), func(t *testing.T) {
			if wrong := row.want(row.run(t, dir)); wrong != "" {
				t.Errorf("got %s", wrong)
			}
		})
	}
}

func (row *caseRow) run(t *testing.T, dir string) *caseResult {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	w.snapshot = row.load(t, dir, w.now)
	w.open()
	w.seed(append([]seed{{Visitor: "KNOWN", Event: "view_item", Items: []string{"SKU1"}, Ago: time.Minute}}, row.linked()...))
	w.tick()
	text, err := os.ReadFile(filepath.Join(dir, row.file))
	if err != nil {
		t.Fatal(err)
	}
	var wrapped struct{ Request json.RawMessage }
	if err := json.Unmarshal(text, &wrapped); err != nil {
		t.Fatal(err)
	}
	body := []byte(strings.ReplaceAll(string(text), "VISITOR", "KNOWN"))
	if wrapped.Request != nil {
		body = []byte(strings.ReplaceAll(string(wrapped.Request), "VISITOR", "KNOWN"))
	}
	a := w.bidder.Answer(&bidder.Request{Exchange: orText(row.exchange, "demo"), Body: body, Arrival: w.now}, bidder.NewDecision())
	r := &caseResult{status: a.Status, reason: a.Reason.String(), body: unquote(a.Body), world: w}
	if len(a.Body) > 0 {
		if err := json.Unmarshal(a.Body, &r.answer); err != nil {
			t.Fatalf("%s: %v", a.Body, err)
		}
		r.bids = bidsOf(r.answer)
	}
	return r
}

// unquote undoes the quoting of markup, so that texts in it can be searched.
func unquote(body []byte) string { return strings.ReplaceAll(string(body), `\"`, `"`) }

// linked are the row's seeds, which belong to the visitor of the cases.
func (row *caseRow) linked() []seed {
	var out []seed
	for _, s := range row.seeds {
		s.Visitor = "KNOWN"
		out = append(out, s)
	}
	return out
}

// load loads the configuration of a case: c.yaml with the example profiles that it
// lacks, or the file that the row names.
func (row *caseRow) load(t *testing.T, dir string, now time.Time) *config.Snapshot {
	t.Helper()
	for _, name := range []string{"GOOGLE_PRICE_ENCRYPTION", "GOOGLE_PRICE_INTEGRITY"} {
		t.Setenv(name, strings.Repeat("A", 43))
	}
	files := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS(".."), "examples", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		files[name] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(shared) == 0 {
		t.Fatalf("no configurations in %s: %v", dir, err)
	}
	name := orText(row.replace[""], "c.yaml")
	for _, file := range shared {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "PROJECT/", "")
		if filepath.Base(file) == "c.yaml" {
			var more strings.Builder
			for _, id := range []string{"google", "bidswitch", "xandr", "prebid25"} {
				fmt.Fprintf(&more, "  - {id: %s, include: examples/exchanges/%s.yaml, seat: \"1234\", sources: [127.0.0.0/8], requires_approval: false}\n", id, id)
			}
			text = strings.Replace(text, "advertisers:\n", more.String()+"advertisers:\n", 1)
			for old, with := range row.replace {
				if old != "" && !strings.Contains(text, old) {
					t.Fatalf("c.yaml lacks %q", old)
				}
				if old != "" {
					text = strings.Replace(text, old, with, 1)
				}
			}
		}
		files[filepath.Base(file)] = &fstest.MapFile{Data: []byte(text)}
	}
	s, err := config.LoadFS(files, name, config.Options{Now: now, Getenv: os.LookupEnv})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The bundle case names further spellings.
func TestCaseSiblingsOfBundles(t *testing.T) {
	dir := sharedCases(t)
	row := caseRow{replace: map[string]string{"block_domains: [blocked.example]": "block_bundles: [\"123456789\"]\n  block_domains: [blocked.example]"}}
	w := &world{t: t, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	w.snapshot = row.load(t, dir, w.now)
	w.open()
	w.seed([]seed{{Visitor: "KNOWN", Event: "view_item", Ago: time.Minute}})
	w.tick()
	for _, app := range []string{`"bundle":"id123456789"`, `"storeurl":"https://apps.apple.com/us/app/x/id123456789"`, `"bundle":"com.ok","domain":"blocked.example"`} {
		body := `{"id":"r1","at":1,"tmax":300,"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]}}],"device":{"ua":"Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0 Safari/537.36",` +
			`"geo":{"country":"CAN"}},"user":{"buyeruid":"KNOWN"},"app":{` + app + `}}`
		a := w.bidder.Answer(&bidder.Request{Exchange: "demo", Body: []byte(body), Arrival: w.now}, bidder.NewDecision())
		if a.Reason.String() != "site_blocked" {
			t.Errorf("%s: got %q; want site_blocked", app, a.Reason)
		}
	}
}
