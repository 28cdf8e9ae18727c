package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebound/internal/spec"
)

// shopWith is a small configuration in which parts are replaced.
const shopText = `version: 1
listen: {public_url: "http://127.0.0.1:8081"}
privacy: {vendor_id: 42}
exchanges:
  - {id: demo, include: builtin:generic, seat: s, secret: open-sesame}
advertisers:
  - {id: shop, domains: [shop.example]}
audiences:
  - {id: viewers, include: {event: view_item}}
creatives:
  - {id: c, type: html, size: 300x250, click_url: "https://shop.example/", html: '<a href="{{click}}">x</a>'}
campaigns:
  - id: autumn
    advertiser: shop
    status: active
    budget: {daily: 5}
    lines:
      - id: viewed
        audience: {include: [viewers]}
        bid: {cpm: 1, max_cpm: 2}
        creatives: [c]
`

// problemsOf loads the small configuration after replacing pairs of texts, and
// returns its problems and warnings.
func problemsOf(t *testing.T, env map[string]string, pairs ...string) (problems, warnings []spec.Problem) {
	t.Helper()
	text := shopText
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the configuration has no %q", pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	s, err := LoadFS(fstest.MapFS{"c.yaml": {Data: []byte(text)}}, "c.yaml", Options{Getenv: getenv(env)})
	var list spec.Problems
	if errors.As(err, &list) {
		return list, nil
	}
	return nil, s.Warnings
}

// one reports whether a list has exactly one problem, with all of the texts.
func one(list []spec.Problem, texts ...string) bool {
	if len(list) != 1 {
		return false
	}
	for _, text := range texts {
		if !strings.Contains(list[0].String(), text) {
			return false
		}
	}
	return true
}

func TestSmallConfigurationIsGood(t *testing.T) {
	if problems, warnings := problemsOf(t, nil); len(problems)+len(warnings) > 0 {
		t.Errorf("got %v, %v; want nothing to say", problems, warnings)
	}
}

