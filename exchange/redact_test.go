package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"rebound/rtb"
)

const personal = `{
 "id":"r1", "at" : 1, "tmax":120, "host":"x", "imp":[ {"id":"1","banner":{"w":300,"h":250},"bidfloor":0.5,
   "ext":{"prebid":{"is_rewarded_inventory":1,"bidder":{"uid":"secret-1"}},"buyer":{"email":"secret-2"},"billing_id":["7"]}} ],
 "site":{"page":"https://pub.example/a","ext":{"data":{"uid":"secret-3"}}},
 "device":{"ua":"UA","ip":"203.0.113.77","ipv6":"2001:db8:85a3:1::8a2e:370:7334","ifa":"8B2D6F5C-91A7-4E4E-BB0B-5A6D7E8F9012","didsha1":"secret-4",
   "geo":{"lat":43.653226,"lon":-79.383184,"country":"CAN","accuracy":5},"ext":{"ifa_type":"aaid","idfv":"secret-5","atts":3},"lmt":0},
 "user":{"id":"secret-6","buyeruid":"secret-7","yob":1980,"customdata":"secret-8","consent":"secret-9","keywords":"a",
   "eids":[{"uids":[{"id":"secret-10","atype":1,"ext":{"x":"secret-11"}}],"source":"pubcid.org"}],
   "ext":{"consent":"secret-9","eids":[{"source":"uidapi.com","uids":[{"id":"secret-12"}]}],"email":"secret-13"}},
 "regs":{"gdpr":1,"GPP":"secret-14","gpp":"secret-14","gpp_sid":[7],"ext":{"us_privacy":"1YNN","gpc":"1","dsa":{"dsarequired":2}}},
 "source":{"tid":"t","ext":{"schain":{"complete":1,"nodes":[]},"x":1}},
 "ext":{"udi":{"googleadid":"secret-15"},"schain":{"complete":0}}
}`

// redact redacts valid JSON, whether or not it is a request that Head accepts.
func redact(dst, body []byte, p *Profile, k *rtb.Keyring) ([]byte, error) {
	var s scanner
	s.start(body)
	if s.fault != 0 {
		return dst, s.fault
	}
	if err := s.check(); err != 0 {
		return dst, err
	}
	return p.appendRedacted(dst, &s, k, inRequest), nil
}

// demoProfile is the profile of an exchange of which only the id space is known.
var demoProfile = &Profile{IDSpace: "demo"}

