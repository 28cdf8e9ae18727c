package exchange

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/rtb"
)

func sized(pairs ...int) (out []rtb.Size) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, rtb.Size{W: pairs[i], H: pairs[i+1]})
	}
	return out
}

// BN1-BN4: the sizes are those of format[] and w/h, without duplicates.
func TestBNBannerSizes(t *testing.T) {
	conformance.Covers(t, "BN1", "BN3", "BN4")
	p := testProfile(t, nil)
	for body, want := range map[string][]rtb.Size{
		`{"format":[{"w":300,"h":250},{"w":728,"h":90}]}`: sized(300, 250, 728, 90),
		`{"w":320,"h":50}`: sized(320, 50),
		`{"w":320,"h":50,"format":[{"w":300,"h":250},{"w":320,"h":50}]}`: sized(300, 250, 320, 50),
		`{"w":0,"h":0}`: nil, `{"w":-300,"h":250}`: nil, `{"w":300}`: nil, `{}`: nil, `{"format":"x","w":1,"h":2}`: sized(1, 2),
		`{"format":[{"w":1,"h":1}],"format":[{"w":2,"h":2}]}`: sized(2, 2),
	} {
		got := mustDecode(t, p, imp0(`"banner":`+body)).Imps[0].Banner.Sizes
		if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v; want %v", body, got, want)
		}
	}
	b := mustDecode(t, p, imp0(`"banner":{"format":[{"wratio":6,"hratio":5,"wmin":200}],"wmax":320,"hmax":"260","wmin":1,"hmin":2.0,`+
		`"pos":3,"mimes":["image/gif"],"battr":[1,3.0],"btype":["4"],"api":[3,"x",5],"expdir":[1]}`)).Imps[0].Banner
	want := rtb.Banner{Flex: []rtb.FlexSize{{WRatio: 6, HRatio: 5, WMin: 200}}, WMin: 1, WMax: 320, HMin: 2, HMax: 260,
		Mimes: [][]byte{[]byte("image/gif")}, BAttr: []int{1, 3}, BType: []int{4}, API: []int{3, 5}, ExpDir: []int{1}, Pos: 3}
	emptyToNil(reflect.ValueOf(&b).Elem())
	if !reflect.DeepEqual(b, want) {
		t.Errorf("got %+v; want %+v", b, want)
	}
}

// VD2-VD11: every field of a video, read tolerantly where that is harmless.
func TestVDVideo(t *testing.T) {
	conformance.Covers(t, "VD6")
	p := testProfile(t, nil)
	m := mustDecode(t, p, imp0(`"video":{"mimes":["video/mp4"],"protocols":[2,3.0,"6"],"minduration":5,"maxduration":"30","rqddurs":[15,30],
		"maxextended":-1,"startdelay":0,"w":640.0,"h":480,"linearity":1,"skip":0,"placement":1,"plcmt":4,"minbitrate":300,"maxbitrate":8000,
		"delivery":[2],"playbackmethod":[1],"api":[7],"battr":[1],"podid":"p1","poddur":60,"maxseq":2,"mincpmpersec":0.2,
		"durfloors":[{"mindur":16,"maxdur":30,"bidfloor":10}],"pos":7,"sequence":200,"boxingallowed":0,"ext":{"rewarded":1}}`)).Imps[0]
	want := rtb.Video{Mimes: [][]byte{[]byte("video/mp4")}, Protocols: []int{2, 3, 6}, MinDuration: 5 * time.Second, MaxDuration: 30 * time.Second,
		ReqDurations: []time.Duration{15 * time.Second, 30 * time.Second}, MaxExtended: -time.Second, HasMaxExtended: true,
		HasStartDelay: true, W: 640, H: 480, Linearity: 1, Skip: rtb.No, Placement: 1, Plcmt: 4, MinBitrate: 300, MaxBitrate: 8000,
		Delivery: []int{2}, PlaybackMethod: []int{1}, API: []int{7}, BAttr: []int{1}, PodID: []byte("p1"), PodDur: time.Minute, MaxSeq: 2,
		MinCPMPerSec: 200_000, DurFloors: []rtb.DurFloor{{Min: 16 * time.Second, Max: 30 * time.Second, Floor: 10_000_000}}, Pos: 7,
		BoxingAllowed: rtb.No}
	if m.Formats != rtb.FormatVideo || !m.Rewarded {
		t.Errorf("got formats %v, rewarded %v", m.Formats, m.Rewarded)
	}
	if !reflect.DeepEqual(m.Video, want) {
		t.Errorf("got %+v; want %+v", m.Video, want)
	}
	old := mustDecode(t, p, imp0(`"video":{"protocol":3},"audio":{"mimes":"audio/mp4","mincpmpersec":3}`)).Imps[0]
	if old.Formats != rtb.FormatVideo|rtb.FormatAudio || !reflect.DeepEqual(old.Video.Protocols, []int{3}) || old.Video.HasStartDelay ||
		old.Video.BoxingAllowed != rtb.Yes || string(old.Audio.Mimes[0]) != "audio/mp4" || old.Audio.MinCPMPerSec != 3_000_000 {
		t.Errorf("got %+v", old)
	}
}

