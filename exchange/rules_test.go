package exchange

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// Rules that depend only on the shape of the request. Names are the rules' ids.
func TestRefusals(t *testing.T) {
	conformance.Covers(t, "T3", "V1", "V2", "V3", "V4", "V10", "V11", "V12")
	generic := testProfile(t, nil)
	tolerant := testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })
	deep := strings.Repeat("[", 100_000)
	cases := []struct {
		rule    string
		body    string
		profile *Profile
		want    error // nil: readable
	}{
		{"R0", requestR0, generic, nil},
		{"T3 cut off", `{"id":`, generic, ErrSyntax},
		{"T3 empty", ``, generic, ErrSyntax},
		{"V1 no id", string(patched(t, `{"id":null}`)), generic, ErrNoID},
		{"V1 empty id", string(patched(t, `{"id":""}`)), generic, ErrNoID},
		{"V1 object id", string(patched(t, `{"id":{"a":1}}`)), generic, ErrNoID},
		{"V1 half surrogate id", `{"id":"\ud800","imp":[{"id":"1","banner":{}}],"site":{}}`, generic, ErrNoID},
		{"V1 no imp", string(patched(t, `{"imp":null}`)), generic, ErrNoImp},
		{"V1 empty imp", string(patched(t, `{"imp":[]}`)), generic, ErrNoImp},
		{"V1 imp object", string(patched(t, `{"imp":{"id":"1"}}`)), generic, ErrNoImp},
		{"V2 two ids", string(patched(t, `{"imp":[{"id":"1","banner":{}},{"id":"1","banner":{}}]}`)), generic, ErrDuplicateImp},
		{"V3 no format", string(patched(t, `{"imp":[{"id":"1"}]}`)), generic, ErrNoUsableImp},
		{"V3 null formats", `{"id":"r","site":{},"imp":[{"id":"1","banner":null,"video":null}]}`, generic, ErrNoUsableImp},
		{"V4 unknown fields", string(patched(t, `{"zzz":{"a":1},"imp":[{"id":"1","banner":{"api":[9999]},"new":1}]}`)), generic, nil},
		{"V10 trailing text", requestR0 + " x", generic, ErrSyntax},
		{"V10 second text", requestR0 + requestR0, generic, ErrSyntax},
		{"V10 trailing space", requestR0 + " \r\n\t", generic, nil},
		{"V10 byte order mark", "\xef\xbb\xbf" + requestR0, generic, nil},
		{"V10 invalid UTF-8", strings.Replace(requestR0, "s1", "s\xff", 1), generic, ErrUTF8},
		{"V10 overlong UTF-8", strings.Replace(requestR0, "s1", "\xc0\xaf", 1), generic, ErrUTF8},
		{"V10 encoded surrogate", strings.Replace(requestR0, "s1", "\xed\xa0\x80", 1), generic, ErrUTF8},
		{"V11 depth", `{"id":"r","ext":` + deep, generic, ErrDepth},
		{"V11 depth in a read object", `{"id":"r","user":{"ext":{"x":` + deep, generic, ErrDepth},
		{"V12 site and app", string(patched(t, `{"app":{"id":"a"}}`)), generic, ErrTwoInventories},
		{"V12 app null", strings.Replace(requestR0, `"at":1`, `"app":null,"at":1`, 1), generic, nil},
		{"V12 none", string(patched(t, `{"site":null}`)), generic, ErrNoInventory},
		{"V12 none, allowed", string(patched(t, `{"site":null}`)), tolerant, nil},
		{"not an object", `[1]`, generic, ErrNotObject},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			if _, err := decoded(t, c.profile, []byte(c.body)); err != c.want {
				t.Errorf("got %v; want %v", err, c.want)
			}
		})
	}
}