// G25, M13: personal data is removed, and everything else is kept.
func TestRedact(t *testing.T) {
	k := rtb.NewKeyring([32]byte{7})
	got, err := redact([]byte("kept "), []byte(personal), demoProfile, k)
	if err != nil {
		t.Fatal(err)
	}
	pseudo := func(kind rtb.IDKind, scope, id string) string {
		return `"` + string(rtb.AppendPseudonym(nil, k.Key(kind, scope, []byte(id)))) + `"`
	}
	want := `kept {"id":"r1","at":1,"tmax":120,"imp":[{"id":"1","banner":{"w":300,"h":250},"bidfloor":0.5,` +
		`"ext":{"prebid":{"is_rewarded_inventory":1},"billing_id":["7"]}}],"site":{"page":"https://pub.example/a","ext":{}},` +
		`"device":{"ua":"UA","ip":"203.0.113.0","ipv6":"2001:db8:85a3::","ifa":` + pseudo(rtb.IDIFA, "", "8b2d6f5c-91a7-4e4e-bb0b-5a6d7e8f9012") +
		`,"geo":{"lat":43.65,"lon":-79.38,"country":"CAN"},"ext":{"ifa_type":"aaid","atts":3},"lmt":0},` +
		`"user":{"id":` + pseudo(rtb.IDExchange, "demo", "secret-6") + `,"buyeruid":` + pseudo(rtb.IDVisitor, "", "secret-7") + `,"keywords":"a",` +
		`"eids":[{"uids":[{"id":` + pseudo(rtb.IDEID, "pubcid.org", "secret-10") + `,"atype":1}],"source":"pubcid.org"}],` +
		`"ext":{"eids":[{"source":"uidapi.com","uids":[{"id":` + pseudo(rtb.IDEID, "uidapi.com", "secret-12") + `}]}]}},` +
		`"regs":{"gdpr":1,"gpp_sid":[7],"ext":{"us_privacy":"1YNN","gpc":"1","dsa":{"dsarequired":2}}},` +
		`"source":{"tid":"t","ext":{"schain":{"complete":1,"nodes":[]}}},"ext":{"schain":{"complete":0}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if bytes.Contains(got, []byte("secret")) || bytes.ContainsAny(got, "\r\n\t") {
		t.Errorf("personal data or line ends in %s", got)
	}
}

func TestRedactRefuses(t *testing.T) {
	k := rtb.NewKeyring([32]byte{})
	for body, want := range map[string]error{``: ErrSyntax, `{`: ErrSyntax, `[]`: ErrNotObject, `{} x`: ErrSyntax, `{"a":"` + "\xff" + `"}`: ErrUTF8,
		`{"imp":` + strings.Repeat("[", 100): ErrDepth} {
		var d Decoder
		_ = d.Head([]byte(body), demoProfile, new(rtb.Opportunity))
		got, err := d.AppendRedacted([]byte("kept"), demoProfile, k)
		if !errors.Is(err, want) || string(got) != "kept" {
			t.Errorf("%.20s: got %q, %v; want %v", body, got, err, want)
		}
	}
}

// Whatever members are dropped, the commas between the others are right, and white space
// outside strings goes away.
func TestRedactLayout(t *testing.T) {
	k := rtb.NewKeyring([32]byte{})
	for body, want := range map[string]string{
		`{}`:                                  `{}`,
		" { } \n":                             `{}`,
		`{"x":1}`:                             `{}`,
		`{"x":1,"y":[2]}`:                     `{}`,
		`{"x":1,"id":"1"}`:                    `{"id":"1"}`,
		`{"id":"1","x":1}`:                    `{"id":"1"}`,
		`{"x":1,"id":"1","y":2,"at":1,"z":3}`: `{"id":"1","at":1}`,
		"{ \"x\" : {} ,\n\"id\" : \"a b\" , \"y\":1 , \"at\" : [ 1 , \"c d\" ]\t}":     `{"id":"a b","at":[1,"c d"]}`,
		`{"imp":[{"email":"a"},{"a":[{"ifa":"x","b":[]}],"EIDS":[{}],"c":{"hem":1}}]}`: `{"imp":[{},{"a":[{"b":[]}],"c":{}}]}`,
		`{"imp":[{"em\u0061il":"a","\u0065xt":{"x":1,"schain":[{"ifa":1}]}}]}`:         `{"imp":[{"\u0065xt":{"schain":[{}]}}]}`,
		`{"device":{"ip":"x","ipv6":7,"geo":{"lat":91e9,"lon":-1.239}}}`:               `{"device":{"geo":{"lon":-1.23}}}`,
		`{"imp":[{"ip":"10.1.2.3","x":"ip\":1"}],"source":"ifa","user":[{"id":null}]}`: `{"imp":[{"ip":"10.1.2.0","x":"ip\":1"}],"source":"ifa","user":[{}]}`,
	} {
		got, err := redact([]byte("kept"), []byte(body), demoProfile, k)
		if err != nil || string(got) != "kept"+want {
			t.Errorf("%s: got %s, %v; want %s", body, got, err, want)
		}
	}
}

// keysOf returns the keys that a store would look up for the request.
func keysOf(o *rtb.Opportunity, k *rtb.Keyring) (keys []rtb.Key) {
	for _, id := range o.IDs {
		scope := string(id.Scope)
		if id.Kind == rtb.IDExchange {
			scope = "demo"
		}
		keys = append(keys, k.Key(id.Kind, scope, id.Value))
	}
	return keys
}

// A redacted request has the same keys, impressions and privacy flags.
func TestRedactedReplays(t *testing.T) {
	bodies := append(corpusLines(t, "requests.jsonl"), []byte(personal))
	k := rtb.NewKeyring([32]byte{7})
	for _, b64 := range []bool{false, true} {
		p := testProfile(t, func(s *ProfileSpec) {
			s.AllowNoInventory = true
			if b64 {
				s.BuyerUIDCodec = "b64url"
			}
		})
		for i, body := range bodies {
			redactedReplays(t, p, k, body, i+1)
		}
	}
}

func redactedReplays(t *testing.T, p *Profile, k *rtb.Keyring, body []byte, line int) {
	t.Helper()
	before, err1 := decoded(t, p, body)
	red, err := redact(nil, body, p, k)
	if err != nil {
		t.Fatalf("line %d: %v", line, err)
	}
	if !json.Valid(red) {
		t.Fatalf("line %d: no JSON: %s", line, red)
	}
	var d Decoder
	if d.Head(body, p, new(rtb.Opportunity)) == nil {
		if again, err := d.AppendRedacted(nil, p, k); err != nil || !bytes.Equal(again, red) {
			t.Errorf("line %d: by the decoder: got %s, %v; want %s", line, again, err, red)
		}
	}
	after, err2 := decoded(t, p, red)
	if err1 != err2 {
		t.Errorf("line %d: got %v; want %v", line, err2, err1)
		return
	}
	if a, b := keysOf(before, k), keysOf(after, k.ForReplay()); !reflect.DeepEqual(a, b) {
		t.Errorf("line %d: keys differ: %v, %v in %s", line, a, b, red)
	}
	for _, o := range []*rtb.Opportunity{before, after} {
		o.IDs = nil
		o.Device.IP, o.Device.IPv6, o.Device.Lat, o.Device.Lon, o.Device.HasGeo = nil, nil, 0, 0, false
		o.Signals.Consent, o.Signals.GPP, o.Signals.ConsentBad, o.Signals.GPPBad = nil, nil, false, false
		for i := range o.Imps { // white space within is not kept
			o.Imps[i].SKAdN, o.Imps[i].Native.Request = nil, nil
		}
	}
	same(t, "line", after, before)
}
