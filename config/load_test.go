package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebound/internal/spec"
	"rebound/loadtest/scale"
	"rebound/rtb"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func getenv(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

// TestAllProblemsAtOnce compares every problem of the bad files with the golden
// ones: file, line, path, the value found, the expectation and the hint.
func TestAllProblemsAtOnce(t *testing.T) {
	files, err := filepath.Glob("testdata/bad_*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s, err := Load(file, Options{})
			var problems spec.Problems
			if s != nil || !errors.As(err, &problems) {
				t.Fatalf("got %v, %v; want spec.Problems", s, err)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func loadGood(t testing.TB) *Snapshot {
	t.Helper()
	s, err := Load("testdata/good.yaml", Options{Getenv: getenv(map[string]string{"DEMO_SECRET": "open-sesame"})})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGood(t *testing.T) {
	s := loadGood(t)
	check := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v; want %v", name, got, want)
		}
	}
	check("bid", s.Listen.Bid, "127.0.0.1:0")
	check("edge, by default", s.Listen.Edge, ":8081")
	check("public URL", s.Listen.PublicURL, "https://t.shop.example")
	check("bytes", s.Data.CacheBytes, spec.Bytes(2<<30))
	check("bids in flight", s.Data.BidsInFlight, 4_000_000)
	check("bid log", s.Logs.Bids.Dir, "data/log/bids")
	check("share", *s.Logs.Bids.UnknownNoBidPct, 0.1)
	check("notice ttl", s.Privacy.NoticeTTL, 48*time.Hour)
	check("policy", []any{s.Policy.VendorID, s.Policy.UnknownCountryAllow}, []any{7, false})
	check("rates", s.Rates, (*rtb.Rates)(nil))

	p := s.Profiles["demo"]
	check("secret", p.SecretOK([]byte("open-sesame")), true)
	check("included", p.Seat, "s1")
	check("own value wins", p.DefaultTMax, 200*time.Millisecond)

	var campaigns []string
	for _, l := range s.Index.Lines() {
		campaigns = append(campaigns, l.ID.Campaign)
	}
	check("sections of two files", campaigns, []string{"autumn", "spring", "winter"})
	l := s.Index.Line(rtb.LineID{Advertiser: "shop", Campaign: "winter", Line: "viewed"})
	check("merge key", []any{l.Campaign.Daily, l.Campaign.Total, l.Bid.MaxCPM, len(l.Frequency)}, []any{rtb.Micros(50_000_000), rtb.Micros(3_000_000_000), rtb.CPM(6_500_000), 0})
	check("start in UTC", l.Start, time.Date(2026, 12, 1, 5, 0, 0, 0, time.UTC))
	check("live", s.Index.Live(), 2)

	check("products", s.FeedIndex["main"].Good, 1)
	check("bad rows", len(s.FeedReports["main"].Skipped), 1)
	check("product", s.FeedIndex["main"].Product("sku1").Title.Raw, "Shoe")
	check("files", s.Files, []string{"testdata/good.yaml", "testdata/parts/banner.html", "testdata/parts/profile.yaml", "testdata/parts/rules.yaml", "testdata/parts/shop.yaml", "testdata/parts/products.tsv"})
	if !slices.ContainsFunc(s.Warnings, func(p spec.Problem) bool {
		return p.File == "testdata/parts/products.tsv" && p.Line == 3 && strings.Contains(p.Got, "evil.example")
	}) {
		t.Errorf("warnings: got %v; want the bad row", s.Warnings)
	}
	if len(s.AudienceSet.Rules()) == 0 {
		t.Error("no rules to remember")
	}
}

func TestHashIsOfTheContent(t *testing.T) {
	base := map[string]string{"a/main.yaml": "version: 1\ninclude: part.yaml\nfeeds: [{id: m, file: m.tsv}]\n", "a/part.yaml": "privacy: {vendor_id: 1}\n",
		"a/m.tsv": "id\ttitle\tlink\timage_link\tprice\tavailability\n"}
	hash := func(dir string, change map[string]string) string {
		t.Helper()
		fsys := fstest.MapFS{}
		for name, text := range base {
			if c, ok := change[name]; ok {
				text = c
			}
			fsys[strings.Replace(name, "a/", dir, 1)] = &fstest.MapFile{Data: []byte(text)}
		}
		s, err := LoadFS(fsys, dir+"main.yaml", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Hash) != 32 {
			t.Errorf("got %q; want 32 digits", s.Hash)
		}
		return s.Hash
	}
	first := hash("a/", nil)
	if again := hash("some/where/", nil); again != first {
		t.Error("the same files in another folder: got another hash")
	}
	if other := hash("a/", map[string]string{"a/part.yaml": "privacy: {vendor_id: 2}\n"}); other == first {
		t.Error("another included file: got the same hash")
	}
	if other := hash("a/", map[string]string{"a/m.tsv": base["a/m.tsv"] + "x\n"}); other != first {
		t.Error("another feed: got another hash")
	}
}

func TestDiff(t *testing.T) {
	a := loadGood(t)
	if d := Diff(a, loadGood(t)); len(d) != 0 {
		t.Errorf("nothing changed: got %q", d)
	}
	fsys := os.DirFS("testdata")
	changed := fstest.MapFS{}
	for _, f := range a.Files {
		name := strings.TrimPrefix(f, "testdata/")
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		changed[name] = &fstest.MapFile{Data: b}
	}
	replace := func(file, from, to string) {
		t.Helper()
		text := string(changed[file].Data)
		if !strings.Contains(text, from) {
			t.Fatalf("%s holds no %q", file, from)
		}
		changed[file].Data = []byte(strings.Replace(text, from, to, 1))
	}
	replace("good.yaml", "max_cpm: 6.5", "max_cpm: 7")
	replace("good.yaml", "vendor_id: 7", "vendor_id: 8")
	replace("good.yaml", "id: winter", "id: snow")
	replace("parts/rules.yaml", "audiences:", "audiences:\n  - {id: buyers, include: {event: purchase}}")
	replace("parts/banner.html", "Shop", "The Shop")
	replace("parts/products.tsv", "evil.example", "shop.example")
	before, err := LoadFS(fsys, "good.yaml", Options{Getenv: getenv(map[string]string{"DEMO_SECRET": "open-sesame"})})
	if err != nil {
		t.Fatal(err)
	}
	after, err := LoadFS(changed, "good.yaml", Options{Getenv: getenv(map[string]string{"DEMO_SECRET": "another-secret"})})
	if err != nil {
		t.Fatal(err)
	}
	crid := func(s *Snapshot) string { return s.CreativeIndex["banner"].CRID }
	want := []string{
		"privacy.vendor_id: 7 -> 8",
		"exchanges[demo].secret: a secret -> another",
		"added audiences[buyers]",
		"campaigns[shop/autumn].lines[viewed].bid.max_cpm: 6.5 -> 7",
		"added campaigns[shop/snow]",
		"removed campaigns[shop/winter]",
		"creative banner: markup changed, crid " + crid(before) + " -> " + crid(after),
		"feed main: 1 products, 1 bad rows -> 2 products, 0 bad rows (1 added, 0 removed, 0 changed)",
	}
	if got := Diff(before, after); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReloadKeepsAFeedThatShrank(t *testing.T) {
	fsys := fstest.MapFS{"c.yaml": {Data: []byte("version: 1\nfeeds: [{id: m, file: m.tsv}]\n")}}
	const header = "id\ttitle\tlink\timage_link\tprice\tavailability\n"
	const tail = "\tShoe\thttps://shop.example/1\thttps://shop.example/1.jpg\t15.00 USD\tin_stock\n"
	fsys["m.tsv"] = &fstest.MapFile{Data: []byte(header + "a" + tail + "b" + tail + "c" + tail)}
	before, err := LoadFS(fsys, "c.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	fsys["m.tsv"] = &fstest.MapFile{Data: []byte(header + "a" + tail)}
	after, err := LoadFS(fsys, "c.yaml", Options{Previous: before})
	if err != nil {
		t.Fatal(err)
	}
	if f := after.FeedIndex["m"]; f.Kept == "" || f.Good != 3 {
		t.Errorf("got %+v; want the three products from before", f)
	}
	if !slices.ContainsFunc(after.Warnings, func(p spec.Problem) bool { return strings.Contains(p.Got, "far fewer") }) {
		t.Errorf("got %v; want a warning", after.Warnings)
	}
}

// TestReloadReleasesThePreviousSnapshot checks that a snapshot does not keep the one
// before it in memory, which would keep the one before that.
func TestReloadReleasesThePreviousSnapshot(t *testing.T) {
	files := sized(t, 10)
	previous, err := LoadFS(files, scale.Main, Options{})
	if err != nil {
		t.Fatal(err)
	}
	released := make(chan struct{})
	runtime.AddCleanup(previous, func(c chan struct{}) { close(c) }, released)
	s, err := LoadFS(files, scale.Main, Options{Previous: previous})
	if err != nil {
		t.Fatal(err)
	}
	if changes := Diff(previous, s); len(changes) > 0 {
		t.Errorf("changes between equal configurations: %v", changes)
	}
	if changes := Diff(previous.StartSettings(), s.StartSettings()); len(changes) > 0 {
		t.Errorf("changes between equal settings: %v", changes)
	}
	previous = nil
	for range 3 { // an object with a finalizer needs more than one cycle
		runtime.GC()
	}
	select {
	case <-released:
	case <-time.After(time.Minute):
		t.Error("the previous snapshot is still in memory")
	}
	runtime.KeepAlive(s)
}

func TestRates(t *testing.T) {
	now := time.Date(2026, 10, 2, 12, 0, 0, 0, time.UTC)
	load := func(rates string) (*Snapshot, error) {
		return LoadFS(fstest.MapFS{"c.yaml": {Data: []byte("version: 1\nrates: {file: r.yaml, max_age: 24h}\n")}, "r.yaml": {Data: []byte(rates)}}, "c.yaml", Options{Now: now})
	}
	s, err := load("as_of: 2026-10-02T00:00:00Z\nbase: USD\nrates: {EUR: 0.8, JPY: 150}\n")
	if err != nil {
		t.Fatal(err)
	}
	eur, _ := rtb.ParseCurrency("EUR")
	if rate, reason := s.Rates.Rate(eur, rtb.USD, now); rate != (rtb.Rate{Num: 10, Den: 8}) || reason != rtb.NoBidNone {
		t.Errorf("EUR to USD: got %d, %q; want 1.25", rate, reason)
	}
	if _, reason := s.Rates.Rate(eur, rtb.USD, now.Add(24*time.Hour)); reason != rtb.NoBidRateStale {
		t.Errorf("a day later: got %q; want rate_stale", reason)
	}
	s, err = load(`{"as_of": "2026-09-02T00:00:00Z", "base": "USD", "rates": {"EUR": 0.8}}`)
	if err != nil || !slices.ContainsFunc(s.Warnings, func(p spec.Problem) bool { return p.Path == "rates.file" }) {
		t.Errorf("a month old: got %v; want a warning", err)
	}
	for text, want := range map[string]string{"base: USD": "as_of", "as_of: 2026-10-02T00:00:00Z": "base", "as_of: 2026-10-02T00:00:00Z\nbase: USD\nrates: {EURO: 1}": "EURO",
		"as_of: 2026-10-02T00:00:00Z\nbase: USD\nrates: {EUR: -1}": "EUR", "asof: 1": "as_of"} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "r.yaml:") {
			t.Errorf("%q: got %v; want a problem in r.yaml with %q", text, err, want)
		}
	}
}

// TestBombs loads files that grow when they are read: they end in problems, and
// in bounded memory.
func TestBombs(t *testing.T) {
	for name, text := range map[string]string{
		"alias of itself":  "a: &a [*a, *a]\n",
		"merge of itself":  "a: &a {b: 1, <<: [*a, *a]}\n",
		"aliases of lists": "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n",
		"deep lists":       strings.Repeat("- ", 5000),
		"many problems":    "version: 1\naudiences: [" + strings.Repeat("{a: b, c: d},", 3000) + "]\n",
		"many empty ones":  "version: 1\ncampaigns: [" + strings.Repeat("{},", 3000) + "]\n",
		"includes himself": "version: 1\ninclude: c.yaml\n",
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"c.yaml": {Data: []byte(text)}}
			l := &loader{fsys: fsys, files: map[string][]byte{}, blocks: map[string]*node{}}
			l.parse("c.yaml", place{}, "")
			if most := l.aliasLimit() + 2*maxDepth; l.aliased > most {
				t.Errorf("got %d values from aliases; want at most %d", l.aliased, most)
			}
			_, err := LoadFS(fsys, "c.yaml", Options{})
			var problems spec.Problems
			if !errors.As(err, &problems) || len(problems) > maxProblems+1 {
				t.Errorf("got %d problems; want 1 to %d", len(problems), maxProblems+1)
			}
		})
	}
}