func TestDecodeErrorKinds(t *testing.T) {
	for e := ErrMalformed; e <= ErrNoUsableImp; e++ {
		if got, want := errors.Is(e, ErrMalformed), e <= ErrNoImp; got != want {
			t.Errorf("errors.Is(%v, ErrMalformed) = %v; want %v", e, got, want)
		}
		if e.Error() == "" || e.Reason() == rtb.NoBidNone {
			t.Errorf("%d has no text or no reason", e)
		}
	}
	if ErrDuplicateImp.Reason() != rtb.NoBidDuplicateImp || ErrSyntax.Reason() != rtb.NoBidMalformed {
		t.Error("wrong reasons")
	}
}

// V2: a bad impression is skipped, and the others are kept.
func TestV2BadImpressionsAreSkipped(t *testing.T) {
	conformance.Covers(t, "V2")
	p := testProfile(t, nil)
	o := mustDecode(t, p, patched(t, `{"imp":[{"id":"","banner":{}},7,null,{"banner":{}},{"id":"2","banner":{"w":300,"h":250}}]}`))
	if len(o.Imps) != 1 || string(o.Imps[0].ID) != "2" || o.MalformedImps != 4 {
		t.Errorf("got %d impressions, %d malformed; want the one with id 2, 4 malformed", len(o.Imps), o.MalformedImps)
	}
}

// V5, V7, V8: a scalar of another type has the same meaning.
func TestV5LooseScalars(t *testing.T) {
	conformance.Covers(t, "V5", "V7", "V8")
	p := testProfile(t, nil)
	clean := mustDecode(t, p, []byte(requestR0))
	for _, patch := range []string{
		`"tmax":120.0`, `"tmax":"120"`, `"tmax":1.2e2`, `"at":"1"`, `"at":1.0`, `"cur":"USD"`, `"test":null`, `"test":0.0`, `"test":"0"`,
		`"test":false`, `"bcat":null`, `"regs":null`, `"ext":"text"`, `"ext":[1]`, `"app":null`,
	} {
		body := strings.Replace(requestR0, `{"id":"r0"`, `{`+patch+`,"id":"r0"`, 1)
		for _, k := range []string{"tmax", "at", "cur"} {
			if strings.HasPrefix(patch, `"`+k+`"`) {
				body = removeMember(body, k)
			}
		}
		same(t, patch, mustDecode(t, p, []byte(body)), clean)
	}
	for _, swap := range [][2]string{
		{`"secure":1`, `"secure":true`}, {`"secure":1`, `"secure":"1"`}, {`"secure":1`, `"secure":1.0`}, {`"secure":1`, `"secure":"true"`},
		{`"bidfloor":0.50`, `"bidfloor":"0.5"`}, {`"bidfloor":0.50`, `"bidfloor":5e-1`}, {`"w":300`, `"w":300.0`}, {`"w":300`, `"w":300.5`},
		{`"w":300`, `"w":"300"`}, {`"id":"1"`, `"id":1`}, {`"bidfloorcur":"USD"`, `"bidfloorcur":null`}, {`"bidfloorcur":"USD"`, `"bidfloorcur":"usd"`},
		{`"ip":"203.0.113.7"`, `"ip":"203.0.113.7","ifa":null`}, {`"geo":{`, `"sua":{"mobile":null},"geo":{`},
		{`"buyeruid":"u-retarget"`, `"buyeruid":"u-retarget","ext":"str"`}, {`"r0"`, `"\u00720"`}, {`"buyeruid"`, `"buyer\u0075id"`},
		{`{"w":300,"h":250}`, `null,{"w":300,"h":250},{"w":300,"h":250}`},
	} {
		if !strings.Contains(requestR0, swap[0]) {
			t.Fatalf("R0 holds no %s", swap[0])
		}
		same(t, swap[1], mustDecode(t, p, []byte(strings.Replace(requestR0, swap[0], swap[1], 1))), clean)
	}
}

