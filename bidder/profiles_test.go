package bidder_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebound/bidder"
	"rebound/config"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata/profiles and testdata/explain")

// profileRequests are the requests that are sent to each example profile, by name.
var profileRequests = []struct{ name, imp string }{
	{"banner", `"banner":{"format":[{"w":300,"h":250}]}`},
	{"video", `"video":{"mimes":["video/mp4"],"protocols":[2,3,7],"minduration":5,"maxduration":30,"w":640,"h":360,"linearity":1,"plcmt":1,"startdelay":0}`},
	{"native", `"native":{"ver":"1.2","request":"{\"ver\":\"1.2\",\"assets\":[{\"id\":1,\"required\":1,\"title\":{\"len\":90}},{\"id\":2,\"required\":1,\"img\":{\"type\":3,\"w\":1200,\"h\":627}}],\"eventtrackers\":[{\"event\":1,\"methods\":[1]}]}"}`},
}

const profileConfig = `
version: 1
listen: {public_url: "https://edge.example"}
privacy: {vendor_id: 42, unknown_country: allow}
exchanges:
  - {id: demo, include: profile.yaml, seat: "1234", sources: [127.0.0.0/8], requires_approval: false}
advertisers:
  - {id: shop, domains: [shop.example], currency: USD, timezone: UTC, iab_cat: [IAB22]}
audiences:
  - {id: viewers, advertiser: shop, include: {event: view_item}}
creatives:
  - {id: html, advertiser: shop, type: html, size: 300x250, language: en, iurl: "https://shop.example/i.png", click_url: "https://shop.example/", html: '<a href="{{click}}"><img src="https://shop.example/a.png" alt="shop"></a>'}
  - {id: film, advertiser: shop, type: vast, title: shop, language: en, iurl: "https://shop.example/i.png", duration: 15s, click_url: "https://shop.example/", media: [{url: "https://shop.example/f.mp4", w: 640, h: 360, bitrate: 800}]}
  - {id: native, advertiser: shop, type: native, language: en, iurl: "https://shop.example/i.png", click_url: "https://shop.example/", native: {title: Shop, sponsored: Shop, images: [{type: main, url: "https://shop.example/m.jpg", w: 1200, h: 627}]}}
campaigns:
  - id: c0
    advertiser: shop
    status: active
    budget: {daily: 1000.00, pacing: asap}
    lines:
      - {id: l0, audience: {include: [viewers]}, exclude_converters: off, bid: {cpm: 2.00, max_cpm: 2.00}, frequency: none, min_gap: off, creatives: [html, film, native]}
`

// random are the parts of a response that differ from run to run, or whose exact
// text is not the profile's.
var random = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`k=[A-Za-z0-9_-]{40,}`), "k=TOKEN"},
	{regexp.MustCompile(`k%3D[A-Za-z0-9_-]{40,}`), "k%3DTOKEN"},
	{regexp.MustCompile(`"payload": "[A-Za-z0-9_-]{40,}"`), `"payload": "TOKEN"`},
	{regexp.MustCompile(`"(id|bidid)": "[A-Za-z0-9_-]{22}"`), `"$1": "ID"`},
	{regexp.MustCompile(`"crid": "([a-z]+)-[0-9a-f]{12}"`), `"crid": "$1-HASH"`},
	{regexp.MustCompile(`<Ad id=\\"[A-Za-z0-9_-]{22}\\"`), `<Ad id=\"ID\"`},
}

// Rules R13, M20: what each example profile gets for a banner, a video and a native
// ad, at its own version of OpenRTB. Run with -update to rewrite the files, and
// review what changed.
func TestExampleProfiles(t *testing.T) {
	files, err := filepath.Glob("../examples/exchanges/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("got %v, %v; want the example profiles", files, err)
	}
	for _, name := range []string{"GOOGLE_PRICE_ENCRYPTION", "GOOGLE_PRICE_INTEGRITY", "OPENX_PRICE_ENCRYPTION", "OPENX_PRICE_INTEGRITY"} {
		t.Setenv(name, strings.Repeat("A", 43))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			got := profileResponses(t, file)
			golden := filepath.Join("testdata", "profiles", name+".golden")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; run go test ./bidder -run TestExampleProfiles -update and review the difference; got\n%s", golden, got)
			}
		})
	}
}

// profileResponses are the responses of one profile, formatted and without what is
// random in them.
func profileResponses(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	files := fstest.MapFS{"c.yaml": {Data: []byte(profileConfig)}, "profile.yaml": {Data: text}}
	if w.snapshot, err = config.LoadFS(files, "c.yaml", config.Options{Now: w.now, Getenv: os.LookupEnv}); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.seed([]seed{{Event: "view_item", Ago: time.Hour}})
	w.tick()
	buyeruid := "u-retarget"
	if strings.Contains(string(text), "buyeruid_codec: b64url") {
		buyeruid = "dS1yZXRhcmdldA"
	}
	var out bytes.Buffer
	for _, rq := range profileRequests {
		body := `{"id":"r0","at":1,"tmax":300,"cur":["USD"],"imp":[{"id":"1",` + rq.imp + `,"bidfloor":0.5,"secure":1,"ext":{"billing_id":["7"]}}],` +
			`"site":{"domain":"pub.example","page":"https://pub.example/a"},"device":{"ua":"Mozilla/5.0 (X11; Linux x86_64) Chrome/130","geo":{"country":"CAN"}},"user":{"buyeruid":"` + buyeruid + `"}}`
		a := w.bidder.Answer(&bidder.Request{Exchange: "demo", Body: []byte(body), Arrival: w.now}, bidder.NewDecision())
		fmt.Fprintf(&out, "%s: %d %s\n", rq.name, a.Status, a.Reason)
		if len(a.Body) == 0 {
			continue
		}
		if err := json.Indent(&out, a.Body, "", "  "); err != nil {
			t.Fatalf("%s: %v", a.Body, err)
		}
		out.WriteByte('\n')
	}
	normal := out.Bytes()
	for _, r := range random {
		normal = r.pattern.ReplaceAll(normal, []byte(r.with))
	}
	return normal
}