// NA1: the four ways to send a native request.
func TestNA1NativeRequest(t *testing.T) {
	conformance.Covers(t, "NA1")
	p := testProfile(t, nil)
	const bare = `{"ver":"1.2","assets":[{"id":1,"title":{"len":90}}]}`
	const wrapped = `{"native":` + bare + `}`
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	for _, c := range []struct {
		request string
		wrapped bool
	}{{bare, false}, {wrapped, true}, {quote(bare), false}, {quote(wrapped), true}, {quote(" \n" + bare + "\t"), false},
		{strings.ReplaceAll(quote(wrapped), "native", `n\u0061tive`), true}} {
		n := mustDecode(t, p, imp0(`"native":{"ver":"1.2","api":[3],"battr":[1],"request":`+c.request+`}`)).Imps[0].Native
		if string(n.Request) != bare || n.Wrapped != c.wrapped || n.Bad || string(n.Ver) != "1.2" || n.API[0] != 3 || n.BAttr[0] != 1 {
			t.Errorf("%s: got %q, wrapped %v, bad %v", c.request, n.Request, n.Wrapped, n.Bad)
		}
	}
	for _, bad := range []string{`"[]"`, `"{} x"`, `"{"`, `7`, `""`, `[]`, `null`, quote(strings.Repeat("[", 1000))} {
		if n := mustDecode(t, p, imp0(`"native":{"request":`+bad+`}`)).Imps[0].Native; !n.Bad || n.Request != nil {
			t.Errorf("%s: got %q, bad %v; want it unreadable", bad, n.Request, n.Bad)
		}
	}
	// Two impressions: decoding the second does not overwrite the first.
	o := mustDecode(t, p, []byte(`{"id":"r","site":{},"imp":[{"id":"1","native":{"request":`+quote(bare)+`}},{"id":"2","native":{"request":`+quote(wrapped)+`}}]}`))
	if string(o.Imps[0].Native.Request) != bare || string(o.Imps[1].Native.Request) != bare {
		t.Errorf("got %q and %q", o.Imps[0].Native.Request, o.Imps[1].Native.Request)
	}
}

// B3-B6 and section 14: deals, and the older places of other fields.
func TestImpressionPlaces(t *testing.T) {
	conformance.Covers(t, "V14")
	p := testProfile(t, nil)
	m := mustDecode(t, p, imp0(`"banner":{},"instl":1,"exp":7200,"qty":{"multiplier":30.3},
		"pmp":{"private_auction":1,"deals":[{"id":"d1","bidfloor":4.00,"at":3,"wseat":["s"],"wadomain":["a.example"],"guar":1,"mincpmpersec":1},{"bidfloor":1},7]},
		"ext":{"billing_id":[1,"2"],"skadn":{"versions":["4.0"]},"excluded_creatives":[{"buyer_creative_id":"cr0"},{}],"prebid":{"is_rewarded_inventory":1}}`)).Imps[0]
	if !m.PrivateAuction || len(m.Deals) != 1 {
		t.Fatalf("got %+v", m)
	}
	d := m.Deals[0]
	if string(d.ID) != "d1" || d.Floor != 4_000_000 || d.At != 3 || !d.Guaranteed || d.FloorCur != rtb.USD || d.MinCPMPerSec != 1_000_000 ||
		string(d.WSeat[0]) != "s" || string(d.WADomain[0]) != "a.example" {
		t.Errorf("got %+v", d)
	}
	if !m.Instl || m.Exp != 2*time.Hour || m.Qty != 30.3 ||
		len(m.BillingIDs) != 2 || string(m.SKAdN) != `{"versions":["4.0"]}` || !m.Rewarded {
		t.Errorf("got %+v", m)
	}
	for text, unsure := range map[string]bool{`"rwdd":2`: true, `"rwdd":"x"`: true, `"ext":{"prebid":{"is_rewarded_inventory":[]}}`: true, `"rwdd":0`: false, `"rwdd":null`: false} {
		if m := mustDecode(t, p, imp0(`"banner":{},`+text)).Imps[0]; m.Rewarded || m.RewardedUnsure != unsure {
			t.Errorf("%s: got rewarded %v, unsure %v; want false, %v", text, m.Rewarded, m.RewardedUnsure, unsure)
		}
	}
	for _, rewarded := range []string{`"rwdd":1`, `"ext":{"reward":1}`, `"rwdd":"1"`} {
		if !mustDecode(t, p, imp0(`"banner":{},`+rewarded)).Imps[0].Rewarded {
			t.Errorf("%s is not read as rewarded", rewarded)
		}
	}
}

