package exchange

import (
	"encoding/json"
	"testing"

	"rebound/rtb"
)

// requestR0 is the request that the tests of the rules modify. It gets a bid.
const requestR0 = `{"id":"r0","at":1,"tmax":120,"cur":["USD"],
 "imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]},"bidfloor":0.50,"bidfloorcur":"USD","secure":1}],
 "site":{"id":"s1","domain":"pub.example","page":"https://pub.example/a","publisher":{"id":"p1"}},
 "device":{"ua":"Mozilla/5.0 (X11; Linux x86_64) Chrome/130","ip":"203.0.113.7","geo":{"country":"CAN"}},
 "user":{"id":"x1","buyeruid":"u-retarget"},"source":{"tid":"t1"}}`

// patched is R0 with a JSON merge patch (RFC 7396) applied: objects merge, null
// deletes, everything else replaces.
func patched(t testing.TB, patch string) []byte {
	t.Helper()
	var base, over any
	for text, dst := range map[string]*any{requestR0: &base, patch: &over} {
		if err := json.Unmarshal([]byte(text), dst); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	out, err := json.Marshal(mergePatch(base, over))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mergePatch(base, over any) any {
	o, ok := over.(map[string]any)
	if !ok {
		return over
	}
	b, ok := base.(map[string]any)
	if !ok {
		b = map[string]any{}
	}
	for k, v := range o {
		if v == nil {
			delete(b, k)
		} else {
			b[k] = mergePatch(b[k], v)
		}
	}
	return b
}

// imp0 is R0 with raw members added to or replaced in its impression. They are not
// parsed, so that unusual JSON is kept.
func imp0(members string) []byte {
	return []byte(`{"id":"r0","at":1,"tmax":120,"imp":[{"id":"1",` + members + `}],"site":{"id":"s1"},"user":{"id":"x1"}}`)
}

// root0 is a small request with raw members added at the top.
func root0(members string) []byte {
	return []byte(`{"id":"r0","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s1"},` + members + `}`)
}

// decoded holds the results of Head and Rest.
func decoded(t testing.TB, p *Profile, body []byte) (*rtb.Opportunity, error) {
	t.Helper()
	var d Decoder
	o := new(rtb.Opportunity)
	if err := d.Head(body, p, o); err != nil {
		return o, err
	}
	return o, d.Rest(p, o, rtb.AllParts)
}

// mustDecode is decoded without an error.
func mustDecode(t testing.TB, p *Profile, body []byte) *rtb.Opportunity {
	t.Helper()
	o, err := decoded(t, p, body)
	if err != nil {
		t.Fatalf("cannot decode %s: %v", body, err)
	}
	return o
}
