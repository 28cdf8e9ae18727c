package exchange

import (
	"encoding/json"
	goflag "flag"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"github.com/prebid/openrtb/v20/openrtb2"

	"rebound/internal/conformance"
	"rebound/rtb"
)

var mutations = goflag.Int("mutations", 3000, "mutated corpus requests that the differential test tries")

// The decoder and encoding/json with the openrtb2 types say the same of every
// request that the library can read. What may differ, and why:
//
//   - Keys in another case: the library takes them, we do not. (The corpus has
//     none that matter; mutations make none.)
//   - Duplicate keys: rules of our own. (JSON trees have none.)
//   - Numbers: floors are rounded up to a micro; negative floors are 0; floors
//     beyond rtb.MaxCPM make FloorBad; integers beyond 32 bits are clamped.
//   - Empty strings and sizes without width or height are left out of lists,
//     doubles of sizes too.
//   - null within a list of numbers is 0 for the library and nothing for us; at 0 or
//     less is no auction type. Pages of an app, which it has not by the standard, are
//     read too. Ext objects that the library cannot read are not compared.
//   - ids longer than 1024 bytes, eids without source, all-zero advertising ids.
//   - The advertising id of a limited, session or screen device is left out.
func TestDifferential(t *testing.T) {
	conformance.Covers(t, "V5")
	lines := corpusLines(t, "requests.jsonl")
	p := testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })
	compared, unread, both := 0, 0, 0
	try := func(name string, body []byte) {
		var r openrtb2.BidRequest
		if json.Unmarshal(body, &r) != nil {
			unread++
			return
		}
		o, err := decoded(t, p, body)
		want, refused := libraryFacts(&r)
		if want["unread"] == true {
			unread++
			return
		}
		if err != nil || refused {
			if (err != nil) != refused {
				t.Errorf("%s: got error %v; the library's reading says refused: %v\n%s", name, err, refused, body)
			}
			both++
			return
		}
		compared++
		got := ourFacts(o)
		for _, k := range keysOfBoth(got, want) {
			if fmt.Sprint(got[k]) != fmt.Sprint(want[k]) {
				t.Errorf("%s: %s: got %v; want %v\n%s", name, k, got[k], want[k], body)
			}
		}
	}
	for i, line := range lines {
		try(fmt.Sprintf("line %d", i+1), line)
	}
	t.Logf("corpus: %d compared, %d refused by both, %d that the library cannot read", compared, both, unread)
	if compared < len(lines)/2 {
		t.Errorf("only %d of %d lines compared", compared, len(lines))
	}
	compared, unread, both = 0, 0, 0
	rng := rand.New(rand.NewPCG(20, 26))
	for i := range *mutations {
		n := rng.IntN(len(lines))
		var tree any
		if json.Unmarshal(lines[n], &tree) != nil {
			continue
		}
		for range 1 + rng.IntN(3) {
			tree = mutate(rng, tree)
		}
		body, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		try(fmt.Sprintf("mutation %d of line %d", i, n+1), body)
	}
	t.Logf("mutations: %d compared, %d refused by both, %d that the library cannot read", compared, both, unread)
}

