package exchange

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/internal/spec"
	"rebound/rtb"
)

// V11, V16: the memory that one request takes is bounded.
func TestV11Limits(t *testing.T) {
	conformance.Covers(t, "V11", "I7")
	p := testProfile(t, nil)
	many := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }
	o := mustDecode(t, p, root0(`"user":{"eids":[`+many(10_000, `{"source":"s.example","uids":[{"id":"x"}]}`)+`]}`))
	if len(o.IDs) != maxEIDs {
		t.Errorf("got %d identifiers of 10000; want %d", len(o.IDs), maxEIDs)
	}
	o = mustDecode(t, p, root0(`"user":{"eids":[{"source":"s.example","uids":[`+many(10_000, `{"id":"x"}`)+`]}]}`))
	if len(o.IDs) != maxEIDs {
		t.Errorf("got %d identifiers of 10000; want %d", len(o.IDs), maxEIDs)
	}
	var imps strings.Builder
	for i := range 150 {
		imps.WriteString(`,{"id":"` + strings.Repeat("i", i+1) + `","banner":{"w":1,"h":1}}`)
	}
	o = mustDecode(t, p, []byte(`{"id":"r","site":{},"imp":[`+imps.String()[1:]+`]}`))
	if len(o.Imps) != maxImps {
		t.Errorf("got %d impressions of 150; want %d", len(o.Imps), maxImps)
	}
	var deals strings.Builder
	for i := range 999 {
		fmt.Fprintf(&deals, `,{"id":"d%d"}`, i)
	}
	o = mustDecode(t, p, imp0(`"banner":{"format":[`+many(999, `{"w":1,"h":1},{"w":2,"h":2}`)+`]},"pmp":{"deals":[`+deals.String()[1:]+`]}`))
	if len(o.Imps[0].Banner.Sizes) != 2 || len(o.Imps[0].Deals) != maxDeals {
		t.Errorf("got %d sizes, %d deals; want 2, %d", len(o.Imps[0].Banner.Sizes), len(o.Imps[0].Deals), maxDeals)
	}
	o = mustDecode(t, p, root0(`"badv":[`+many(20_000, `"a.example"`)+`]`))
	if len(o.BAdv) != 20_000 || o.BlockListsBad {
		t.Errorf("got %d blocked domains, bad %v; want 20000", len(o.BAdv), o.BlockListsBad)
	}
	o = mustDecode(t, p, root0(`"badv":[`+many(maxBlocked+1, `"a.example"`)+`]`))
	if !o.BlockListsBad {
		t.Error("a block list longer than is read must count as unreadable")
	}
	o = mustDecode(t, p, root0(`"user":{"buyeruid":"`+strings.Repeat("x", maxIdentifier+1)+`","id":"y"}`))
	if len(o.IDs) != 1 {
		t.Errorf("got %d identifiers; want the short one", len(o.IDs))
	}
}

// T15, T16, T17: the time to respond.
func TestT15Budget(t *testing.T) {
	conformance.Covers(t, "T15", "T16", "T17")
	ms := func(n int) *spec.Duration { d := spec.Duration(n) * spec.Duration(time.Millisecond); return &d }
	p := testProfile(t, func(s *ProfileSpec) { s.RTTAllowance, s.Safety, s.DefaultTMax = ms(40), ms(10), *ms(90) })
	for body, want := range map[string]time.Duration{
		`"tmax":100`: 50, `"tmax":0`: 40, `"tmax":null`: 40, `"tmax":-5`: 40, `"tmax":"x"`: 40, `"tmax":5`: -45, `"x":1`: 40,
		`"tmax":99999999999999999999`: 3600_000 - 50, `"tmax":1e300`: 3600_000 - 50,
	} {
		if got := p.Budget(mustDecode(t, p, root0(body)).TMax); got != want*time.Millisecond {
			t.Errorf("%s: got %v; want %v", body, got, want*time.Millisecond)
		}
	}
}