// Section 14 and B18: the supply chains of all three places apply; one that
// repeats another adds nothing.
func TestB18SupplyChain(t *testing.T) {
	p := testProfile(t, nil)
	chain := func(sid string) string {
		return `{"complete":1,"ver":"1.0","nodes":[{"asi":"ssp.example","sid":"` + sid + `","hp":1}]}`
	}
	for body, want := range map[string]string{
		`"source":{"schain":` + chain("a") + `,"ext":{"schain":` + chain("b") + `}},"ext":{"schain":` + chain("c") + `}`: "abc",
		`"source":{"ext":{"schain":` + chain("b") + `}},"ext":{"schain":` + chain("c") + `}`:                             "bc",
		`"source":{"schain":` + chain("a") + `,"ext":{"schain":` + chain("a") + `}},"ext":{"schain":` + chain("a") + `}`: "a",
		`"SOURCE":{"SCHAIN":` + chain("a") + `}`:                       "a",
		`"ext":{"schain":` + chain("c") + `}`:                          "c",
		`"source":{"schain":null,"ext":{"schain":` + chain("b") + `}}`: "b",
	} {
		c := mustDecode(t, p, root0(body)).SChain
		var sids string
		for _, end := range c.Ends[:c.Chains] {
			sids += string(c.Nodes[end].SID)
		}
		if !c.Present || c.Bad || !c.Complete || len(c.Nodes) != len(want) || sids != want || string(c.Nodes[0].ASI) != "ssp.example" {
			t.Errorf("%s: got %+v", body, c)
		}
	}
	for _, bad := range []string{`"x"`, `{"nodes":7}`, `{"nodes":[7]}`, `{"complete":"?"}`, `{}`, `[]`, `1`,
		`{"ver":"1.0","complete":1,"nodes":[]}`, `{"ver":"1.0","complete":1,"nodes":[{"asi":"a.example"}]}`, `{"ver":"1.0","complete":1,"nodes":[{"sid":"1"}]}`,
		`{"ver":"1.0","complete":1,"nodes":[{"asi":"a.example","sid":"1"}],"nodes":[{"asi":"b.example","sid":"1"}]}`,
		`{"ver":"1.0","complete":1,"nodes":[{"asi":"b.example","asi":"a.example","sid":"1"}]}`,
		chain("a") + `,"schain":` + chain("b"), `"1.0,1!bad.example,1,1,,,"`,
		`{"nodes":[` + strings.Repeat(`{"asi":"a.example","sid":"1"},`, 100) + `{"asi":"a.example","sid":"1"}]}`} {
		if c := mustDecode(t, p, root0(`"source":{"schain":`+bad+`}`)).SChain; !c.Present || !c.Bad {
			t.Errorf("%.40s: got %+v; want it unreadable", bad, c)
		}
	}
	for _, bad := range []string{`"source":"1.0,1!bad.example,1,1"`, `"source":{"ext":"x"}`, `"source":{"schain":` + chain("a") + `},"source":{"schain":` + chain("b") + `}`,
		`"ext":{"schain":7}`} {
		if c := mustDecode(t, p, root0(bad)).SChain; !c.Present || !c.Bad {
			t.Errorf("%s: got %+v; want it unreadable", bad, c)
		}
	}
	for _, none := range []string{`"source":{}`, `"source":null`, `"source":{"schain":null,"ext":{}}`, `"source":{"tid":"t"},"ext":{}`} {
		if c := mustDecode(t, p, root0(none)).SChain; c.Present || c.Bad {
			t.Errorf("%s: got %+v for none", none, c)
		}
	}
}

