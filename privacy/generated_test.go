package privacy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

const us42 = 42 // our vendor id in these tests

// generateTCF generates the content of a string. It mostly grants, so that single
// refusals decide the result.
func generateTCF(rng *rand.Rand) *tcfSpec {
	pick := func(p float64) bool { return rng.Float64() < p }
	t := &tcfSpec{version: 2, gvl: 1 + rng.IntN(300), policy: 4 + rng.IntN(3), geo: pick(0.5), cc: "FR", unit: 8}
	if pick(0.03) {
		t.version = []int{1, 3}[rng.IntN(2)]
	}
	if pick(0.05) {
		t.policy = rng.IntN(4)
	}
	if pick(0.02) {
		t.gvl = 0
	}
	if pick(0.3) {
		t.unit = 6
	}
	if pick(0.3) {
		t.created = 17722368000 + rng.IntN(3)*864000 // 28 February 2026 and the two days after it
	}
	if pick(0.3) {
		t.updated = 17722368000 + rng.IntN(3)*864000
	}
	t.global = pick(0.03)
	for p := 1; p <= 24; p++ {
		if p <= 11 && pick(0.94) {
			t.consent = append(t.consent, p)
		}
		if pick(0.5) {
			t.interest = append(t.interest, p)
		}
	}
	t.vendorConsent = generateVendors(rng, 0.93)
	t.vendorInterest = generateVendors(rng, 0.5)
	if pick(0.1) {
		t.oneAway, t.cc = true, []string{"FR", "DE"}[rng.IntN(2)]
	}
	for pick(0.3) && len(t.restrictions) < 5 {
		r := restriction{purpose: 1 + rng.IntN(11), kind: rng.IntN(4), spans: generateVendors(rng, 0.5).spans}
		t.restrictions = append(t.restrictions, r)
	}
	if pick(0.5) {
		d := generateVendors(rng, 0.9)
		t.disclosed = &d
	}
	if pick(0.1) {
		t.tail = []string{".YAAAAAAAAAA", ".QAAAAAAA"}[rng.IntN(2)] // publisher's purposes, allowed vendors
	}
	return t
}

// generateVendors generates a set that includes us with the given probability.
func generateVendors(rng *rand.Rand, chance float64) vendors {
	v := vendors{ranges: rng.IntN(2) == 0, max: rng.IntN(1500)}
	with := rng.Float64() < chance
	for at := 1 + rng.IntN(30); at < 1500 && len(v.spans) < 12; at += 2 + rng.IntN(150) {
		s := span{at, at + rng.IntN(40)*rng.IntN(2)}
		if s.first <= us42 && us42 <= s.last {
			at = s.last
			continue
		}
		v.spans = append(v.spans, s)
		at = s.last
	}
	if with {
		s := span{us42, us42}
		if rng.IntN(2) == 0 && !v.has(us42-1) {
			s.first--
		}
		v.spans = append(v.spans, s)
		slices.SortFunc(v.spans, func(a, b span) int { return a.first - b.first })
	}
	return v
}

// expectTCF applies conformance G4 to G10 to the content of a string; it never sees
// the string.
func expectTCF(t *tcfSpec, p *Policy) rtb.Level {
	minimum := p.MinPolicyVersion
	if minimum == 0 {
		minimum = 4
	}
	usable := t.version == 2 && t.gvl != 0 && t.policy >= minimum &&
		!t.global && (t.disclosed == nil || t.disclosed.has(us42)) && (t.disclosed != nil || !p.RequireDisclosedVendors) &&
		(t.disclosed != nil || max(t.created, t.updated) < 17723232000)
	may := func(purpose int) bool { return usable && expectPurpose(t, p, purpose) }
	switch {
	case may(1) && may(2) && may(3) && may(4) && may(7):
		return rtb.LevelPersonalised
	case may(2) || p.ContextualWithoutBasis:
		return rtb.LevelContextual
	}
	return rtb.LevelNone
}

func expectPurpose(t *tcfSpec, p *Policy, purpose int) bool {
	var kinds []int // of the restrictions on us
	for _, r := range t.restrictions {
		if r.purpose == purpose && (vendors{spans: r.spans}).has(us42) {
			kinds = append(kinds, r.kind)
		}
	}
	if slices.Contains(kinds, 0) || slices.Contains(kinds, 3) {
		return false
	}
	consent := slices.Contains(t.consent, purpose) && t.vendorConsent.has(us42)
	if purpose == 1 && t.oneAway {
		consent = slices.Contains(p.PurposeOneTreatment, t.cc) && t.vendorConsent.has(us42)
	}
	if purpose == 1 || purpose == 3 || purpose == 4 {
		return consent && !slices.Contains(kinds, 2)
	}
	interest := slices.Contains(t.interest, purpose) && t.vendorInterest.has(us42)
	if len(kinds) == 0 {
		return consent || interest
	}
	if !slices.Contains(p.FlexiblePurposes, purpose) {
		return false
	}
	return consent && !slices.Contains(kinds, 2) || interest && !slices.Contains(kinds, 1)
}

