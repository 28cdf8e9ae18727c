package campaigns

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unsafe"

	"rebound/internal/spec"
	"rebound/rtb"
)

func TestTargetingFitsIntoACacheLine(t *testing.T) {
	if size := unsafe.Sizeof(Targeting{}); size > 64 {
		t.Errorf("got %d bytes; want at most 64", size)
	}
}

// Points within a radius according to an independent formula (vectors on the
// sphere) are within the circle, and others are not.
func TestRadiusAgainstVectors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	vector := func(lat, lon float64) [3]float64 {
		a, b := lat*math.Pi/180, lon*math.Pi/180
		return [3]float64{math.Cos(a) * math.Cos(b), math.Cos(a) * math.Sin(b), math.Sin(a)}
	}
	inside, outside := 0, 0
	for range 20_000 {
		lat, lon, km := r.Float64()*180-90, r.Float64()*360-180, math.Pow(10, r.Float64()*5-1)
		km = min(km, 20000)
		x, y := lat+r.NormFloat64()*km/100, lon+r.NormFloat64()*km/100
		if r.IntN(4) == 0 { // across the date line and over the poles
			x, y = r.Float64()*180-90, r.Float64()*360-180
		}
		x = math.Mod(x, 90)
		y = math.Mod(y+540, 360) - 180
		a, b := vector(lat, lon), vector(x, y)
		chord := math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
		want := 2 * earthKM * math.Asin(min(chord/2, 1))
		if math.Abs(want-km) < 1e-6*km+1e-6 {
			continue
		}
		p := place{circle: true, lat: lat, lon: lon, km: km}
		w := where{device: &rtb.Device{HasGeo: true}, lat: x, lon: y}
		if got := p.holds(&w); got != (want <= km) {
			t.Fatalf("(%v, %v) and (%v, %v) are %v km apart; holds(%v km) = %v", lat, lon, x, y, want, km, got)
		}
		if want <= km {
			inside++
		} else {
			outside++
		}
	}
	if inside < 2000 || outside < 2000 {
		t.Errorf("got %d inside and %d outside; want thousands of both", inside, outside)
	}
}

// Without leave for exact places, two visitors of one hundredth of a degree are the
// same to every rule.
func TestCoarsePlacesHideExactOnes(t *testing.T) {
	o := &rtb.Opportunity{Device: rtb.Device{HasGeo: true}}
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		cell := [2]float64{math.Trunc(r.Float64()*160*100-80*100) / 100, math.Trunc(r.Float64()*340*100-170*100) / 100}
		var seen [2]where
		for i := range seen {
			step := func(x float64) float64 { return x + math.Copysign(0.0001+r.Float64()*0.0097, x) }
			o.Device.Lat, o.Device.Lon = step(cell[0]), step(cell[1])
			seen[i].set(o, false)
		}
		if seen[0].lat != seen[1].lat || seen[0].lon != seen[1].lon {
			t.Fatalf("cell %v: got %v, %v and %v, %v", cell, seen[0].lat, seen[0].lon, seen[1].lat, seen[1].lon)
		}
	}
}

// Every minute of a year, through both changes of the clocks, against a reading of
// the parts minute by minute.
func TestDaypartsAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var clock zoneClock
	for _, zone := range []string{"Europe/Rome", "America/Toronto", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for range 6 {
			first, last := r.IntN(7), r.IntN(7)
			from, to := r.IntN(24*60), 1+r.IntN(24*60)
			if from == to {
				continue
			}
			text := fmt.Sprintf("%s-%s %02d:%02d-%02d:%02d", dayNames[first], dayNames[last], from/60, from%60, to/60, to%60)
			c := &compiler{}
			d := c.daypart("daypart", []string{text}, loc)
			if len(c.Problems) > 0 {
				t.Fatal(c.Problems)
			}
			on := func(day int) bool { return (day-first+7)%7 <= (last-first+7)%7 }
			for at, end := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); at.Before(end); at = at.Add(17 * time.Minute) {
				l := at.In(loc)
				day, minute := int(l.Weekday()), l.Hour()*60+l.Minute()
				want := on(day) && minute >= from && (minute < to || to <= from)
				if to <= from {
					want = want || on((day+6)%7) && minute < to
				}
				if got := d.matches(&clock, at, 0, false); got != want {
					t.Fatalf("%s in %s at %v: got %v; want %v", text, zone, l, got, want)
				}
			}
		}
	}
}