// P1, P6, P9, T25.
func TestAuctionAndCurrency(t *testing.T) {
	conformance.Covers(t, "P1", "P6", "P9")
	second := testProfile(t, nil)
	first := testProfile(t, func(s *ProfileSpec) {
		s.Auction = "first"
		s.At500FirstPrice = []int{501}
		s.DealFloorInheritsCur = true
	})
	for body, want := range map[string][2]int{`"x":1`: {2, 1}, `"at":1`: {1, 1}, `"at":2`: {2, 2}, `"at":501`: {501, 501}, `"at":null`: {2, 1}, `"at":"x"`: {2, 1}} {
		if a, b := mustDecode(t, second, root0(body)).At, mustDecode(t, first, root0(body)).At; a != want[0] || b != want[1] {
			t.Errorf("P1 %s: at %d and %d; want %v", body, a, b, want)
		}
	}
	if second.FirstPrice(501) || !first.FirstPrice(501) || first.FirstPrice(502) || !second.FirstPrice(1) || second.FirstPrice(2) {
		t.Error("P1: wrong codes are first price")
	}
	eur := rtb.Currency{'E', 'U', 'R'}
	deal := imp0(`"banner":{},"pmp":{"deals":[{"id":"d","bidfloor":1},{"id":"e","bidfloorcur":"EUR"}]},"bidfloorcur":"EUR"`)
	a, b := mustDecode(t, second, deal).Imps[0], mustDecode(t, first, deal).Imps[0]
	if a.Deals[0].FloorCur != rtb.USD || b.Deals[0].FloorCur != eur || a.Deals[0].CurGiven || a.Deals[1].FloorCur != eur || !a.Deals[1].CurGiven {
		t.Errorf("P6: got %v and %v", a.Deals, b.Deals)
	}
	for body, want := range map[string]struct {
		n   int
		bad bool
	}{`"cur":["EUR","USD"]`: {2, false}, `"cur":[]`: {0, false}, `"cur":null`: {0, false}, `"cur":"eur"`: {1, false},
		`"cur":["x",7]`: {0, true}, `"cur":["x","USD"]`: {1, false}, `"cur":{}`: {0, true}} {
		if o := mustDecode(t, second, root0(body)); len(o.Currencies) != want.n || o.CurBad != want.bad {
			t.Errorf("P9 %s: got %v, bad %v; want %v", body, o.Currencies, o.CurBad, want)
		}
	}
	for body, want := range map[string]bool{`"test":1`: true, `"test":"1"`: true, `"test":0`: false, `"test":[]`: false} {
		if mustDecode(t, second, root0(body)).Test != want {
			t.Errorf("T25 %s: want %v", body, want)
		}
	}
}

// I1-I7: identifiers, in the order of lookups.
func TestIdentifiers(t *testing.T) {
	conformance.Covers(t, "I3", "I4", "I5", "I6", "I7", "I11", "I12")
	p := testProfile(t, nil)
	b64 := testProfile(t, func(s *ProfileSpec) { s.BuyerUIDCodec = "b64url" })
	const zero = "00000000-0000-0000-0000-000000000000"
	cases := []struct {
		rule, body, want string
		p                *Profile
	}{
		{"I1 order", `"user":{"id":"x","buyeruid":"b","eids":[{"source":"s","mm":3,"uids":[{"id":"e","atype":1}]}]},"device":{"ifa":"AB-1"}`, "0::b 1:s:e 2::AB-1 3::x", p},
		{"I3 base64", `"user":{"buyeruid":"dS1yZXRhcmdldA"}`, "0::u-retarget", b64},
		{"I3 padded", `"user":{"buyeruid":"dS1yZXRhcmdldA=="}`, "0::u-retarget", b64},
		{"I3 no base64", `"user":{"buyeruid":"~rb~x"}`, "0::~rb~x", b64},
		{"I4 zeros", `"device":{"ifa":"` + zero + `"}`, "", p},
		{"I4 lmt", `"device":{"ifa":"a1","lmt":1}`, "", p},
		{"I4 dnt", `"device":{"dnt":"1","ifa":"a1"}`, "", p},
		{"I4 case", `"device":{"ifa":"8B2D6F5C-91A7-4E4E-BB0B-5A6D7E8F9012"}`, "2::8B2D6F5C-91A7-4E4E-BB0B-5A6D7E8F9012", p},
		{"I4 other text", `"device":{"ifa":"Roku-XYZ"}`, "2::Roku-XYZ", p},
		{"I5 session", `"device":{"ifa":"a1","ext":{"ifa_type":"sessionid"}}`, "", p},
		{"I6 screen", `"device":{"ifa":"a1","devicetype":8}`, "", p},
		{"I7 ext", `"user":{"ext":{"eids":[{"source":"s","uids":[{"id":"e"}]}]}}`, "1:s:e", p},
		{"I7 both", `"user":{"eids":[{"source":"t","uids":[{"id":"f"}]}],"ext":{"eids":[{"source":"s","uids":[{"id":"e"}]}]}}`, "1:t:f 1:s:e", p},
		{"I7 top empty", `"user":{"eids":[],"ext":{"eids":[{"source":"s","uids":[{"id":"e"}]}]}}`, "1:s:e", p},
		{"I7 source last", `"user":{"eids":[{"uids":[{"id":"e"},{"id":"f"}],"source":"s"}]}`, "1:s:e 1:s:f", p},
		{"I11 empty", `"user":{"eids":[{"source":"s","uids":[{"id":""},{"id":null},7]},{"uids":[{"id":"x"}]},null,7]}`, "", p},
		{"I12 hashed", `"device":{"dpidsha1":"abc","didmd5":"def"}`, "", p},
		{"numbers", `"user":{"id":7,"buyeruid":8,"eids":[{"source":"s","uids":[{"id":9}]}]}`, "0::8 1:s:9 3::7", p},
		{"escapes", `"user":{"id":"a\u0062\n"}`, "3::ab\n", p},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			var got []string
			for _, id := range mustDecode(t, c.p, root0(c.body)).IDs {
				got = append(got, string(rune('0'+id.Kind))+":"+string(id.Scope)+":"+string(id.Value))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q; want %q", s, c.want)
			}
		})
	}
	dooh := mustDecode(t, p, bytes.Replace(root0(`"device":{"ifa":"a1"}`), []byte(`"site"`), []byte(`"dooh"`), 1))
	if !dooh.Signals.AppliesDOOH || len(dooh.IDs) != 0 {
		t.Error("I6: a public screen is treated as a person's device")
	}
}