// An allow list that names nothing allows nothing; an empty one counts as absent.
// White space around blocked categories does not matter.
func TestListsOfNothing(t *testing.T) {
	conformance.Covers(t, "B1", "B4", "B8", "B14")
	p := testProfile(t, nil)
	for text, want := range map[string]int{`[""]`: 1, `[null]`: 1, `[ null, "" ]`: 1, `[]`: 0, `[ ]`: 0, `null`: 0, `["a",""]`: 1} {
		for _, name := range []string{"wseat", "acat", "wlang", "wlangb", "bseat", "badv"} {
			o := mustDecode(t, p, []byte(strings.Replace(requestR0, `{"id":"r0"`, `{"`+name+`":`+text+`,"id":"r0"`, 1)))
			got := map[string][][]byte{"wseat": o.WSeat, "acat": o.ACat, "wlang": o.WLang, "wlangb": o.WLangB, "bseat": o.BSeat, "badv": o.BAdv}[name]
			expect := want
			if (name == "bseat" || name == "badv") && !strings.Contains(text, "a") {
				expect = 0
			}
			if len(got) != expect || o.BlockListsBad {
				t.Errorf("%s %s: got %q, bad %v; want %d entries", name, text, got, o.BlockListsBad, expect)
			}
		}
		for _, name := range []string{"wseat", "wadomain"} {
			d := mustDecode(t, p, imp0(`"banner":{},"pmp":{"deals":[{"id":"d","`+name+`":`+text+`}]}`)).Imps[0].Deals[0]
			if len(d.WSeat)+len(d.WADomain) != want || d.ListsBad {
				t.Errorf("deal %s %s: got %q %q, bad %v; want %d entries", name, text, d.WSeat, d.WADomain, d.ListsBad, want)
			}
		}
	}
	o := mustDecode(t, p, []byte(strings.Replace(requestR0, `{"id":"r0"`, `{"bcat":[" IAB22","IAB3\t"],"id":"r0"`, 1)))
	if string(o.BCat[0]) != "IAB22" || string(o.BCat[1]) != "IAB3" {
		t.Errorf("got %q; want no blanks", o.BCat)
	}
}

// A taxonomy that cannot be read, or two that differ, make category lists
// unreadable; without such a list it does not matter.
func TestUnreadableTaxonomy(t *testing.T) {
	conformance.Covers(t, "B8")
	p := testProfile(t, nil)
	for text, bad := range map[string]bool{
		`"cattax":"x"`: true, `"cattax":[7]`: true, `"cattax":{}`: true, `"cattax":true`: true, `"cattax":-3`: true, `"cattax":0`: true,
		`"cattax":7,"cattax":1`: true, `"cattax":1,"cattax":7`: true, `"cattax":1,"cattax":"x"`: true, `"cattax":"x","cattax":1`: true,
		`"cattax":null`: false, `"cattax":1`: false, `"cattax":"1"`: false, `"cattax":1.0,"cattax":1`: false, `"cattax":7`: false,
	} {
		for list, there := range map[string]bool{`"bcat":["22"]`: true, `"acat":["22"]`: true, `"bcat":[]`: false, `"acat":null`: false} {
			o := mustDecode(t, p, []byte(strings.Replace(requestR0, `{"id":"r0"`, `{`+text+`,`+list+`,"id":"r0"`, 1)))
			if o.BlockListsBad != (bad && there) {
				t.Errorf("%s,%s: got bad %v; want %v", text, list, o.BlockListsBad, bad && there)
			}
		}
	}
	o := mustDecode(t, p, []byte(strings.Replace(requestR0, `{"id":"r0"`, `{"cattax":7,"cattax":null,"id":"r0"`, 1)))
	if o.CatTax != 7 {
		t.Errorf("null behind a taxonomy: got %d; want 7", o.CatTax)
	}
}