func TestDaypartTexts(t *testing.T) {
	for text, ok := range map[string]bool{
		"mon-fri 08-22": true, "sat,sun 10-14:30": true, "fri-mon 22-2": true, "mon 0-24": true, "MON 8-9 User": true, "mon-fri 8:00-8:01": true,
		"": false, "mon": false, "08-22": false, "mon-fri 08-25": false, "mon-fri 8-8": false, "monday 8-9": false, "mon 24-2": false,
		"mon-fri 08:60-22": false, "mon 8-9 visitor": false, "mon- 8-9": false, "mon 008-9": false, "mon -1-5": false,
	} {
		c := &compiler{}
		c.daypart("daypart", []string{text}, time.UTC)
		if got := len(c.Problems) == 0; got != ok {
			t.Errorf("%q: accepted %v; want %v", text, got, ok)
		}
	}
}

// A list of a hundred thousand hosts says what a walk over its lines says.
func TestHostListsAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	label := func() string { return string([]byte{byte('a' + r.IntN(6)), byte('a' + r.IntN(6))})[:1+r.IntN(2)] }
	host := func(least int) string {
		parts := make([]string, least+r.IntN(3))
		for i := range parts {
			parts[i] = label()
		}
		return strings.Join(parts, ".")
	}
	for _, size := range []int{0, 1, 60, 3000} {
		var sink hostSink
		below, exact := map[string]bool{}, map[string]bool{}
		for range size {
			h := host(2)
			if r.IntN(3) == 0 {
				exact[h] = sink.add("=" + h)
			} else {
				below[h] = sink.add([]string{h, "." + h, "*." + h, strings.ToUpper(h)}[r.IntN(4)])
			}
		}
		set := sink.set()
		hits := 0
		for range 20_000 {
			h := host(1 + r.IntN(3))
			want := exact[h]
			for rest := h; ; {
				want = want || below[rest]
				i := strings.IndexByte(rest, '.')
				if i < 0 {
					break
				}
				rest = rest[i+1:]
			}
			var k nameKeys
			k.setHost(cleanHost([]byte([]string{h, "www." + h, "HTTPS://" + strings.ToUpper(h) + ":443/x?y", h + "."}[r.IntN(4)])))
			if got := set.has(&k); got != want {
				t.Fatalf("%d hosts: has(%q) = %v; want %v", size, h, got, want)
			}
			if want {
				hits++
			}
		}
		if size == 3000 && (hits < 1000 || hits > 19_000) {
			t.Errorf("got %d hits of 20,000; want some of both", hits)
		}
	}
}

// A million rows take eight bytes each and their index.
func TestHashSetIsCompact(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	rows := make([]uint64, 1_000_000)
	for i := range rows {
		rows[i] = r.Uint64()
	}
	in := slices.Clone(rows[:1000])
	s := newHashSet(rows)
	if bytes := 8*cap(s.rows) + 4*cap(s.index); bytes > 9*len(rows) {
		t.Errorf("got %d bytes; want at most 9 a row", bytes)
	}
	for _, h := range in {
		if !s.has(h) {
			t.Fatal("a row is missing")
		}
		if s.has(h + 1) {
			t.Fatal("got a row that is not there")
		}
	}
}

func TestNetworksAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	var sink networkSink
	var list []netip.Prefix
	for range 300 {
		a := netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))})
		p := netip.PrefixFrom(a, 14+r.IntN(19)).Masked()
		if r.IntN(3) == 0 {
			b := [16]byte{0x20, 1, 0xd, 0xb8, 0, byte(r.IntN(4)), byte(r.IntN(256))}
			p = netip.PrefixFrom(netip.AddrFrom16(b), 40+r.IntN(89)).Masked()
		}
		if p.Bits() < 18 && p.Addr().Is4() {
			continue
		}
		list = append(list, p)
		if !sink.add(p.String()) {
			t.Fatal(p)
		}
	}
	set := sink.set()
	for i := 1; i < len(set.ranges); i++ {
		if set.ranges[i-1].to.compare(set.ranges[i].from) >= 0 {
			t.Fatal("ranges touch")
		}
	}
	hits := 0
	for range 20_000 {
		a := netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))})
		if r.IntN(2) == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(2))})
		}
		want := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
		k, ok := parseIP([]byte(a.String()))
		if !ok || set.has(k) != want {
			t.Fatalf("%v: got %v, %v; want %v", a, set.has(k), ok, want)
		}
		if want {
			hits++
		}
	}
	if hits < 500 || hits > 19_500 {
		t.Errorf("got %d hits of 20,000; want some of both", hits)
	}
	for _, bad := range []string{"0.0.0.0/0", "::/0", "10.0.0.0/33", "here", ""} {
		if sink.add(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzParseIP compares with the standard library's reader.
func FuzzParseIP(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "::", "::1", "2001:db8::7", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1::8", "1:2::", "256.1.1.1",
		"1.2.3", "1.2.3.4.5", ":1", "1:", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9", "fe80::1%eth0", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "01.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParseAddr(s)
		got, ok := parseIP([]byte(s))
		if strings.ContainsAny(s, "%") || strings.Contains(s, ".") && err != nil {
			return // zones match nothing, and leading zeros are decimal
		}
		if ok != (err == nil) || ok && got != keyOf(want.As16()) {
			t.Errorf("%q: got %x, %v; want %v, %v", s, got, ok, want, err)
		}
	})
}