// What is refused is refused once, with its path.
func TestRefused(t *testing.T) {
	const secret, budget, listen = "secret: open-sesame", "budget: {daily: 5}", `listen: {public_url: "http://127.0.0.1:8081"}`
	for name, c := range map[string]struct{ from, to, path, text string }{
		"short secret":              {secret, "secret: abc", "exchanges[0].secret", "at least 8 bytes"},
		"empty secret":              {secret, `secret: ""`, "exchanges[0].secret", "empty"},
		"null secret":               {secret, `secret:`, "exchanges[0].secret", "empty"},
		"empty secret, any source":  {secret, `secret: "", sources: [0.0.0.0/0]`, "exchanges[0].secret", "empty"},
		"empty secret, two sources": {secret, `secret: "", sources: [127.0.0.0/8, 10.0.0.0/8]`, "exchanges[0].secret", "empty"},
		"empty environment":         {secret, `secret: "${EMPTY}"`, "exchanges[0].secret", "which is empty"},
		"no environment":            {secret, `secret: "${NOTHING}"`, "exchanges[0].secret", "not set"},
		"empty node":                {"privacy: {", "data: {node: \"${EMPTY}\"}\nprivacy: {", "data.node", "which is empty"},
		"key of nothing":            {"domains: [shop.example]", "domains: [shop.example], keys: [{sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}]", "advertisers[0].keys[0].sha256", "empty key"},
		"daily above total":         {budget, "budget: {daily: 5, total: 4}", "campaigns[0].budget.daily", "at most total, 4"},
		"daily above total, line":   {"bid: {", "budget: {daily: 2, total: 1.5}\n        bid: {", "campaigns[0].lines[0].budget.daily", "at most total, 1.5"},
		"equal ports":               {listen, `listen: {bid: ":9000", edge: ":9000"}`, "listen.edge", "the port of listen.bid"},
		"equal to a default":        {listen, `listen: {admin: "127.0.0.1:8081"}`, "listen.admin", "the port of listen.edge"},
		"equal by name":             {listen, `listen: {bid: "localhost:9000", edge: "127.0.0.1:9000"}`, "listen.edge", "the port of listen.bid"},
		"equal everywhere":          {listen, `listen: {bid: "0.0.0.0:9000", edge: "10.0.0.1:9000"}`, "listen.edge", "the port of listen.bid"},
		"holdback":                  {budget, "budget: {daily: 5, holdback_pct: 101}", "campaigns[0].budget.holdback_pct", "0 to 90"},
		"known":                     {"privacy: {", "logs: {bids: {known_nobid_pct: 100.1}}\nprivacy: {", "logs.bids.known_nobid_pct", "0 to 100"},
		"unknown":                   {"privacy: {", "logs: {bids: {unknown_nobid_pct: 1000}}\nprivacy: {", "logs.bids.unknown_nobid_pct", "0 to 100"},
		"shading":                   {"seat: s", "seat: s, shading: 90", "exchanges[0].shading", "1"},
		"viewability":               {"bid: {", "inventory: {min_viewability: 70}\n        bid: {", "campaigns[0].lines[0].inventory.min_viewability", "0 to 1"},
		"unknown profile":           {"builtin:generic", "builtin:gogle", "exchanges[0].include", "builtin:google"},
		"profile of another kind":   {"builtin:generic", "builtin:../shop/rebound", "exchanges[0].include", "one of builtin:"},
		"half a certificate":        {listen, `listen: {tls: {bid: {cert: x.pem}}}`, "listen.tls.bid", "cert"},
		"no proxy protocol there":   {listen, `listen: {proxy_protocol: [admin], trusted_proxies: [10.0.0.0/8]}`, "listen.proxy_protocol[0]", "bid, edge"},
		"proxies of everybody":      {listen, `listen: {trusted_proxies: [0.0.0.0/0]}`, "listen.trusted_proxies[0]", "networks of your proxies"},
		"a proxy without a network": {listen, `listen: {trusted_proxies: [10.0.0.1]}`, "listen.trusted_proxies[0]", "10.0.0.1/32"},
		"proxies of nobody":         {listen, `listen: {proxy_protocol: [bid]}`, "listen.trusted_proxies", "PROXY protocol"},
		"a long drain":              {listen, `listen: {drain_delay: 1h}`, "listen.drain_delay", "at most 5m"},
	} {
		if problems, _ := problemsOf(t, map[string]string{"EMPTY": ""}, c.from, c.to); !one(problems, c.text) || !strings.HasPrefix(problems[0].Path, c.path) {
			t.Errorf("%s: got %v; want one problem at %s with %q", name, problems, c.path, c.text)
		}
	}
	for name, pair := range map[string][2]string{
		"a secret of its own":       {secret, "secret: 0123456789abcdef"},
		"no secret, loopback":       {", " + secret, ""},
		"empty secret, loopback":    {secret, `secret: "", sources: [127.0.0.0/8, "::1/128"]`},
		"other hosts, equal ports":  {listen, `listen: {bid: "10.0.0.1:9000", edge: "10.0.0.2:9000"}`},
		"any free port":             {listen, `listen: {bid: ":0", edge: ":0", admin: "127.0.0.1:0"}`},
		"daily equal to total":      {budget, "budget: {daily: 5, total: 5.00}"},
		"behind a proxy":            {listen, `listen: {proxy_protocol: [bid, edge], trusted_proxies: [10.0.0.0/8, "fd00::/8"], drain_delay: 5s}`},
		"the names of two profiles": {"builtin:generic", "builtin:prebid26"},
	} {
		if problems, _ := problemsOf(t, nil, pair[0], pair[1]); len(problems) > 0 {
			t.Errorf("%s: got %v; want it good", name, problems)
		}
	}
}

// What is risky is a warning.
func TestWarned(t *testing.T) {
	const budget, event = "budget: {daily: 5}", "event: view_item"
	for name, c := range map[string]struct{ from, to, path, text string }{
		"no status":           {"    status: active\n", "", "campaigns[0].status", "draft"},
		"even without an end": {budget, "budget: {total: 50}", "campaigns[0].budget.pacing", "neither a daily budget nor an end"},
		"even, said":          {budget, "budget: {total: 50, pacing: even}", "campaigns[0].budget.pacing", "asap"},
		"a line above":        {"bid: {", "budget: {daily: 6}\n        bid: {", "campaigns[0].lines[0].budget.daily", "the campaign's daily budget"},
		"nearly an event":     {event, "event: view_items", "audiences[0].include.event", "view_item"},
		"with a hyphen":       {event, "event: add-to-cart", "audiences[0].include.event", "add_to_cart"},
		"nearly an alias":     {event, "event: AddToCrat", "audiences[0].include.event", "add_to_cart"},
		"nested":              {"{" + event + "}", "{any: [{event: view_item}, {all: [{event: purchse}]}]}", "audiences[0].include.any[1].all[0].event", "purchase"},
		"excluded":            {"include: {" + event + "}", "include: {" + event + "}, exclude: {event: purchased}", "audiences[0].exclude.event", "purchase"},
	} {
		problems, warnings := problemsOf(t, nil, c.from, c.to)
		if len(problems) > 0 || !one(warnings, c.text) || warnings[0].Path != c.path {
			t.Errorf("%s: got %v, %v; want one warning at %s with %q", name, problems, warnings, c.path, c.text)
		}
	}
	for name, pair := range map[string][2]string{
		"asap":            {budget, "budget: {total: 50, pacing: asap}"},
		"an end":          {budget, "budget: {total: 50}\n    end: 2027-01-01T00:00:00Z"},
		"a custom event":  {event, "event: newsletter_signup"},
		"another's event": {event, "event: ViewContent"},
		"any event":       {event, `event: "*"`},
		"a line within":   {"bid: {", "budget: {daily: 5, total: 100}\n        bid: {"},
	} {
		if problems, warnings := problemsOf(t, nil, pair[0], pair[1]); len(problems)+len(warnings) > 0 {
			t.Errorf("%s: got %v, %v; want nothing to say", name, problems, warnings)
		}
	}
}