// The offset from UTC is read from any number; one beyond all time zones is ignored.
func TestV5LocalTime(t *testing.T) {
	p := testProfile(t, nil)
	for text, want := range map[string]time.Duration{`-60.0`: -time.Hour, `"-60"`: -time.Hour, `330`: 330 * time.Minute, `0`: 0} {
		o := mustDecode(t, p, []byte(strings.Replace(requestR0, `"geo":{`, `"geo":{"utcoffset":`+text+`,`, 1)))
		if !o.Device.HasOffset || o.Device.UTCOffset != want {
			t.Errorf("%s: got %v, %v; want %v", text, o.Device.UTCOffset, o.Device.HasOffset, want)
		}
	}
	for _, text := range []string{`99999`, `"west"`, `null`, `{}`} {
		o := mustDecode(t, p, []byte(strings.Replace(requestR0, `"geo":{`, `"geo":{"utcoffset":`+text+`,`, 1)))
		if o.Device.HasOffset {
			t.Errorf("%s: got %v; want none", text, o.Device.UTCOffset)
		}
	}
}

// Of several viewability metrics the lowest one is kept; other metrics are ignored.
func TestViewability(t *testing.T) {
	p := testProfile(t, nil)
	for text, want := range map[string]float64{
		`[{"type":"viewability","value":0.85}]`: 0.85, `[{"type":"viewability","value":"0.85"},{"value":0.4,"type":"viewability"}]`: 0.4,
		`[{"type":"session_depth","value":3}]`: -1, `[{"type":"viewability","value":85}]`: -1, `{}`: -1, `[7,{"type":"viewability"}]`: -1,
	} {
		m := mustDecode(t, p, []byte(strings.Replace(requestR0, `"imp":[{`, `"imp":[{"metric":`+text+`,`, 1))).Imps[0]
		if m.HasViewability != (want >= 0) || want >= 0 && m.Viewability != want {
			t.Errorf("%s: got %v, %v; want %v", text, m.Viewability, m.HasViewability, want)
		}
	}
}

func removeMember(body, key string) string {
	for _, m := range []string{`,"tmax":120`, `,"at":1`, `,"cur":["USD"]`} {
		if strings.HasPrefix(m, `,"`+key+`"`) {
			return strings.Replace(body, m, "", 1)
		}
	}
	return body
}

func same(t *testing.T, what string, got, want *rtb.Opportunity) {
	t.Helper()
	if !reflect.DeepEqual(normal(got), normal(want)) {
		t.Errorf("%s: got\n%+v; want\n%+v", what, *got, *want)
	}
}

// normal is the opportunity with empty lists as nil.
func normal(o *rtb.Opportunity) rtb.Opportunity {
	c := *o
	emptyToNil(reflect.ValueOf(&c).Elem())
	return c
}

func emptyToNil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		if v.Len() == 0 {
			v.SetZero()
		}
		for i := range v.Len() {
			emptyToNil(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			emptyToNil(v.Field(i))
		}
	}
}

