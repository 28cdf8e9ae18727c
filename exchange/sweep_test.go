package exchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"rebound/rtb"
)

// full is a request with every member that the decoder reads.
const full = `{"id":"r0","at":1,"tmax":120,"test":0,"cur":["USD"],"wseat":["s"],"bseat":["t"],"bcat":["IAB1"],"acat":["IAB2"],"cattax":1,"badv":["a"],"bapp":["b"],
"wlang":["en"],"wlangb":["en"],
"imp":[{"id":"1","tagid":"t","bidfloor":1,"bidfloorcur":"USD","secure":1,"instl":1,"rwdd":1,"exp":60,"ssai":1,"displaymanager":"d","iframebuster":["x"],"qty":{"multiplier":2},
 "banner":{"format":[{"w":1,"h":2,"wratio":1,"hratio":2,"wmin":3}],"w":1,"h":2,"wmin":1,"wmax":2,"hmin":3,"hmax":4,"pos":1,"topframe":1,"mimes":["m"],"battr":[1],"btype":[1],"api":[1],"expdir":[1]},
 "video":{"mimes":["m"],"protocols":[1],"protocol":2,"minduration":1,"maxduration":2,"rqddurs":[1],"maxextended":1,"poddur":1,"mincpmpersec":1,"minbitrate":1,"maxbitrate":2,"maxseq":1,
  "durfloors":[{"mindur":1,"maxdur":2,"bidfloor":3}],"startdelay":0,"w":1,"h":2,"linearity":1,"skip":1,"placement":1,"plcmt":1,"delivery":[1],"playbackmethod":[1],"api":[1],"battr":[1],
  "podid":"p","pos":1,"boxingallowed":1,"ext":{"rewarded":1}},
 "audio":{"mimes":["m"],"feed":1,"stitched":1},"native":{"request":{"assets":[]},"ver":"1.2","api":[1],"battr":[1]},
 "pmp":{"private_auction":1,"deals":[{"id":"d","bidfloor":1,"bidfloorcur":"USD","at":3,"wseat":["s"],"wadomain":["a"],"guar":1,"mincpmpersec":1,"durfloors":[{"bidfloor":1}]}]},
 "ext":{"reward":1,"billing_id":["1"],"skadn":{},"prebid":{"is_rewarded_inventory":1},"excluded_creatives":[{"buyer_creative_id":"c"}]}}],
"site":{"id":"s","domain":"d","page":"p","ref":"r","cattax":1,"cat":["IAB1"],"sectioncat":["IAB1"],"pagecat":["IAB1"],"keywords":"k","kwarray":["k"],"inventorypartnerdomain":"i",
 "publisher":{"id":"p"},"content":{"cat":["IAB1"],"language":"en","keywords":"k"},"ext":{"inventorypartnerdomain":"i"}},
"device":{"ua":"u","ip":"1.2.3.4","ipv6":"::1","devicetype":2,"os":"o","osv":"1","make":"m","model":"m","language":"en","w":1,"h":2,"ifa":"a1","lmt":1,"dnt":1,
 "geo":{"country":"CAN","region":"ON","city":"c","zip":"z","type":1,"lat":1.5,"lon":2.5},"sua":{"mobile":1,"model":"m","platform":{"brand":"b","version":["1"]},"browsers":[{"brand":"b","version":["1"]}]},
 "ext":{"ifa_type":"x"}},
"user":{"id":"u","buyeruid":"b","keywords":"k","consent":"C","eids":[{"source":"s","mm":1,"uids":[{"id":"i","atype":1}]}],"data":[{"id":"i","name":"n","segment":[{"id":"s"}],"ext":{"segtax":4}}],
 "geo":{"country":"CAN"},"ext":{"consent":"C","eids":[{"source":"s","uids":[{"id":"i"}]}],"gdpr":1,"npa":1}},
"regs":{"gdpr":1,"coppa":1,"us_privacy":"1YNN","gpp":"G","gpp_sid":[7],"lgpd":1,"ext":{"gpc":"1","dsa":{"dsarequired":3,"pubrender":1}}},
"source":{"schain":{"complete":1,"nodes":[{"asi":"a","sid":"s","hp":1}]},"ext":{"schain":{"complete":1,"nodes":[]}}},
"ext":{"schain":{"complete":1},"privacy_treatments":{"allow_user_data_collection":0,"non_personalized_ads":1},"npa":1}}`