// One cause is one problem: what follows from it is not shown.
func TestNoCascades(t *testing.T) {
	for name, c := range map[string]struct{ from, to, text string }{
		"a section misspelt":        {"advertisers:\n", "advertiser:\n", "did you mean advertisers?"},
		"audiences misspelt":        {"audiences:\n", "audience:\n", "did you mean audiences?"},
		"creatives misspelt":        {"creatives:\n", "creative:\n", "did you mean creatives?"},
		"a section of text":         {"  - {id: viewers, include: {event: view_item}}", "  viewers", "want a list"},
		"an item of text":           {"{id: viewers, include: {event: view_item}}", "viewers", "want a mapping"},
		"an id misspelt":            {"{id: viewers,", "{idd: viewers,", "did you mean id?"},
		"an advertiser's id":        {"{id: shop,", "{ib: shop,", "did you mean id?"},
		"a price misspelt":          {"max_cpm: 2", "maxcpm: 2", "did you mean max_cpm?"},
		"a table misspelt":          {"bid: {", "bidd: {", "did you mean bid?"},
		"an audience misspelt":      {"audience: {include", "audience: {includes", "did you mean include?"},
		"a missing include":         {"version: 1\n", "version: 1\ninclude: nowhere.yaml\n", "nowhere.yaml"},
		"a missing section":         {"version: 1\n", "version: 1\ninclude: [nowhere.yaml]\n", "nowhere.yaml"},
		"a missing profile":         {"builtin:generic, seat: s", "nowhere.yaml", "nowhere.yaml"},
		"an unknown profile":        {"builtin:generic, seat: s", "builtin:generc", "builtin:generic"},
		"a bad creative":            {"size: 300x250", "size: huge", "300x250"},
		"a bad rule":                {"event: view_item", "event: view_item, within: 99w", "the ttl"},
		"a bad feed":                {"domains: [shop.example]}", "domains: [shop.example], feed: m}\nfeeds: [{id: m, file: nowhere.tsv}]", "nowhere.tsv"},
		"domains of the wrong type": {"domains: [shop.example]", "domains: shop.example", "[shop.example]"},
	} {
		pairs := []string{c.from, c.to}
		if name == "a missing section" {
			pairs = append(pairs, "audiences:\n  - {id: viewers, include: {event: view_item}}\n", "")
		}
		if problems, _ := problemsOf(t, nil, pairs...); !one(problems, c.text) {
			t.Errorf("%s: got %v; want one problem with %q", name, problems, c.text)
		}
	}
	// Problems of other causes are still shown.
	if problems, _ := problemsOf(t, nil, "version: 1\n", "version: 1\ninclude: nowhere.yaml\n", "cpm: 1", "cpm: -1", "audiences:\n", "audience:\n"); len(problems) != 3 {
		t.Errorf("three causes: got %v", problems)
	}
	if problems, _ := problemsOf(t, nil, "[viewers]", "[nobody]", "{event: view_item}", "{event: view_item, withn: 7d}"); len(problems) != 2 {
		t.Errorf("two causes: got %v", problems)
	}
}

