package exchange

import (
	"encoding/json"
	"fmt"
	"testing"

	"rebound/rtb"
)

func nativeOf(t *testing.T, request string) *rtb.Native {
	t.Helper()
	p := testProfile(t, nil)
	text, _ := json.Marshal(request)
	return &mustDecode(t, p, imp0(`"native":{"ver":"1.1","request":`+string(text)+`}`)).Imps[0].Native
}

// NA3 to NA8: the assets and trackers of a native request.
func TestNativeBody(t *testing.T) {
	n := nativeOf(t, `{"ver":"1.2","privacy":1,"plcmtcnt":2,
		"assets":[{"id":1,"required":1,"title":{"len":90}},{"id":"2","img":{"type":3,"wmin":600,"hmin":0,"w":1200,"mimes":["image/png"]}},
			{"id":0,"required":true,"data":{"type":12,"len":15}},{"id":4,"video":{"mimes":["video/mp4"]}},{"id":5}],
		"eventtrackers":[{"event":1,"methods":[1,2]},{"event":2,"methods":[2]},{"event":3}]}`)
	if n.Bad || string(n.Ver) != "1.2" || !n.Privacy || len(n.Assets) != 5 {
		t.Fatalf("got %+v", n)
	}
	same := func(i int, want rtb.NativeAsset) {
		t.Helper()
		got := n.Assets[i]
		got.Mimes, want.Mimes = nil, nil
		a, _ := json.Marshal(got)
		if b, _ := json.Marshal(want); string(a) != string(b) {
			t.Errorf("asset %d: got %s; want %s", i, a, b)
		}
	}
	same(0, rtb.NativeAsset{ID: 1, Required: true, Kind: rtb.NativeTitle, Len: 90, WMin: -1, HMin: -1})
	same(1, rtb.NativeAsset{ID: 2, Kind: rtb.NativeImage, Type: 3, W: 1200, WMin: 600, HMin: 0})
	same(2, rtb.NativeAsset{Required: true, Kind: rtb.NativeData, Type: 12, Len: 15, WMin: -1, HMin: -1})
	same(3, rtb.NativeAsset{ID: 4, Kind: rtb.NativeVideo, WMin: -1, HMin: -1})
	same(4, rtb.NativeAsset{ID: 5, WMin: -1, HMin: -1})
	if m := n.Assets[1].Mimes; len(m) != 1 || string(m[0]) != "image/png" {
		t.Errorf("mimes %q", m)
	}
	want := []rtb.NativeTracker{{Event: 1, Image: true, Script: true}, {Event: 2, Script: true}, {Event: 3}}
	for i, w := range want {
		if n.Trackers[i] != w {
			t.Errorf("tracker %d: got %+v; want %+v", i, n.Trackers[i], w)
		}
	}
}

// An asset that cannot be read cannot be filled, but the request stays usable.
func TestNativeBodyInDoubt(t *testing.T) {
	for text, want := range map[string]rtb.NativeAsset{
		`{"title":{"len":9}}`:                              {Bad: true},
		`{"id":1,"title":{"len":"x"}}`:                     {Bad: true},
		`{"id":1,"title":{"len":-1}}`:                      {Bad: true},
		`{"id":1,"title":5}`:                               {Bad: true},
		`{"id":1,"title":{},"data":{"type":1}}`:            {Bad: true},
		`{"id":1,"img":{"mimes":[{}]}}`:                    {Bad: true},
		`{"id":1,"required":"no","title":{}}`:              {Required: true},
		`{"id":1,"required":1,"title":{},"required":0}`:    {Required: true},
		`{"id":1,"title":{"len":null},"ext":{"id":[1,2]}}`: {},
	} {
		n := nativeOf(t, `{"assets":[`+text+`]}`)
		if a := n.Assets[0]; n.Bad || a.Bad != want.Bad || a.Required != want.Required {
			t.Errorf("%s: got %+v; want %+v", text, a, want)
		}
	}
	for _, text := range []string{`{"assets":5}`, `{"assets":[5]}`, `{"assets":[{"id":1}],"assets":[]}`} {
		if n := nativeOf(t, text); !n.Bad {
			t.Errorf("%s: got %+v; want bad", text, n)
		}
	}
	if n := nativeOf(t, `{"eventtrackers":[]}`); !n.HasTrackers || n.Bad {
		t.Errorf("got %+v", n)
	}
	if n := nativeOf(t, `{}`); n.HasTrackers || string(n.Ver) != "1.1" {
		t.Errorf("got %+v", n)
	}
}