// V6: a restriction that cannot be read still restricts.
func TestV6FailClosed(t *testing.T) {
	conformance.Covers(t, "V6", "V15")
	p := testProfile(t, nil)
	sig := func(f func(*rtb.Signals) bool) func(*rtb.Opportunity) bool {
		return func(o *rtb.Opportunity) bool { return f(&o.Signals) }
	}
	imp := func(f func(*rtb.Impression) bool) func(*rtb.Opportunity) bool {
		return func(o *rtb.Opportunity) bool { return f(&o.Imps[0]) }
	}
	const b = `"banner":{"w":300,"h":250}`
	cases := []struct {
		name string
		body []byte
		ok   func(*rtb.Opportunity) bool
	}{
		{"gdpr text 1", root0(`"regs":{"gdpr":"1"}`), sig(func(s *rtb.Signals) bool { return s.GDPR == rtb.Yes })},
		{"gdpr true", root0(`"regs":{"ext":{"gdpr":true}}`), sig(func(s *rtb.Signals) bool { return s.GDPR == rtb.Yes })},
		{"gdpr odd", root0(`"regs":{"gdpr":"x"}`), sig(func(s *rtb.Signals) bool { return s.GDPR == rtb.Unreadable })},
		{"gdpr 2", root0(`"regs":{"gdpr":2}`), sig(func(s *rtb.Signals) bool { return s.GDPR == rtb.Unreadable })},
		{"gdpr half", root0(`"regs":{"gdpr":0.5}`), sig(func(s *rtb.Signals) bool { return s.GDPR == rtb.Unreadable })},
		{"coppa list", root0(`"regs":{"coppa":[1]}`), sig(func(s *rtb.Signals) bool { return s.COPPA == rtb.Unreadable })},
		{"consent number", root0(`"user":{"consent":7}`), sig(func(s *rtb.Signals) bool { return s.ConsentBad })},
		{"gpp object", root0(`"regs":{"gpp":{}}`), sig(func(s *rtb.Signals) bool { return s.GPPBad })},
		{"gpp_sid text", root0(`"regs":{"gpp_sid":["7","x"]}`), sig(func(s *rtb.Signals) bool { return s.GPPSIDBad && s.GPPSID[0] == 7 })},
		{"us_privacy number", root0(`"regs":{"us_privacy":1}`), sig(func(s *rtb.Signals) bool { return s.USPBad })},
		{"regs list", root0(`"regs":[1]`), sig(func(s *rtb.Signals) bool { return s.ExtUnread && s.COPPA == rtb.Unreadable })},
		{"V15 regs.ext list", root0(`"regs":{"ext":[1]}`), sig(func(s *rtb.Signals) bool { return s.ExtUnread })},
		{"V15 user.ext text", root0(`"user":{"ext":"str"}`), sig(func(s *rtb.Signals) bool { return !s.ExtUnread && !s.ConsentBad })},
		{"device text", root0(`"device":"x"`), sig(func(s *rtb.Signals) bool { return s.LMT == rtb.Unreadable })},
		{"lmt text", root0(`"device":{"lmt":"yes"}`), sig(func(s *rtb.Signals) bool { return s.LMT == rtb.Unreadable })},
		{"gpc text", root0(`"regs":{"ext":{"gpc":"1"}}`), sig(func(s *rtb.Signals) bool { return s.GPC == rtb.Yes })},
		{"lgpd", root0(`"regs":{"ext":{"lgpd":1}}`), sig(func(s *rtb.Signals) bool { return s.NPA == rtb.Yes })},
		{"treatments", root0(`"ext":{"privacy_treatments":{"allow_user_data_collection":false}}`), sig(func(s *rtb.Signals) bool { return s.NPA == rtb.Yes })},

		{"floor number in text", imp0(b + `,"bidfloor":"9"`), imp(func(m *rtb.Impression) bool { return m.Floor == 9_000_000 && !m.FloorBad })},
		{"floor text", imp0(b + `,"bidfloor":"abc"`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"floor empty", imp0(b + `,"bidfloor":""`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"floor object", imp0(b + `,"bidfloor":{}`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"floor true", imp0(b + `,"bidfloor":true`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"floor 1e400", imp0(b + `,"bidfloor":1e400`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"floor 1e9999999999", imp0(b + `,"bidfloor":1e9999999999`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"floor beyond limits", imp0(b + `,"bidfloor":1000001`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"floor negative", imp0(b + `,"bidfloor":-3`), imp(func(m *rtb.Impression) bool { return m.Floor == 0 && !m.FloorBad })},
		{"floor tiny rounds up", imp0(b + `,"bidfloor":5e-324`), imp(func(m *rtb.Impression) bool { return m.Floor == 1 && !m.FloorBad })},
		{"floor rounds up", imp0(b + `,"bidfloor":0.1234561`), imp(func(m *rtb.Impression) bool { return m.Floor == 123_457 })},
		{"floor null", imp0(b + `,"bidfloor":null`), imp(func(m *rtb.Impression) bool { return m.Floor == 0 && !m.FloorBad })},
		{"floor currency odd", imp0(b + `,"bidfloor":1,"bidfloorcur":"EURO"`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"secure text", imp0(b + `,"secure":"maybe"`), imp(func(m *rtb.Impression) bool { return m.Secure == rtb.Unreadable })},
		{"pmp text", imp0(b + `,"pmp":"x"`), imp(func(m *rtb.Impression) bool { return m.DealsBad })},
		{"deals object", imp0(b + `,"pmp":{"deals":{}}`), imp(func(m *rtb.Impression) bool { return m.DealsBad })},
		{"private_auction odd", imp0(b + `,"pmp":{"private_auction":"x"}`), imp(func(m *rtb.Impression) bool { return m.PrivateAuction })},
		{"deal floor odd", imp0(b + `,"pmp":{"deals":[{"id":"d","bidfloor":[]}]}`), imp(func(m *rtb.Impression) bool { return m.Deals[0].FloorBad })},
		{"deal wseat odd", imp0(b + `,"pmp":{"deals":[{"id":"d","wseat":[{}]}]}`), imp(func(m *rtb.Impression) bool { return m.Deals[0].ListsBad })},
		{"battr text", imp0(`"banner":{"w":300,"h":250,"battr":["x"]}`), imp(func(m *rtb.Impression) bool { return m.Banner.ListsBad })},
		{"battr alone", imp0(`"banner":{"w":300,"h":250,"battr":3}`), imp(func(m *rtb.Impression) bool { return !m.Banner.ListsBad && m.Banner.BAttr[0] == 3 })},
		{"banner text", imp0(`"banner":"x"`), imp(func(m *rtb.Impression) bool { return m.Banner.ListsBad && m.Formats == rtb.FormatBanner })},
		{"video duration odd", imp0(`"video":{"maxduration":"long"}`), imp(func(m *rtb.Impression) bool { return m.Video.ListsBad })},
		{"video protocols odd", imp0(`"video":{"protocols":["x"]}`), imp(func(m *rtb.Impression) bool { return m.Video.ListsBad })},
		{"video floor odd", imp0(`"video":{"durfloors":7}`), imp(func(m *rtb.Impression) bool { return m.FloorBad })},
		{"native garbage", imp0(`"native":{"request":"{test}"}`), imp(func(m *rtb.Impression) bool { return m.Native.Bad })},
		{"native nothing", imp0(`"native":{}`), imp(func(m *rtb.Impression) bool { return m.Native.Bad })},
	}
	for _, list := range listNames {
		for _, bad := range []string{`{"a":1}`, `true`, `[[]]`, `["x",{}]`} {
			cases = append(cases, struct {
				name string
				body []byte
				ok   func(*rtb.Opportunity) bool
			}{list.name + " " + bad, root0(`"` + list.name + `":` + bad), func(o *rtb.Opportunity) bool { return o.BlockListsBad }})
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if o := mustDecode(t, p, c.body); !c.ok(o) {
				t.Errorf("%s read as %+v", c.body, *o)
			}
		})
	}
}

// V9: a duplicate or a case variant of a key cannot revoke a restriction.
func TestV9DuplicateKeys(t *testing.T) {
	conformance.Covers(t, "V9", "V14")
	p := testProfile(t, nil)
	check := func(name string, body []byte, ok func(*rtb.Opportunity) bool) {
		t.Run(name, func(t *testing.T) {
			if o := mustDecode(t, p, body); !ok(o) {
				t.Errorf("%s read as %+v", body, *o)
			}
		})
	}
	gdpr := func(o *rtb.Opportunity) bool { return o.Signals.GDPR == rtb.Yes }
	check("gdpr then GDPR", root0(`"regs":{"gdpr":1,"GDPR":0}`), gdpr)
	check("GDPR then gdpr", root0(`"regs":{"GDPR":1,"gdpr":0}`), gdpr)
	check("gdpr twice", root0(`"regs":{"gdpr":1,"gdpr":0}`), gdpr)
	check("regs twice", root0(`"regs":{"gdpr":1},"regs":{"gdpr":0}`), gdpr)
	check("Regs", root0(`"regs":{"gdpr":0},"Regs":{"ext":{"Gdpr":1}}`), gdpr)
	check("escaped key", root0(`"regs":{"gd\u0070r":1}`), gdpr)
	check("V14 two places", root0(`"regs":{"gdpr":0,"ext":{"gdpr":1}}`), gdpr)
	check("lmt twice", root0(`"device":{"lmt":1},"device":{"lmt":0}`), func(o *rtb.Opportunity) bool { return o.Signals.LMT == rtb.Yes })
	check("Device", root0(`"device":{"lmt":0},"Device":{"LMT":1}`), func(o *rtb.Opportunity) bool { return o.Signals.LMT == rtb.Yes })
	check("two consents", root0(`"user":{"consent":"A","ext":{"consent":"B"}}`), func(o *rtb.Opportunity) bool { return o.Signals.ConsentBad })
	check("one consent twice", root0(`"user":{"consent":"A","ext":{"consent":"A"}}`),
		func(o *rtb.Opportunity) bool { return !o.Signals.ConsentBad && string(o.Signals.Consent) == "A" })
	check("empty consent", root0(`"user":{"consent":"","ext":{"consent":"A"}}`),
		func(o *rtb.Opportunity) bool { return !o.Signals.ConsentBad && string(o.Signals.Consent) == "A" })
	check("gpp_sid twice", root0(`"regs":{"gpp_sid":[7],"ext":{"gpp_sid":[8]}}`),
		func(o *rtb.Opportunity) bool { return reflect.DeepEqual(o.Signals.GPPSID, []int{7, 8}) })
	check("two countries", root0(`"device":{"geo":{"country":"FRA"}},"device":{"geo":{"country":"CAN"}}`),
		func(o *rtb.Opportunity) bool { return o.Signals.GDPR == rtb.Unreadable })
	check("list twice", root0(`"badv":["a.example"],"badv":[]`), func(o *rtb.Opportunity) bool { return o.BlockListsBad })
	check("id twice", root0(`"id":"last"`), func(o *rtb.Opportunity) bool { return string(o.ID) == "last" })
	check("user twice", root0(`"user":{"id":"a","buyeruid":"b"},"user":{"id":"c"}`),
		func(o *rtb.Opportunity) bool { return len(o.IDs) == 1 && string(o.IDs[0].Value) == "c" })
	check("ID", root0(`"ID":"other"`), func(o *rtb.Opportunity) bool { return string(o.ID) == "r0" })
	const b = `"banner":{"w":300,"h":250},`
	check("floor twice", imp0(b+`"bidfloor":5,"bidfloor":0.1`), func(o *rtb.Opportunity) bool { return o.Imps[0].Floor == 5_000_000 })
	check("floor currency twice", imp0(b+`"bidfloorcur":"EUR","bidfloorcur":"USD"`), func(o *rtb.Opportunity) bool { return o.Imps[0].FloorBad })
	check("secure twice", imp0(b+`"secure":1,"secure":0`), func(o *rtb.Opportunity) bool { return o.Imps[0].Secure == rtb.Yes })
	check("banner twice", imp0(`"banner":{"battr":[3]},"banner":{}`), func(o *rtb.Opportunity) bool { return o.Imps[0].Banner.ListsBad })
	check("battr twice", imp0(`"banner":{"battr":[3],"battr":[]}`), func(o *rtb.Opportunity) bool { return o.Imps[0].Banner.ListsBad })
	check("private_auction twice", imp0(b+`"pmp":{"private_auction":1},"pmp":{"private_auction":0}`),
		func(o *rtb.Opportunity) bool { return o.Imps[0].PrivateAuction })
}