// Section 14 and V13, V18: supply, user and device facts.
func TestFacts(t *testing.T) {
	conformance.Covers(t, "V14", "V18")
	p := testProfile(t, nil)
	o := mustDecode(t, p, []byte(`{"id":"r","imp":[{"id":"1","banner":{}}],"site":{"id":"s","domain":"pub.example","page":"https://pub.example/\u00e9","ref":"r","cat":["IAB1"],
		"pagecat":["IAB2"],"sectioncat":"IAB3","cattax":7,"keywords":"a, b ,,c","kwarray":["d","e"],"publisher":{"id":5},"content":{"cat":["IAB4"],"language":"fr","keywords":["f"]},
		"ext":{"inventorypartnerdomain":"partner.example"}},
		"user":{"keywords":"g","data":[{"id":"i","name":"prov","segment":[{"id":"s1"},{"id":2},{"id":""}],"ext":{"segtax":"4"}},7]},
		"device":{"ua":"old","os":"Linux","osv":"1","devicetype":500,"sua":{"mobile":true,"model":"Pixel","platform":{"brand":"Android","version":["14","0",""]},
		"browsers":[{"brand":"Not A(Brand"},{"brand":"Chromium"},{"brand":"Google Chrome"}]},"geo":{"country":"CAN","region":"ON","city":"Toronto","zip":"M5V","lat":"43.6","lon":-79.4,"type":2},"w":1,"h":"2"},
		"regs":{"ext":{"dsa":{"dsarequired":"3","pubrender":1}}},"cattax":2,"acat":["IAB9"],"bapp":["1"],"wlangb":["en"],"bseat":["x"]}`))
	join := func(list [][]byte) string {
		var s []string
		for _, b := range list {
			s = append(s, string(b))
		}
		return strings.Join(s, "|")
	}
	got := fmt.Sprintf("%s %s %s cats=%s tax=%d kw=%s pub=%s ipd=%s", o.Supply.ID, o.Supply.Domain, o.Supply.Page, join(o.Supply.Cats), o.Supply.CatTax,
		join(o.Keywords), o.Supply.PublisherID, o.Supply.InventoryDomain)
	if want := "s pub.example https://pub.example/é cats=IAB1|IAB2|IAB3|IAB4 tax=7 kw=a|b|c|d|e|f|g pub=5 ipd=partner.example"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = fmt.Sprintf("%s %s/%s type=%d %v %s,%s,%s,%s %.1f,%.1f %v %dx%d", o.Device.UA, o.Device.OS, o.Device.Browser, o.Device.Type, o.Device.Mobile,
		o.Device.Country, o.Device.Region, o.Device.City, o.Device.ZIP, o.Device.Lat, o.Device.Lon, o.Device.HasGeo, o.Device.W, o.Device.H)
	if want := "old Android/Google Chrome type=500 2 CAN,ON,Toronto,M5V 43.6,-79.4 true 1x2"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want := []rtb.UserSegment{{Provider: []byte("prov"), SegTax: 4, ID: []byte("s1")}, {Provider: []byte("prov"), SegTax: 4, ID: []byte("2")}}
	if !reflect.DeepEqual(o.UserSegments, want) {
		t.Errorf("got %v", o.UserSegments)
	}
	if o.DSARequired != 3 || o.DSAPubRender != rtb.DSARenderMaybe || o.CatTax != 2 || join(o.ACat) != "IAB9" || join(o.BApp) != "1" || join(o.WLangB) != "en" || join(o.BSeat) != "x" {
		t.Errorf("got %+v", o)
	}
	if string(o.Signals.Country) != "CAN" {
		t.Errorf("country %q", o.Signals.Country)
	}
	if c := mustDecode(t, p, root0(`"user":{"geo":{"country":"FRA"}}`)).Signals.Country; string(c) != "FRA" {
		t.Errorf("country %q; want the user's", c)
	}
}
