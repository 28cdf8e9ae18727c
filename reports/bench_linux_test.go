package reports

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

// countedRecords is the number of records of BenchmarkCount.
const countedRecords = 10_000

// bidLine returns a bid record of about 3 KB with a bid, like those of the load test: 1,000
// lines bid on 400 sites and 120 apps.
func bidLine(n int, at time.Time) string {
	seed := uint64(n)
	random := func(n int) int {
		seed += 0x9e3779b97f4a7c15
		x := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return int((x ^ x>>31) % uint64(n))
	}
	var id rtb.BidID
	for i := range id {
		id[i] = byte(random(256))
	}
	agents := []string{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36", "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"}
	sizes := []string{`"w":300,"h":250`, `"w":728,"h":90`, `"w":320,"h":50`, `"w":160,"h":600`}
	regions := []string{`"country":"CAN","region":"ON"`, `"country":"CAN","region":"QC"`, `"country":"USA","region":"NY"`, `"country":"USA","region":"CA"`, `"country":"GBR"`, `"country":"DEU","region":"BE"`}
	site, line, item := random(400), random(1000), random(200)
	place := fmt.Sprintf(`"site":{"id":"s%d","name":"The Harbour Gazette %d","domain":"site%d.example","page":"https://www.site%d.example/2026/11/harbour-bridge-opens-%d?utm_source=front&utm_campaign=autumn","ref":"https://search.example/?q=harbour+bridge",`+
		`"cat":["IAB12","IAB12-1"],"pagecat":["IAB12-2"],"privacypolicy":1,"mobile":1,"keywords":"bridge,harbour,traffic,city council,transport","publisher":{"id":"p23","name":"Gazette Media","domain":"site%d.example"},`+
		`"content":{"title":"Harbour bridge opens after years of work, part %d","language":"en","cat":["IAB12"],"len":640}}`, site, site, site, site, n, site, n)
	if random(4) == 0 {
		app := random(120)
		place = fmt.Sprintf(`"app":{"id":"a%d","name":"Weather %d","bundle":"com.example.weather%d","domain":"weather%d.example","storeurl":"https://store.example/app?id=com.example.weather%d","cat":["IAB15","IAB15-10"],"ver":"4.2.1","privacypolicy":1,`+
			`"paid":0,"publisher":{"id":"p7","name":"Weather Media","domain":"weather.example"},"keywords":"weather,rain,forecast"}`, app, app, app, app, app)
	}
	return fmt.Sprintf(`{"v":1,"bid_id":"%[1]s","ts":"%[2]s","exchange":"demo","node":"n1","build":"devel","config":"c49091911bdc1a7087f456e45187d16c","activation":"e195d22abdfd499b","pos":{"segments":%[3]d,"money":%[3]d},"sample_weight":1,`+
		`"privacy":{"level":"personalised","signal":"usp","consent_hash":"c401277ce9555b7c","precise_geo":true},"deadline_us":70000,"took_us":49,"inputs":"AgZv4CIt1s2cYuY/oN39B54rnisNAW8=","request":{"id":"lt-ec943732a6c8-%[3]d","at":2,"tmax":100,"cur":["USD"],`+
		`"imp":[{"id":"1","tagid":"/1234/news/article-%[3]d","secure":1,"bidfloor":0.21,"bidfloorcur":"USD","banner":{"format":[{%[4]s}],"pos":1,"topframe":1,"battr":[1,3,6,9,13,14],"btype":[4],"mimes":["image/jpeg","image/png","text/html"]},`+
		`"ext":{"gpid":"/lt-ec943732a6c8/article-5-1"}}],%[5]s,"device":{"ua":"%[6]s","ip":"198.51.100.0","devicetype":%[7]d,"language":"en","w":1920,"h":1080,"dnt":0,"lmt":0,"connectiontype":2,"geo":{%[8]s,"city":"Toronto","zip":"M5V","lat":43.64,"lon":-79.38,"type":2},`+
		`"os":"Windows","osv":"10","sua":{"browsers":[{"brand":"Chromium","version":["130"]},{"brand":"Google Chrome","version":["130"]}],"platform":{"brand":"Windows","version":["10"]},"mobile":0}},"user":{"id":"~rb~6jVWLLahEEZHr7H1KJhrzw","buyeruid":"~rb~xAMiT-PdXWWab5Jtv-d9Zg",`+
		`"eids":[{"source":"pubcid.org","uids":[{"id":"~rb~I9w_RrwF2vPipj5ktEnTuA","atype":1}]},{"source":"uidapi.com","uids":[{"id":"~rb~qFTpdvXS84Tjg5dGCPPMDg","atype":3}]}],"data":[{"id":"dmp-1","name":"example dmp","segment":[{"id":"autos-31"},{"id":"travel-4"}]}]},`+
		`"bcat":["IAB7-39","IAB8-18","IAB8-5","IAB9-9","IAB14-1","IAB25","IAB26"],"badv":["blocked.example","casino.example","adult.example"],"wlang":["en","fr"],"regs":{"coppa":0,"gdpr":0,"us_privacy":"1YNN"},"source":{"fd":1,"tid":"2620418b0870b080",`+
		`"schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"ssp.example","sid":"1201","hp":1},{"asi":"reseller.example","sid":"88","hp":1}]}}},"visitor":{"key":"xAMiT-PdXWWab5Jtv-d9Zg","segments":[{"id":"15082235459751909626","first":1795973284,"last":1795973284,"count":1,"recent":[1795973284]}],`+
		`"products":[{"advertiser":"shop","id":"sku%[9]d","last":1795973284,"kind":1}],"pos":3197},"decision":{"bids":[{"bid_id":"%[1]s","impid":"1","advertiser":"shop","campaign":"k%[10]d","line":"l%[11]d","creative":"c%[10]d-card0","item":"sku%[9]d","price":8.37,"value":8.37,`+
		`"reserved_micros":%[12]d,"expected_micros":2767,"recency_s":%[13]d,"frequency":%[14]d,"factors":{"cpm":4.65,"recency":1.8,"intensity":1,"multiplier":1,"shading":1,"adjust":1,"rate":1,"floor":0.21,"chance":0.699537660622273,"quote":8.37},"draw":0.5027773633072682}],"skipped":4}}`,
		id, at.Format(time.RFC3339Nano), n, sizes[random(len(sizes))], place, agents[random(len(agents))], 1+random(5), regions[random(len(regions))], item, line/10*10, line, 8370+random(1000), 1+random(1_000_000), random(8))
}

// BenchmarkCount counts bid records of a file, without writing the sums.
func BenchmarkCount(b *testing.B) {
	w := newWorld(b)
	lines := make([]string, countedRecords)
	for n := range lines {
		lines[n] = bidLine(n, w.now.Add(time.Duration(n)*time.Millisecond))
	}
	if !json.Valid([]byte(lines[0])) {
		b.Fatalf("got a line that is no JSON: %s", lines[0])
	}
	w.write("bids-1.ndjson", strings.Join(lines, "\n"))
	benchmarkCount(b, w, filepath.Join(w.dir, "bids", "bids-1.ndjson"))
}

func benchmarkCount(b *testing.B, w *world, name string) {
	w.after = time.Hour
	s, ctx := w.open(), context.Background()
	var p Progress
	round := func(limit int64) {
		if err := s.prepareStep(ctx); err != nil {
			b.Fatal(err)
		}
		if err := s.readFile(ctx, name, &p, limit); err != nil {
			b.Fatal(err)
		}
		s.step.reset()
		s.step.unload(func(*batch) bool { return true })
		s.step.grown, s.step.changed = 0, 0
		clear(s.step.st.batches)
	}
	round(math.MaxInt64)
	if s.step.st.broken > 0 || p.Records == 0 {
		b.Fatalf("got %d broken lines and %d records", s.step.st.broken, p.Records)
	}
	p = Progress{}
	b.ReportAllocs()
	began := cpu()
	for b.ResetTimer(); p.Records < int64(b.N); {
		round(int64(b.N))
	}
	b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
}

// BenchmarkDecode reads records of the same kind.
func BenchmarkDecode(b *testing.B) {
	at := time.Date(2026, 10, 1, 2, 30, 0, 0, time.UTC)
	var lines [][]byte
	for n := range 4096 {
		lines = append(lines, []byte(bidLine(n, at.Add(time.Duration(n)*time.Millisecond))))
	}
	var r record
	b.ReportAllocs()
	began := cpu()
	b.ResetTimer()
	for n := range b.N {
		if err := r.decode(lines[n%len(lines)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
}