// FuzzNativeRequest checks that decoding any native.request terminates within its
// limits, and yields assets only if it is JSON.
func FuzzNativeRequest(f *testing.F) {
	for _, s := range []string{`{"native":{"ver":"1.0","assets":[{"id":1,"title":{"len":3}}]}}`, `{"assets":[{"id":1,"required":1,"img":{"wmin":1,"mimes":["a"]}}],"eventtrackers":[{"event":1,"methods":[1]}]}`,
		`{"assets":{}}`, `{"assets":[[[[`, `{"\u0061ssets":[{"id":"\ud800"}]}`, `{"assets":[{"id":1,"id":2,"data":{"len":1e99}}]}`, `{"eventtrackers":[1,{"methods":{}}]}`} {
		f.Add(s)
	}
	p, problems := (&ProfileSpec{ID: "x", Seat: "s", AllowNoInventory: true}).Compile()
	if len(problems) > 0 {
		f.Fatal(problems)
	}
	f.Fuzz(func(t *testing.T, request string) {
		text, err := json.Marshal(request)
		if err != nil {
			return
		}
		var d Decoder
		var o rtb.Opportunity
		body := []byte(`{"id":"1","imp":[{"id":"1","native":{"request":` + string(text) + `}},{"id":"2","native":{"request":"{\"assets\":[{\"id\":7,\"title\":{\"len\":9}}]}"}}]}`)
		if d.Head(body, p, &o) != nil || d.Rest(p, &o, rtb.AllParts) != nil || len(o.Imps) != 2 {
			t.Fatal("the request around it was lost")
		}
		n := &o.Imps[0].Native
		if len(n.Assets) > maxAssets || len(n.Trackers) > maxTrackers {
			t.Fatalf("%d assets, %d trackers", len(n.Assets), len(n.Trackers))
		}
		if (len(n.Assets) > 0 || n.HasTrackers) && !json.Valid(n.Request) {
			t.Fatalf("assets of %q", n.Request)
		}
		if a := o.Imps[1].Native.Assets; len(a) != 1 || a[0].ID != 7 || a[0].Len != 9 || a[0].Bad {
			t.Fatalf("the next impression reads as %+v", a)
		}
	})
}

// Impressions with the same native request have the same assets, and each its own
// lists. A request that comes twice in one impression is not taken for another one's.
func TestNativeRequestOfSeveralImpressions(t *testing.T) {
	const a, b = `"{\"ver\":\"1.2\",\"assets\":[{\"id\":7,\"title\":{\"len\":25}}]}"`, `"{\"native\":{\"assets\":[]}}"`
	p := testProfile(t, nil)
	o, err := decoded(t, p, []byte(`{"id":"r","site":{},"imp":[`+
		`{"id":"1","native":{"request":`+b+`}},`+
		`{"id":"2","native":{"ver":"1.1","request":`+a+`,"request":`+a+`,"battr":[1]}},`+
		`{"id":"3","native":{"request":`+a+`,"battr":["x"]}},`+
		`{"id":"4","native":{"request":`+a+`,"request":`+b+`}},`+
		`{"id":"5","native":{"request":"{"}},`+
		`{"id":"6","native":{"request":`+b+`,"ver":"1"}},`+
		`{"id":"7","native":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`{"assets":[]} true "" 0 false`,
		`{"ver":"1.2","assets":[{"id":7,"title":{"len":25}}]} false "1.2" 1 false`,
		`{"ver":"1.2","assets":[{"id":7,"title":{"len":25}}]} false "1.2" 1 true`,
		`{"assets":[]} true "" 0 false`,
		` false "" 0 true`,
		`{"assets":[]} true "1" 0 false`,
		` false "" 0 true`,
	} {
		n := &o.Imps[i].Native
		if got := fmt.Sprintf("%s %v %q %d %v", n.Request, n.Wrapped, n.Ver, len(n.Assets), n.Bad); got != want {
			t.Errorf("impression %d: got %s; want %s", i+1, got, want)
		}
	}
}
