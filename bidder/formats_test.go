package bidder_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"testing"

	"rebound/bidder"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// formatsWorld returns a world with a video, an audio and a native creative in one line.
func formatsWorld(t testing.TB) *world {
	list := []any{
		map[string]any{"id": "film", "type": "vast", "duration": "15s", "click_url": "https://shop.example/",
			"media": []any{map[string]any{"url": "https://shop.example/f.mp4", "w": 640, "h": 360}}},
		map[string]any{"id": "sound", "type": "audio", "duration": "15s", "click_url": "https://shop.example/",
			"media": []any{map[string]any{"url": "https://shop.example/a.mp3"}}},
		map[string]any{"id": "words", "type": "native", "click_url": "https://shop.example/",
			"native": map[string]any{"title": "Shop", "desc": "A shop", "images": []any{map[string]any{"url": "https://shop.example/a.png", "w": 300, "h": 250}}}},
	}
	return newWorld(t, &scenario{
		Config:   map[string]any{"creatives": list},
		Line:     map[string]any{"creatives": []any{"film", "sound", "words"}},
		Campaign: map[string]any{"budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}},
	})
}

var formatImps = map[string]string{
	"video":  `"video":{"mimes":["video/mp4"],"protocols":[2,3,7,13]}`,
	"audio":  `"audio":{"mimes":["audio/mpeg"],"protocols":[3,13]}`,
	"native": `"native":{"request":"{\"ver\":\"1.2\",\"assets\":[{\"id\":1,\"required\":1,\"title\":{\"len\":25}},{\"id\":2,\"img\":{\"type\":3,\"wmin\":1}},{\"id\":3,\"data\":{\"type\":2}}],\"eventtrackers\":[{\"event\":1,\"methods\":[1]}]}"` + `}`,
}

// A bid of another format allocates no more than one of a banner.
func TestAllocationsOfFormats(t *testing.T) {
	if raceOn {
		t.Skip("allocation counts differ under the race detector")
	}
	w := formatsWorld(t)
	b, s := w.bare(), bidder.NewDecision()
	for name, imp := range formatImps {
		body := bytes.Replace(w.r0, []byte(`"banner":{"format":[{"w":300,"h":250}]}`), []byte(imp), 1)
		rq := bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}
		var a bidder.Response
		n := math.Inf(1)
		for range 5 {
			runtime.Gosched() // for the goroutine that fills the cache of visitors
			n = min(n, testing.AllocsPerRun(200, func() { a = b.Answer(&rq, s) }))
		}
		if a.Reason != rtb.NoBidNone || n > 5 {
			t.Errorf("%s: got %v allocations, %q; want at most 5 for a bid", name, n, a.Reason)
		}
		t.Logf("%s: %v allocations, %d bytes", name, n, len(a.Body))
	}
}

// FuzzNativeRequest: any native request gets no bid, or JSON with each required asset
// exactly once, under its id.
func FuzzNativeRequest(f *testing.F) {
	for _, s := range []string{
		`{"ver":"1.2","assets":[{"id":1,"required":1,"title":{"len":25}},{"id":2,"required":1,"img":{"type":3,"wmin":1}}]}`,
		`{"native":{"ver":"1.0","assets":[{"id":0,"required":1,"data":{"type":2,"len":3}}]}}`,
		`{"assets":[{"id":1,"required":1,"title":{}},{"id":1,"required":1,"title":{}}],"eventtrackers":[{"event":1,"methods":[1]}]}`,
		`{"assets":[{"id":9,"required":1,"video":{}}],"privacy":1}`, `{"ver":"\"}","assets":[{"id":-5,"required":"1","img":{"w":"300","h":250.0}}]}`,
	} {
		f.Add(s)
	}
	w := formatsWorld(f)
	b, s := w.bare(), bidder.NewDecision()
	f.Fuzz(func(t *testing.T, request string) {
		text, err := json.Marshal(request)
		if err != nil {
			return
		}
		body := bytes.Replace(w.r0, []byte(`"banner":{"format":[{"w":300,"h":250}]}`), []byte(`"native":{"request":`+string(text)+`}`), 1)
		a := b.DryRun(&bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}, s)
		if a.Offers == 0 {
			return
		}
		var rs struct {
			SeatBid []struct {
				Bid []struct {
					Adm   string
					MType int
				}
			}
		}
		if err := json.Unmarshal(a.Body, &rs); err != nil || rs.SeatBid[0].Bid[0].MType != 4 {
			t.Fatalf("%v in %s", err, a.Body)
		}
		type ad struct {
			Assets []struct{ ID int }
			Link   struct{ URL string }
		}
		var doc struct {
			ad
			Native *ad
		}
		if err := json.Unmarshal([]byte(rs.SeatBid[0].Bid[0].Adm), &doc); err != nil {
			t.Fatalf("%v in %s", err, rs.SeatBid[0].Bid[0].Adm)
		}
		got := doc.ad
		if doc.Native != nil {
			got = *doc.Native
		}
		answered := map[int]int{}
		for _, x := range got.Assets {
			answered[x.ID]++
		}
		for _, want := range s.Opportunity().Imps[0].Native.Assets {
			if want.Required && answered[want.ID] == 0 {
				t.Fatalf("asset %d is not answered: %s", want.ID, rs.SeatBid[0].Bid[0].Adm)
			}
		}
		if got.Link.URL == "" {
			t.Fatalf("no link: %s", rs.SeatBid[0].Bid[0].Adm)
		}
	})
}

// Rules VD8, VD13: one line bids with video, audio and native, each with its attributes.
func TestEveryFormatIsAnswered(t *testing.T) {
	conformance.Covers(t, "VD13", "R11")
	w := formatsWorld(t)
	for name, want := range map[string]string{"video": "2 13 15", "audio": "3 13 15", "native": "4 0 0"} {
		w.send(&call{Request: `{"imp":[{"id":"1",` + formatImps[name] + `}]}`})
		var answer map[string]any
		if err := json.Unmarshal(w.body, &answer); err != nil {
			t.Fatalf("%s: %v in %q (%s)", name, err, w.body, w.reason)
		}
		bid := bidsOf(answer)[0]
		number := func(k string) float64 { x, _ := bid[k].(float64); return x }
		if got := fmt.Sprint(number("mtype"), number("protocol"), number("dur")); got != want {
			t.Errorf("%s: got %s; want %s", name, got, want)
		}
	}
}