func TestDeviceFamilies(t *testing.T) {
	name := func(names []string, bit uint16) string {
		for i, n := range names {
			if bit == 1<<i {
				return n
			}
		}
		return ""
	}
	for ua, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                "desktop windows chrome",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0":                  "desktop windows edge",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 OPR/112.0.0.0":                  "desktop windows opera",
		"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko":                                                                          "desktop windows ie",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15":                          "desktop macos safari",
		"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0":                                                                 "desktop linux firefox",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                 "desktop chromeos chrome",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":        "phone ios safari",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1": "phone ios chrome",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148":                                  "phone ios webview",
		"Mozilla/5.0 (iPad; CPU OS 16_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1":                 "tablet ios safari",
		"Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36":     "phone android samsung",
		"Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                 "tablet android chrome",
		"Mozilla/5.0 (Linux; Android 10; K; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36":                "phone android webview",
		"Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/126.1.1 like Chrome/126.0.0.0 Safari/537.36":                 "tablet android silk",
		"Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.5) AppleWebKit/537.36 (KHTML, like Gecko) 85.0.4183.93/6.5 TV Safari/537.36":                              "tv tizen safari",
		"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager":                     "tv webos chrome",
		"Roku/DVP-12.0 (12.0.0.4182-88)": "tv roku",
		"AppleTV11,1/11.1":               "tv tvos",
		"Mozilla/5.0 (Linux; Android 12; AFTKM Build/RS8135; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0 Mobile Safari/537.36":    "tv android webview",
		"Mozilla/5.0 (Linux; arm_64; Android 13; SM-G965F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 YaBrowser/24.6.0 Mobile Safari/537.36": "phone android yandex",
		"": "", "curl/8.5.0": "",
	} {
		d := &rtb.Device{UA: []byte(ua)}
		got := strings.TrimSpace(name(deviceNames, classOf(d)) + " " + name(osNames, osOf(d)) + " " + name(browserNames, browserOf(d)))
		if got != want {
			t.Errorf("%s\n got %q; want %q", ua, got, want)
		}
	}
}

// The work on a user agent is bounded, whatever it holds.
func FuzzDeviceFamilies(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64) Chrome/130", "Android", "Chrome", 1)
	f.Fuzz(func(t *testing.T, ua, os, browser string, kind int) {
		d := &rtb.Device{UA: []byte(ua), OS: []byte(os), Browser: []byte(browser), Type: kind}
		for _, bits := range []uint16{classOf(d), osOf(d), browserOf(d)} {
			if bits&(bits-1) != 0 {
				t.Errorf("got several bits: %b", bits)
			}
		}
	})
}

// A crawler's list finds what a plain search finds.
func TestAgentsAgainstSearch(t *testing.T) {
	var sink agentSink
	for _, p := range builtinCrawlers {
		if !sink.add(p) {
			t.Fatal(p)
		}
	}
	set := sink.set()
	r := rand.New(rand.NewPCG(13, 14))
	for range 20_000 {
		ua := make([]byte, r.IntN(60))
		for i := range ua {
			ua[i] = "bot/;-crawlspideGA "[r.IntN(19)]
		}
		if r.IntN(3) == 0 {
			at := r.IntN(len(ua) + 1)
			ua = slices.Insert(ua, at, []byte(strings.ToUpper(builtinCrawlers[r.IntN(len(builtinCrawlers))]))...)
		}
		want := slices.ContainsFunc(builtinCrawlers, func(p string) bool { return strings.Contains(strings.ToLower(string(ua)), p) })
		if got := set.in(ua); got != want {
			t.Fatalf("%q: got %v; want %v", ua, got, want)
		}
	}
}

