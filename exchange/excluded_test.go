package exchange

import (
	"strings"
	"testing"

	"rebound/internal/conformance"
)

// Excluded creatives are listed per impression, as objects or plain texts; a list
// that cannot be read completely excludes all.
func TestExcludedCreatives(t *testing.T) {
	conformance.Covers(t, "B17")
	p := testProfile(t, nil)
	for _, c := range []struct {
		text, want string
		bad        bool
	}{
		{`[{"buyer_creative_id":"cr0","x":{}},{"buyer_creative_id":7}]`, "cr0,7", false},
		{`["cr0",{"buyer_creative_id":"cr1"},7]`, "cr0,cr1,7", false},
		{`[null,"",{},{"creative_id":"x"}]`, "", false},
		{`null`, "", false},
		{`[]`, "", false},
		{`["cr0",true]`, "cr0", true},
		{`[["cr0"]]`, "", true},
		{`[{"buyer_creative_id":{}}]`, "", true},
		{`"cr0"`, "", true},
		{`{}`, "", true},
		{`["cr0"],"excluded_creatives":["cr1"]`, "cr1", true},
		{`["cr0"],"excluded_creatives":[]`, "", true},
		{`[],"excluded_creatives":["cr1"]`, "cr1", false},
		{`["cr0"],"excluded_creatives":null`, "cr0", false},
		{`[` + strings.Repeat(`"c",`, maxTexts-1) + `"c"]`, strings.Repeat("c,", maxTexts-1) + "c", false},
		{`[` + strings.Repeat(`"c",`, maxTexts) + `"c"]`, strings.Repeat("c,", maxTexts-1) + "c", true},
	} {
		body := `{"id":"r","site":{"id":"s"},"imp":[{"id":"1","banner":{},"ext":{"excluded_creatives":` + c.text + `}},{"id":"2","banner":{}}]}`
		o := mustDecode(t, p, []byte(body))
		m, name := &o.Imps[0], c.text[:min(len(c.text), 60)]
		if got := strings.Join(texts(m.ExcludedCreativeIDs), ","); got != c.want || m.ExcludedBad != c.bad {
			t.Errorf("%s: got %.60q, bad %v; want %.60q, %v", name, got, m.ExcludedBad, c.want, c.bad)
		}
		if m := &o.Imps[1]; len(m.ExcludedCreativeIDs) > 0 || m.ExcludedBad {
			t.Errorf("%s: the other impression: got %q, bad %v", name, m.ExcludedCreativeIDs, m.ExcludedBad)
		}
	}
}