// TestEveryFieldCanBeRead walks the structs of the file, so that no field has a
// type that decoding does not know, and none lacks a name.
func TestEveryFieldCanBeRead(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type, string)
	walk = func(rt reflect.Type, path string) {
		for rt.Kind() == reflect.Pointer || rt.Kind() == reflect.Slice || rt.Kind() == reflect.Map {
			rt = rt.Elem()
		}
		if seen[rt] || len(path) > 200 {
			return
		}
		seen[rt] = true
		v := reflect.New(rt).Elem()
		l := &loader{blocks: map[string]*node{}}
		l.decode(&node{kind: kindScalar, src: &source{}, text: "x"}, v, path, "")
		if rt.Kind() != reflect.Struct || rt == timeType {
			return
		}
		for i := range rt.NumField() {
			f := rt.Field(i)
			if f.IsExported() && f.Tag.Get("yaml") == "" && len(fieldsOf(rt).list) > 0 {
				t.Errorf("%s.%s has no yaml name", rt, f.Name)
			}
		}
		for _, f := range fieldsOf(rt).list {
			walk(rt.FieldByIndex(f.index).Type, path+"."+f.name)
		}
	}
	walk(fileType, "")
	if len(seen) < 30 {
		t.Errorf("got %d types; want the whole configuration", len(seen))
	}
}

