package exchange

import (
	"encoding/json"
	goflag "flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"unicode"

	"github.com/prebid/openrtb/v20/openrtb2"

	"rebound/internal/conformance"
	"rebound/internal/inventory"
	"rebound/rtb"
)

var mutations = goflag.Int("mutations", 3000, "mutated corpus requests that the differential test tries")

// differential compares the decoder with encoding/json and the openrtb2 types,
// request by request.
type differential struct {
	t        *testing.T
	profile  *Profile
	settled  settled
	compared int
	refused  int // by both
	unread   int // by the library
	failures int
}

// try compares one request: both decoders agree on everything that the library
// can read, except for the classes of disagreement, whose reasons are in the
// table. Ext objects that the library cannot read, and duplicate keys of one
// object, are not compared: the rules for those are our own.
func (d *differential) try(name string, body, library []byte) {
	var r openrtb2.BidRequest
	if json.Unmarshal(library, &r) != nil {
		d.unread++
		return
	}
	o, err := decoded(d.t, d.profile, body)
	want, refused := libraryFacts(&r, d.settled)
	switch {
	case want["unread"] == true:
		d.unread++
		return
	case err == nil && !refused:
		d.compared++
	case err != nil && refused:
		d.refused++
		return
	default:
		d.fail("%s: got error %v; the library's reading says refused: %v\n%s", name, err, refused, body)
		return
	}
	got := ourFacts(o)
	for _, k := range keysOfBoth(got, want) {
		if class, same := sameName(k, fmt.Sprint(got[k]), fmt.Sprint(want[k])); !same {
			d.fail("%s: %s: got %v; want %v\n%s", name, k, got[k], want[k], body)
		} else if class != "" {
			d.settled.add(class)
		}
	}
}

// sameName compares what was read of a field. Names that differ only in their form
// are the same, in a class of disagreement; class is empty where there is none.
func sameName(key, ours, library string) (class string, same bool) {
	switch {
	case ours == library:
		return "", true
	case library == "[]" && slices.Contains([]string{"wseat", "bseat", "bcat", "badv", "bapp"}, key):
		return "restriction in other case", true
	case (key == "page" || key == "domain") && plainName(ours) == plainName(library), plainNames(ours) == plainNames(library):
		return "form of a name", true
	case key == "bcat" && plainNames(ours) == plainNames(unlabelled(library)):
		return "category label", true
	}
	return "", false
}

// labels matches a category of the IAB Content Taxonomy 1.0 with what a sender has joined
// to its code, which is the first group.
var labels = regexp.MustCompile(`(?i)(IAB[0-9]+(?:-[0-9a-z]*[0-9][0-9a-z]*)?)[^ \]]*`)

// unlabelled removes the labels of the categories of a list.
func unlabelled(list string) string { return labels.ReplaceAllString(list, "$1") }

// plainNames brings every name of a text into one form: hosts in punycode without
// scheme and path, and no blanks or line separators around names.
func plainNames(text string) string {
	var plain []string
	for _, name := range strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '[' || r == ']' || r == '=' }) {
		if name = plainName(name); strings.ContainsFunc(name, unicode.IsLetter) || strings.ContainsFunc(name, unicode.IsDigit) {
			plain = append(plain, name)
		}
	}
	return strings.Join(plain, " ")
}

// plainName brings one name into the form of plainNames.
func plainName(name string) string {
	start, end := inventory.HostPart(name)
	return inventory.ASCIIHost(strings.ToLower(name[start:end]))
}

func (d *differential) fail(format string, args ...any) {
	if d.failures++; d.failures <= 20 {
		d.t.Errorf(format, args...)
	}
}

func (d *differential) report(what string) {
	d.t.Logf("%s: %d compared, %d refused by both, %d that the library cannot read", what, d.compared, d.refused, d.unread)
	d.compared, d.refused, d.unread = 0, 0, 0
}

// The decoder and encoding/json with the openrtb2 types say the same of every
// request of the corpus, and of mutations of it. What may differ is in the table
// of disagreements.
func TestDifferential(t *testing.T) {
	conformance.Covers(t, "V5")
	compareMutations(t, *mutations)
}

// The same with 100,000 mutations, of which each class of disagreement must show
// itself: a reason that nothing needs is taken out.
func TestProveDifferential(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("PROVE=1 tries 100,000 mutations")
	}
	for class, times := range compareMutations(t, 100_000) {
		if times == 0 {
			t.Errorf("no request shows the disagreement %q any more; take it out", class)
		}
	}
}