// A file that did not change is not read again; one that did is.
func TestTablesAreReadWhenTheyChange(t *testing.T) {
	mod := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	fresh := mod.Add(time.Hour)
	files := fstest.MapFS{"a.txt": {Data: []byte("one.example\nbad host\n\ntwo.example # comment\n"), ModTime: mod}}
	compile := func(previous *Tables) (*Tables, names, spec.Report) {
		tables := NewTables(files.Open, previous, func(written time.Time) bool { return written.Equal(fresh) })
		c := &compiler{in: Input{Tables: tables}}
		h := c.hosts("x", []string{"file:a.txt", "file:a.txt"})
		return tables, h, c.Report
	}
	first, a, report := compile(nil)
	if f := first.Files(); len(f) != 1 || f[0].Rows != 2 || f[0].Bad != 1 || f[0].Line != 2 {
		t.Fatalf("got %+v", f)
	}
	if len(report.Problems) != 0 || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0].Got, "line 2") {
		t.Errorf("got %+v; want a warning that names line 2", report)
	}
	second, b, _ := compile(first)
	if len(a) != 1 || len(b) != 1 || a[0] != b[0] || second.Files()[0].Sum != first.Files()[0].Sum {
		t.Error("an unchanged file was read again")
	}
	files["a.txt"] = &fstest.MapFile{Data: []byte("one.example\n"), ModTime: mod.Add(time.Second)}
	third, c, _ := compile(second)
	if c[0] == b[0] || third.Files()[0].Rows != 1 || third.Files()[0].Sum == second.Files()[0].Sum {
		t.Error("a changed file was not read again")
	}
	// A list that grows may be taken at once; one that shrinks may be half written.
	files["a.txt"] = &fstest.MapFile{Data: []byte("one.example\ntwo.example\n"), ModTime: fresh}
	grown, d, _ := compile(third)
	files["a.txt"] = &fstest.MapFile{Data: []byte("one.example\n"), ModTime: fresh}
	kept, e, report := compile(grown)
	if grown.Files()[0].Rows != 2 || d[0] != e[0] || len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0].Got, "a moment ago") {
		t.Errorf("a list that shrank a moment ago: got %+v; want the rows before it and a warning", report)
	}
	files["a.txt"].ModTime = fresh.Add(time.Second)
	if settled, _, report := compile(kept); settled.Files()[0].Rows != 1 || len(report.Warnings) != 0 {
		t.Errorf("later: got %+v, %+v; want the new rows", settled.Files(), report)
	}
	delete(files, "a.txt")
	if _, _, report = compile(third); len(report.Problems) == 0 {
		t.Errorf("got %+v; want a problem", report)
	}
}

// FuzzPageWords checks the form of the words of a page.
func FuzzPageWords(f *testing.F) {
	f.Add([]byte("https://a.example/Plane%20Crash/über?q=1#x"))
	f.Add([]byte("%%%%2"))
	f.Fuzz(func(t *testing.T, page []byte) {
		words := appendWords(nil, page)
		if words[0] != ' ' || words[len(words)-1] != ' ' || len(words) > len(page)+2 || strings.Contains(string(words), "  ") ||
			strings.ToLower(string(words)) != string(words) && strings.ContainsAny(string(words), "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Errorf("%q: got %q", page, words)
		}
	})
}

// Lists and approvals may have any line ends, and a byte-order mark.
func TestLineEndsOfLists(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r", "\n\r"} {
		for _, last := range []string{"", end} {
			text := "\ufeffone.example" + end + "# comment" + end + end + "two.example # comment" + end + "bad host" + end + "three.example" + last
			tables := NewTables(fstest.MapFS{"a.txt": {Data: []byte(text)}}.Open, nil, nil)
			c := &compiler{in: Input{Tables: tables}}
			c.hosts("x", []string{"file:a.txt"})
			if f := tables.Files(); len(f) != 1 || f[0].Rows != 3 || f[0].Bad != 1 || end != "\n\r" && f[0].Line != 5 {
				t.Errorf("%q, %q: got %+v; want three rows, and a bad one on line 5", end, last, f)
			}
			list, lines, err := ReadApprovals(strings.NewReader("\ufeffa x approved" + end + "# comment" + end + "b x rejected" + last))
			if err != nil || len(list) != 2 || list[0].Creative != "a" || list[1].State != "rejected" || end != "\n\r" && lines[1] != 3 {
				t.Errorf("%q, %q: got %v, %v, %v; want two approvals", end, last, list, lines, err)
			}
		}
	}
}

// Rules that differ are not shared, whatever their texts contain.
func TestSharedRulesAreEqual(t *testing.T) {
	c := &compiler{}
	geo := func(cities ...string) *geo {
		s := &GeoSpec{}
		for _, city := range cities {
			s.Include = append(s.Include, PlaceSpec{Country: "CA", City: city})
		}
		return c.geo("geo", s)
	}
	one, two := geo("x  0 0 0} {[67 65] false false 0 y"), geo("x", "y")
	if fmt.Sprint(one.include) != fmt.Sprint(two.include) {
		t.Fatalf("got %v and %v; want places that look alike without quotes", one.include, two.include)
	}
	if one == two {
		t.Error("one city and two cities share a rule")
	}
	if geo("x", "y") != two || geo("y", "x") == two {
		t.Error("want equal rules shared, and no others")
	}
	if len(c.rules) != 4 {
		t.Errorf("got %d rules; want 3, and the set of countries that they share", len(c.rules))
	}
}