// FuzzLoad loads any bytes as a configuration: it never panics, and a snapshot
// and problems never come together.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"good.yaml", "bad_names.yaml", "bad_types.yaml", "bad_syntax.yaml", "bad_include.yaml", "parts/shop.yaml"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("version: 1\na: &a {b: 1}\nc: {<<: [*a, *a]}\n"))
	f.Add([]byte("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d]\n"))
	f.Add([]byte("? [a]\n: b\n--- \nc\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := LoadFS(fstest.MapFS{"c.yaml": {Data: b}, "part.yaml": {Data: b}}, "c.yaml", Options{Getenv: os.LookupEnv})
		if (s == nil) == (err == nil) {
			t.Fatalf("got %v and %v", s, err)
		}
		var problems spec.Problems
		if err != nil && (!errors.As(err, &problems) || len(problems) == 0) {
			t.Fatalf("got %v; want spec.Problems", err)
		}
		if s != nil {
			Diff(s, s)
		}
	})
}

// A syntax error names the line where it is, or where the text begins that does
// not end.
func TestSyntaxErrorsNameTheirLine(t *testing.T) {
	for text, want := range map[string]int{
		"version: 1\nlisten:\n  bid: :1\n edge: :2\n":     4,
		"version: 1\nfeeds: [1, 2\nlisten: {}\n":          3,
		"version: 1\nfeeds: {id: m\n  file: m}\n":         3,
		"version: 1\nname: \"x\nlisten: {}\ndata: {}\n":   2,
		"version: 1\nlisten\ndata: {}\n":                  2,
		"version: 1\nlisten: a: b\n":                      2,
		"version: 1\n- listen\n":                          2,
		"version: 1\nfeeds:\n  - id: m\n   file: m.tsv\n": 4,
		"version: 1\nlisten:\n\tbid: :1\n":                3,
		"version: 1\nlisten: *none\n":                     2,
		"version: 1\nlisten: \"\\q\"\n":                   2,
		"version: 1\nlisten: @x\n":                        2,
		"version: 1\n# caf\u00e9\nlisten: {bid: \xff}\n":  3,
	} {
		_, err := LoadFS(fstest.MapFS{"c.yaml": {Data: []byte(text)}}, "c.yaml", Options{})
		var problems spec.Problems
		if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Line != want {
			t.Errorf("%q: got %v; want one problem on line %d", text, err, want)
		}
	}
}