// What tools of YAML 1.1 make of off, no, on and yes is named.
func TestYAML11Words(t *testing.T) {
	const bid = "        bid: {cpm: 1"
	for name, c := range map[string]struct{ from, to, path, text string }{
		"min_gap":            {bid, "        min_gap: false\n" + bid, "campaigns[0].lines[0].min_gap", "or off"},
		"exclude_converters": {bid, "        exclude_converters: false\n" + bid, "campaigns[0].lines[0].exclude_converters", "off or no"},
		"frequency":          {bid, "        frequency: false\n" + bid, "campaigns[0].lines[0].frequency", "off or no"},
		"require_schain":     {bid, "        safety: {require_schain: false}\n" + bid, "campaigns[0].lines[0].safety.require_schain", "off or no"},
		"country of Norway":  {bid, "        geo: {include: [false]}\n" + bid, "campaigns[0].lines[0].geo.include[0]", "off or no"},
		"a duration":         {bid, "        min_gap: true\n" + bid, "campaigns[0].lines[0].min_gap", "on or yes"},
		"pacing":             {"{daily: 5}", "{daily: 5, pacing: false}", "campaigns[0].budget.pacing", "off or no"},
		"a boolean":          {bid, "        contextual: yes\n" + bid, "campaigns[0].lines[0].contextual", "true or false"},
		"off as a boolean":   {"seat: s", "seat: s, gzip_in: off", "exchanges[0].gzip_in", "are words here"},
	} {
		problems, _ := problemsOf(t, nil, c.from, c.to)
		if !one(problems, c.text) || !strings.HasPrefix(problems[0].Path, c.path) {
			t.Errorf("%s: got %v; want one problem at %s with %q", name, problems, c.path, c.text)
		}
	}
	for _, word := range []string{"off", "none", `"off"`, "0s"} {
		if problems, _ := problemsOf(t, nil, bid, "        min_gap: "+word+"\n        frequency: none\n"+bid); len(problems) > 0 {
			t.Errorf("%s: got %v; want it good", word, problems)
		}
	}
}

// The case that was found, if it is there.
func TestYAML11Case(t *testing.T) {
	dir, err := os.Getwd()
	for range 6 {
		b, found := os.ReadFile(filepath.Join(dir, "shared", "cases", "edge", "f23-yaml-off.yaml"))
		if err != nil || found != nil {
			dir = filepath.Dir(dir)
			continue
		}
		indented := "        " + strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", "\n        ") + "\n"
		problems, _ := problemsOf(t, nil, "        bid:", indented+"        bid:")
		if len(problems) != 2 || !strings.Contains(problems[0].String(), "off") || !strings.Contains(problems[1].String(), "off") {
			t.Errorf("got %v; want two problems that name off", problems)
		}
		return
	}
	t.Skip("no cases here")
}

// A certificate must be readable and belong to its key.
func TestCertificates(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	pair := func(until time.Time) (cert, key string) {
		secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"edge.shop.example"}, NotBefore: now.Add(-time.Hour), NotAfter: until}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(secret)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	}
	cert, key := pair(now.Add(time.Hour))
	_, otherKey := pair(now.Add(time.Hour))
	oldCert, oldKey := pair(now.Add(-time.Minute))
	load := func(listen, cert, key string) (*Snapshot, error) {
		return LoadFS(fstest.MapFS{"c.yaml": {Data: []byte("version: 1\nlisten: " + listen + "\n")}, "tls/c.pem": {Data: []byte(cert)}, "tls/k.pem": {Data: []byte(key)}}, "c.yaml", Options{Now: now})
	}
	const files = "{tls: {bid: {cert: tls/c.pem, key: tls/k.pem}, edge: {cert: tls/c.pem, key: tls/k.pem}}}"
	s, err := load(files, cert, key)
	if err != nil || s.Listen.PublicURL != "https://127.0.0.1:8081" || s.Listen.TLS.Bid.Key != "tls/k.pem" {
		t.Fatalf("got %v, %+v; want a good one", err, s)
	}
	renewed, err := load(files, oldCert, oldKey)
	if err != nil || renewed.Hash != s.Hash || !warns(renewed, "expired") {
		t.Errorf("an expired certificate: got %v, %+v; want a warning and the same hash", err, renewed)
	}
	for name, c := range map[string][3]string{
		"another key": {files, cert, otherKey}, "no PEM": {files, "x", key}, "no key": {files, cert, cert}, "a missing file": {"{tls: {edge: {cert: tls/none.pem, key: tls/k.pem}}}", cert, key},
		"only a key": {"{tls: {edge: {key: tls/k.pem}}}", cert, key}, "http": {"{public_url: \"http://127.0.0.1:8081\", tls: {edge: {cert: tls/c.pem, key: tls/k.pem}}}", cert, key},
	} {
		if _, err := load(c[0], c[1], c[2]); err == nil || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: got %v; want a problem without the key", name, err)
		}
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, tt := range []struct {
		sources []string
		want    bool
	}{
		{nil, true}, {[]string{"127.0.0.0/8", "::1/128", "127.0.0.1"}, true}, {[]string{"::1"}, true},
		{[]string{"127.0.0.0/8", "10.0.0.0/8"}, false}, {[]string{"127.0.0.0/1"}, false}, {[]string{"::/0"}, false}, {[]string{"x"}, false},
		{[]string{"::1/8"}, false}, {[]string{"::1/64"}, false}, {[]string{"127.0.0.1/32"}, true},
	} {
		if got := OnlyLoopback(tt.sources); got != tt.want {
			t.Errorf("%v: got %v; want %v", tt.sources, got, tt.want)
		}
	}
}