// compareMutations compares the corpus and n mutations of it, and gives how often
// each class of disagreement was met.
func compareMutations(t *testing.T, n int) settled {
	t.Helper()
	lines := corpusLines(t, "requests.jsonl")
	d := &differential{t: t, settled: settled{}, profile: testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })}
	for i, line := range lines {
		d.try(fmt.Sprintf("line %d", i+1), line, line)
	}
	if d.compared < len(lines)/2 {
		t.Errorf("only %d of %d lines compared", d.compared, len(lines))
	}
	d.report("corpus")
	rng := rand.New(rand.NewPCG(20, 26))
	for i := range n {
		k := rng.IntN(len(lines))
		var tree any
		if json.Unmarshal(lines[k], &tree) != nil {
			continue
		}
		for range 1 + rng.IntN(3) {
			tree = mutate(rng, tree)
		}
		body, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		library := body
		if rng.IntN(10) == 0 {
			body, library = d.respell(rng, body, tree)
		}
		d.try(fmt.Sprintf("mutation %d of line %d", i, k+1), body, library)
	}
	d.report(fmt.Sprintf("%d mutations", n))
	if d.failures > 20 {
		t.Errorf("and %d more", d.failures-20)
	}
	for _, class := range slices.Sorted(maps.Keys(disagreements)) {
		t.Logf("%7d  %-18s %s", d.settled[class], class, disagreements[class])
		d.settled[class] += 0 // so that it is there
	}
	return d.settled
}

// respell writes a request in another way. One of its keys comes in upper case:
// we read as if it were not there, so the library gets the request without it.
// Or a member comes twice, of which both read the last.
func (d *differential) respell(rng *rand.Rand, body []byte, tree any) (ours, library []byte) {
	root, ok := tree.(map[string]any)
	if !ok || len(root) == 0 {
		return body, body
	}
	keys := keysOfBoth(root, nil)
	k := keys[rng.IntN(len(keys))]
	switch k {
	case "id", "tmax", "at", "test", "site", "app", "imp", "cattax":
		if rng.IntN(2) == 0 {
			return append([]byte(`{"`+k+`":null,`), body[1:]...), body
		}
	case "regs", "user", "device", "source": // whose privacy signals and supply chain count in any case
		return body, body
	}
	if k == strings.ToUpper(k) {
		return body, body
	}
	value := root[k]
	delete(root, k)
	library, _ = json.Marshal(root)
	root[strings.ToUpper(k)] = value
	ours, _ = json.Marshal(root)
	d.settled.add("key in other case")
	return ours, library
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

// ourFacts lists the content of the opportunity in a form that the library's
// result can be converted to as well.
func ourFacts(o *rtb.Opportunity) facts {
	f := facts{
		"id": string(o.ID), "at": o.At, "tmax": o.TMax.Milliseconds(), "test": o.Test, "cur": o.Currencies,
		"wseat": texts(o.WSeat), "bseat": texts(o.BSeat), "bcat": texts(o.BCat), "acat": texts(o.ACat), "badv": texts(o.BAdv), "bapp": texts(o.BApp),
		"wlang": texts(o.WLang), "site": o.Supply.Site, "app": o.Supply.App, "dooh": o.Supply.DOOH, "domain": string(o.Supply.Domain),
		"page": string(o.Supply.Page), "bundle": string(o.Supply.Bundle), "publisher": string(o.Supply.PublisherID),
		"ua": string(o.Device.UA), "ip": string(o.Device.IP), "ipv6": string(o.Device.IPv6), "devicetype": o.Device.Type,
		"language": string(o.Device.Language), "country": string(o.Device.Country), "city": string(o.Device.City), "w": o.Device.W, "h": o.Device.H,
		"lmt": o.Signals.LMT, "dnt": o.Signals.DNT, "coppa": o.Signals.COPPA == rtb.Yes, "gdpr": o.Signals.GDPR, "consent": string(o.Signals.Consent),
		"us_privacy": string(o.Signals.USPrivacy), "gpp": string(o.Signals.GPP), "gpp_sid": codes(o.Signals.GPPSID), "blocked": o.BlockListsBad,
		"schain": o.SChain.Present, "nodes": len(o.SChain.Nodes), "imps": len(o.Imps),
	}
	if o.Supply.App || o.Supply.DOOH {
		f["page"] = ""
	}
	for _, id := range o.IDs {
		k := fmt.Sprintf("ids %d", id.Kind)
		f[k] = fmt.Sprintf("%v %s=%s", f[k], id.Scope, id.Value)
	}
	for i := range o.Imps {
		m := &o.Imps[i]
		k := fmt.Sprintf("imp%d ", i)
		f[k+"id"], f[k+"floor"], f[k+"cur"], f[k+"bad"] = string(m.ID), m.Floor, m.FloorCur, m.FloorBad
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