func testPolicies() map[string]*Policy {
	return map[string]*Policy{
		"default":   {VendorID: us42},
		"flexible":  {VendorID: us42, FlexiblePurposes: []int{2, 7}, PurposeOneTreatment: []string{"DE"}},
		"lenient":   {VendorID: us42, MinPolicyVersion: 2, ContextualWithoutBasis: true},
		"disclosed": {VendorID: us42, RequireDisclosedVendors: true},
	}
}

func TestGeneratedTCF(t *testing.T) {
	conformance.Covers(t, "G4", "G5", "G6", "G7", "G8")
	for name, p := range testPolicies() {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var levels [3]int
			for i := range 1000 {
				spec := generateTCF(rng)
				text, want := spec.String(), expectTCF(spec, p)
				levels[want]++
				for range 3 { // not cached, taken in, cached
					if got := p.Decide(gdpr(text)); got.Level != want {
						t.Fatalf("string %d %s\nmade of %+v:\ngot %v; want %v", i, text, spec, got.Level, want)
					}
				}
				for cut := range 3 { // a core that is cut short never grants
					if got := p.Decide(gdpr(text[:len(text)*cut/6])); got.Level == rtb.LevelPersonalised {
						t.Fatalf("string %d cut short: got %+v; want no use of a profile", i, got)
					}
				}
			}
			t.Logf("none %d, contextual %d, personalised %d", levels[0], levels[1], levels[2])
			if levels[2] < 100 || levels[1] < 100 || name != "lenient" && levels[0] < 100 {
				t.Errorf("got levels %v; want at least 100 of each, or the test proves little", levels)
			}
		})
	}
}

// usSpec is the content of one US section.
type usSpec struct {
	id     int
	form   int // of sections 24 to 27: 0 with version, 1 without, 2 with a header
	values map[string][]int
	gpc    int // -1: no subsection
}