// sweep calls visit with every value of the tree replaced by odd, one at a time.
func sweep(node any, path string, odd any, visit func(path string)) {
	switch x := node.(type) {
	case map[string]any:
		for k, v := range x {
			_, both := v.(map[string]any)
			if _, ok := odd.(map[string]any); !ok || !both { // an object without members is a readable object
				x[k] = odd
				visit(path + "." + k)
				x[k] = v
			}
			sweep(v, path+"."+k, odd, visit)
		}
	case []any:
		for i, v := range x {
			x[i] = odd
			visit(fmt.Sprint(path, "[", i, "]"))
			x[i] = v
			sweep(v, path+"[]", odd, visit)
		}
	}
}

// V5, V6, V15: any single value may have a wrong type. No other value is lost by that,
// only a wrong id or wrong impressions make a request unreadable, and no signal, floor
// or list is loosened.
func TestV6SweepOddValues(t *testing.T) {
	p := testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })
	clean := mustDecode(t, p, []byte(full))
	restricts := func(f rtb.Flag) bool { return f == rtb.Yes || f == rtb.Unreadable }
	tried := 0
	for _, odd := range []any{"odd", 7.5, map[string]any{}, map[string]any{"x": []any{1}}, []any{map[string]any{}}, []any{[]any{}}} {
		var tree any
		if err := json.Unmarshal([]byte(full), &tree); err != nil {
			t.Fatal(err)
		}
		sweep(tree, "", odd, func(path string) {
			tried++
			body, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			o, err := decoded(t, p, body)
			if err != nil {
				if path != ".id" && path != ".imp" && path != ".imp[0]" && path != ".imp[].id" || errors.Is(err, ErrSyntax) {
					t.Errorf("%s = %v: %v", path, odd, err)
				}
				return
			}
			s := &o.Signals
			for name, ok := range map[string]bool{
				"gdpr": restricts(s.GDPR), "coppa": restricts(s.COPPA), "gpc": restricts(s.GPC) || s.ExtUnread, "npa": restricts(s.NPA),
				"lmt": restricts(s.LMT), "dnt": restricts(s.DNT) || restricts(s.LMT), "gpp": s.GPPBad || len(s.GPP) > 0 || s.ExtUnread,
				"dsa": o.DSARequired >= 2 || s.ExtUnread, "bcat": o.BlockListsBad || len(o.BCat) > 0, "badv": o.BlockListsBad || len(o.BAdv) > 0,
				"wseat": o.BlockListsBad || len(o.WSeat) > 0, "schain": o.SChain.Present,
				"floor": len(o.Imps) == 0 || o.Imps[0].FloorBad || o.Imps[0].Floor >= 1_000_000, "secure": restricts(o.Imps[0].Secure),
				"battr":   o.Imps[0].Banner.ListsBad || len(o.Imps[0].Banner.BAttr) > 0,
				"mimes":   o.Imps[0].Banner.ListsBad || len(o.Imps[0].Banner.Mimes) > 0,
				"private": o.Imps[0].PrivateAuction || o.Imps[0].DealsBad, "formats": o.Imps[0].Formats == clean.Imps[0].Formats,
				"video max": o.Imps[0].Video.ListsBad || o.Imps[0].Video.MaxDuration > 0, "id": string(o.ID) == "r0" || path == ".id",
			} {
				if !ok {
					t.Errorf("%s = %v loosens %s", path, odd, name)
				}
			}
		})
	}
	t.Logf("%d requests tried", tried)
}