func keysOfBoth(a, b map[string]any) (keys []string) {
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

// mutate changes one value of a JSON tree, of the same kind more often than not.
func mutate(rng *rand.Rand, v any) any {
	switch x := v.(type) {
	case map[string]any:
		if len(x) == 0 {
			return x
		}
		keys := keysOfBoth(x, nil)
		k := keys[rng.IntN(len(keys))]
		if rng.IntN(12) == 0 {
			delete(x, k)
		} else {
			x[k] = mutate(rng, x[k])
		}
		return x
	case []any:
		if len(x) == 0 {
			return x
		}
		i := rng.IntN(len(x))
		switch rng.IntN(8) {
		case 0:
			return append(x[:i:i], x[i+1:]...)
		case 1:
			return append(x, x[i])
		}
		x[i] = mutate(rng, x[i])
		return x
	case float64:
		return []any{x + 1, -x, 0, x * 1000, 1, x / 3, nil}[rng.IntN(7)]
	case string:
		return []any{x + "é\n", "", x + "x", strings.ToUpper(x), "USD", nil, "\u2028\"\\"}[rng.IntN(7)]
	}
	return []any{true, 1, 0, "x", nil}[rng.IntN(5)]
}

type facts = map[string]any

func texts(list [][]byte) (out []string) {
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

func nonEmpty(list []string) (out []string) {
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func codes[T ~int8 | ~int64 | ~int](list []T) (out []int) {
	for _, n := range list {
		if n != 0 { // null, for the library
			out = append(out, int(n))
		}
	}
	return out
}

// ourFacts is what the opportunity carries, in words that the library can say too.
func ourFacts(o *rtb.Opportunity) facts {
	f := facts{
		"id": string(o.ID), "at": o.At, "tmax": o.TMax.Milliseconds(), "test": o.Test, "cur": o.Currencies,
		"wseat": texts(o.WSeat), "bseat": texts(o.BSeat), "bcat": texts(o.BCat), "acat": texts(o.ACat), "badv": texts(o.BAdv), "bapp": texts(o.BApp),
		"wlang": texts(o.WLang), "site": o.Supply.Site, "app": o.Supply.App, "dooh": o.Supply.DOOH, "domain": string(o.Supply.Domain),
		"page": string(o.Supply.Page), "ref": string(o.Supply.Ref), "bundle": string(o.Supply.Bundle), "publisher": string(o.Supply.PublisherID),
		"ua": string(o.Device.UA), "ip": string(o.Device.IP), "ipv6": string(o.Device.IPv6), "make": string(o.Device.Make), "devicetype": o.Device.Type,
		"language": string(o.Device.Language), "country": string(o.Device.Country), "city": string(o.Device.City), "w": o.Device.W, "h": o.Device.H,
		"lmt": o.Signals.LMT, "dnt": o.Signals.DNT, "coppa": o.Signals.COPPA == rtb.Yes, "gdpr": o.Signals.GDPR, "consent": string(o.Signals.Consent),
		"us_privacy": string(o.Signals.USPrivacy), "gpp": string(o.Signals.GPP), "gpp_sid": codes(o.Signals.GPPSID), "blocked": o.BlockListsBad,
		"schain": o.SChain.Present, "nodes": len(o.SChain.Nodes), "imps": len(o.Imps),
	}
	if o.Supply.App || o.Supply.DOOH {
		f["page"], f["ref"] = "", ""
	}
	for _, id := range o.IDs {
		k := fmt.Sprintf("ids %d", id.Kind)
		f[k] = fmt.Sprintf("%v %s=%s", f[k], id.Scope, id.Value)
	}
	for i := range o.Imps {
		m := &o.Imps[i]
		k := fmt.Sprintf("imp%d ", i)
		f[k+"id"], f[k+"tagid"], f[k+"floor"], f[k+"cur"], f[k+"bad"] = string(m.ID), string(m.TagID), m.Floor, m.FloorCur, m.FloorBad
		f[k+"secure"], f[k+"instl"], f[k+"formats"], f[k+"exp"], f[k+"private"] = m.Secure, m.Instl, m.Formats, m.Exp.Seconds(), m.PrivateAuction
		if m.Formats.Has(rtb.FormatBanner) {
			f[k+"sizes"], f[k+"battr"], f[k+"btype"], f[k+"mimes"], f[k+"api"] = fmt.Sprint(m.Banner.Sizes), codes(m.Banner.BAttr), codes(m.Banner.BType), texts(m.Banner.Mimes), codes(m.Banner.API)
		}
		if v := &m.Video; m.Formats.Has(rtb.FormatVideo) {
			f[k+"v"] = fmt.Sprint(texts(v.Mimes), codes(v.Protocols), v.MinDuration.Seconds(), v.MaxDuration.Seconds(), v.W, v.H, v.HasStartDelay, v.StartDelay,
				v.Linearity, v.Skip, v.Placement, v.Plcmt, codes(v.PlaybackMethod), codes(v.API), codes(v.BAttr), codes(v.Delivery))
		}
		for _, d := range m.Deals {
			f[k+"deal "+string(d.ID)] = fmt.Sprint(d.Floor, d.FloorCur, d.At, texts(d.WSeat), texts(d.WADomain), d.FloorBad)
		}
	}
	return f
}