func generateUS(rng *rand.Rand, id int) *usSpec {
	u := &usSpec{id: id, values: map[string][]int{}, gpc: rng.IntN(3) - 1}
	if u.gpc == 1 && rng.IntN(3) > 0 {
		u.gpc = 0
	}
	layout := id
	if id == 7 && rng.IntN(2) == 0 {
		layout = -7
	}
	if id >= 24 {
		u.form = rng.IntN(3)
	}
	for _, f := range usFields[layout] {
		for range f.n {
			v := rng.IntN(3)
			switch {
			case f.name == "KnownChild":
				v *= boolInt(rng.IntN(20) == 0)
			case f.name == "MspaVersion":
				v = 1
			case f.name == "MspaServiceProviderMode":
				v = []int{0, 2, 2, 2, 2, 2, 1}[rng.IntN(7)]
			case f.name == "MspaMode":
				v = []int{0, 1, 1, 1, 1, 1, 2}[rng.IntN(7)]
			case strings.HasSuffix(f.name, "Notice"):
				v = []int{0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}[rng.IntN(12)]
			case len(f.name) > 6 && f.name[len(f.name)-6:] == "OptOut":
				v = []int{0, 2, 2, 2, 2, 2, 1}[rng.IntN(7)]
			}
			u.values[f.name] = append(u.values[f.name], v)
		}
	}
	return u
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (u *usSpec) layout() int {
	if u.id == 7 && len(u.values["Sensitive"]) == 16 {
		return -7
	}
	return u.id
}

// refuses applies the rules to the values.
func (u *usSpec) refuses() bool {
	yes := func(name string) bool { return slices.Contains(u.values[name], 1) }
	for _, notice := range []string{"Processing", "Sharing", "SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut"} {
		if slices.Contains(u.values[notice+"Notice"], 2) {
			return true
		}
	}
	if yes("MspaServiceProviderMode") || slices.Contains(u.values["MspaMode"], 2) {
		return true
	}
	return yes("SaleOptOut") || yes("SharingOptOut") || yes("TargetedAdvertisingOptOut") || u.gpc == 1 ||
		slices.ContainsFunc(u.values["KnownChild"], func(v int) bool { return v != 0 })
}

func (u *usSpec) String() string {
	var core, before bitText
	if u.form == 0 {
		core.int(6, 1+boolInt(u.layout() == -7))
	}
	for _, f := range usFields[u.layout()] {
		for _, v := range u.values[f.name] {
			core.int(f.width, v)
		}
	}
	text := core.base64(8)
	if u.form == 2 {
		before.int(6, u.id)
		before.int(6, 1)
		before.int(12, 0)
		text = before.base64(8) + "." + text
	}
	if u.gpc >= 0 {
		var g bitText
		g.int(2, 1)
		g.int(1, u.gpc)
		text += "." + g.base64(8)
	}
	return text
}

func TestGeneratedGPPSections(t *testing.T) {
	conformance.Covers(t, "G12", "G14", "G20")
	rng := rand.New(rand.NewPCG(3, 4))
	p := &Policy{VendorID: us42}
	var refused, allowed int
	for i := range 2100 {
		u := generateUS(rng, 7+i%21)
		text := gppOf(map[int]string{u.id: u.String()}, i%2 == 0)
		for _, sids := range [][]int{{u.id}, nil, {u.id, 3}} {
			got := p.Decide(&rtb.Signals{GDPR: rtb.No, GPP: []byte(text), GPPSID: sids})
			if (got.Level == rtb.LevelPersonalised) == u.refuses() {
				t.Fatalf("section %d form %d of %+v: %s with gpp_sid %v: got %+v; want refused %v", u.id, u.form, u, text, sids, got, u.refuses())
			}
		}
		if u.refuses() {
			refused++
		} else {
			allowed++
		}
	}
	t.Logf("refused %d, allowed %d", refused, allowed)
	if refused < 500 || allowed < 500 {
		t.Error("want at least 500 of each, or the test proves little")
	}
}

func TestGeneratedGPPStrings(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	p := &Policy{VendorID: us42}
	var levels [3]int
	for i := range 1000 {
		sections := map[int]string{}
		level := map[int]rtb.Level{}
		for n := 1 + rng.IntN(5); n > 0; n-- {
			switch id := []int{2, 5, 6, 7 + rng.IntN(21), 7 + rng.IntN(21)}[rng.IntN(5)]; {
			case id == 2:
				spec := generateTCF(rng)
				sections[id], level[id] = spec.String(), expectTCF(spec, p)
				if spec.version != 2 || spec.gvl == 0 || spec.global {
					level[id] = rtb.LevelContextual // unreadable
				}
			case id == 5:
				sections[id], level[id] = generateCanada(rng, p)
			case id == 6:
				optOut := rng.IntN(4) == 0
				sections[id], level[id] = fmt.Sprintf("1Y%cN", "NY"[boolInt(optOut)]), expectRefusal(optOut)
			default:
				u := generateUS(rng, id)
				sections[id], level[id] = u.String(), expectRefusal(u.refuses())
			}
		}
		text := gppOf(sections, rng.IntN(2) == 0)
		var sids []int
		want := rtb.LevelPersonalised
		for _, id := range slices.Sorted(maps.Keys(level)) {
			if rng.IntN(2) == 0 {
				sids = append(sids, id)
				want = min(want, level[id])
			}
		}
		if rng.IntN(10) == 0 {
			sids = append(sids, 50) // no such section
			want = min(want, rtb.LevelContextual)
		}
		if len(sids) == 0 {
			for _, l := range level {
				want = min(want, l)
			}
		}
		levels[want]++
		got := p.Decide(&rtb.Signals{GDPR: rtb.No, GPP: []byte(text), GPPSID: sids})
		if got.Level != want {
			t.Fatalf("string %d %s with gpp_sid %v: got %+v; want %v (sections %v)", i, text, sids, got, want, level)
		}
	}
	t.Logf("none %d, contextual %d, personalised %d", levels[0], levels[1], levels[2])
	if min(levels[0], levels[1], levels[2]) < 40 {
		t.Errorf("got levels %v; want at least 40 of each, or the test proves little", levels)
	}
}

func expectRefusal(refused bool) rtb.Level {
	if refused {
		return rtb.LevelContextual
	}
	return rtb.LevelPersonalised
}

// generateCanada generates a Canadian section. It has no purpose one treatment, no
// minimum policy version and no level of none.
func generateCanada(rng *rand.Rand, p *Policy) (string, rtb.Level) {
	spec := generateTCF(rng)
	readable := spec.version != 3
	spec.version, spec.oneAway, spec.global, spec.created, spec.updated = 1, false, false, 0, 0
	text := spec.Canada()
	if !readable {
		spec.version = 2
		return spec.Canada(), rtb.LevelContextual
	}
	spec.version, spec.gvl, spec.policy = 2, 1, 5
	return text, max(expectTCF(spec, p), rtb.LevelContextual)
}
