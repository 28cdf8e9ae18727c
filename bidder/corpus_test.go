package bidder_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebound/bidder"
	"rebound/rtb"
)

// corpus reads a file of real requests, where there is one next to the repository.
func corpus(t *testing.T, name string) [][]byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		f, err := os.Open(filepath.Join(dir, "shared", "corpus", name))
		if err != nil {
			dir = filepath.Dir(dir)
			continue
		}
		defer f.Close()
		var lines [][]byte
		sc := bufio.NewScanner(f)
		sc.Buffer(nil, 64<<20)
		for sc.Scan() {
			lines = append(lines, bytes.Clone(sc.Bytes()))
		}
		if err := sc.Err(); err != nil {
			t.Fatal(err)
		}
		return lines
	}
	t.Skip("no corpus here")
	return nil
}

// generous returns a world that bids wherever it is allowed to: on every common
// size, in unknown countries, on any inventory.
func generous(t *testing.T) *world {
	return newWorld(t, &scenario{
		Config:   map[string]any{"privacy": map[string]any{"vendor_id": 42, "unknown_country": "allow"}},
		Exchange: map[string]any{"allow_no_inventory": true},
		Campaign: map[string]any{"budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}},
		Line:     map[string]any{"bid": map[string]any{"cpm": 40, "max_cpm": 40}},
		Creative: map[string]any{"size": nil, "sizes": []any{"300x250", "728x90", "160x600", "320x50", "300x600", "970x250", "320x100", "300x50", "468x60", "336x280"}},
	})
}

// TestCorpus answers every real request for a known visitor, and checks each bid
// independently of the bidder.
func TestCorpus(t *testing.T) {
	w := generous(t)
	s := bidder.NewDecision()
	outcomes := map[string]int{}
	bids, banners := 0, 0
	for i, line := range corpus(t, "requests.jsonl") {
		body := asOurs(t, line)
		rq := bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}
		a := w.bidder.DryRun(&rq, s)
		if a.Status != 200 && a.Status != 204 && a.Status != 400 {
			t.Errorf("line %d: got %d", i+1, a.Status)
		}
		outcomes[a.Reason.String()]++
		if hasBanner(body) && !refusedBefore(a.Reason) {
			banners++
		}
		if a.Offers > 0 {
			bids++
			checkBids(t, i+1, body, a.Body)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%5d %s", outcomes[r], orText(r, "bid"))
	}
	t.Logf("%d bids for %d banner requests that nothing forbids before the offer", bids, banners)
	if banners == 0 || bids*100 < banners*80 {
		t.Errorf("got %d bids for %d banner requests", bids, banners)
	}
}

// refusedBefore reports whether a rule forbade a bid before any creative was tried.
func refusedBefore(r rtb.NoBidReason) bool {
	return r != rtb.NoBidNone && r < rtb.NoBidAdvertiserBlocked || r == rtb.NoBidCurrency || r == rtb.NoBidAdvertiserBlocked
}

// asOurs changes a request's user to the known visitor of the test world.
func asOurs(t *testing.T, line []byte) []byte {
	var rq map[string]json.RawMessage
	if json.Unmarshal(line, &rq) != nil {
		return line
	}
	user := map[string]json.RawMessage{}
	_ = json.Unmarshal(rq["user"], &user)
	user["buyeruid"] = json.RawMessage(`"u-retarget"`)
	rq["user"], _ = json.Marshal(user)
	out, err := json.Marshal(rq)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hasBanner(body []byte) bool {
	var rq struct {
		Imp []struct{ Banner map[string]any }
	}
	return json.Unmarshal(body, &rq) == nil && slices.ContainsFunc(rq.Imp, func(i struct{ Banner map[string]any }) bool { return i.Banner != nil })
}

// wire is the part of a request and a response that the check needs.
type wire struct {
	ID  string
	Cur any
	Imp []struct {
		ID       string
		BidFloor json.Number
		Banner   *struct {
			W, H   *float64
			Format []struct{ W, H *float64 }
			BAttr  []int
		}
	}
	BCat, BAdv []string
	SeatBid    []struct {
		Seat string
		Bid  []struct {
			ID, ImpID, AdM, CrID, NURL, BURL string
			Price                            float64
			W, H                             float64
			ADomain, Cat                     []string
		}
	}
}

func checkBids(t *testing.T, line int, request, answer []byte) {
	t.Helper()
	var rq, rs wire
	if err := json.Unmarshal(request, &rq); err != nil {
		return // looser than encoding/json; the decoder's own tests cover it
	}
	if err := json.Unmarshal(answer, &rs); err != nil {
		t.Errorf("line %d: %v in %s", line, err, answer)
		return
	}
	if rs.ID != rq.ID || len(rs.SeatBid) != 1 || rs.SeatBid[0].Seat != "seat-1" {
		t.Errorf("line %d: got %s", line, answer)
		return
	}
	seen := map[string]bool{}
	for _, b := range rs.SeatBid[0].Bid {
		offered := false
		for _, imp := range rq.Imp {
			if imp.ID != b.ImpID || imp.Banner == nil {
				continue
			}
			floor, _ := imp.BidFloor.Float64()
			if b.Price <= 0 || b.Price > 40 || b.Price < floor {
				t.Errorf("line %d: price %v with floor %v", line, b.Price, floor)
			}
			same := func(w, h *float64) bool { return w != nil && h != nil && *w == b.W && *h == b.H }
			offered = offered || same(imp.Banner.W, imp.Banner.H)
			for _, f := range imp.Banner.Format {
				offered = offered || same(f.W, f.H)
			}
		}
		if !offered || seen[b.ID] || b.CrID == "" || !slices.Equal(b.ADomain, []string{"shop.example"}) {
			t.Errorf("line %d: got bid %+v", line, b)
		}
		seen[b.ID] = true
		if slices.Contains(rq.BCat, "IAB22") || slices.Contains(rq.BAdv, "shop.example") {
			t.Errorf("line %d: bid in spite of a block list", line)
		}
		if !strings.Contains(b.BURL, "${AUCTION_PRICE}") || strings.Contains(b.AdM, "http://") {
			t.Errorf("line %d: burl %q", line, b.BURL)
		}
	}
}

// TestHostile posts hostile bodies, and checks that the bidder still bids afterwards.
func TestHostile(t *testing.T) {
	w := generous(t)
	codes := map[int]int{}
	for i, line := range corpus(t, "hostile.jsonl") {
		var x struct {
			Name    string
			Headers map[string]string
			B64     string
		}
		if err := json.Unmarshal(line, &x); err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		body, err := base64.StdEncoding.DecodeString(x.B64)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		text := string(body)
		w.send(&call{Body: &text, Headers: x.Headers})
		codes[w.answer.StatusCode()]++
		switch w.answer.StatusCode() {
		case 200, 204, 400, 413, 415:
		default:
			t.Errorf("%s: got %d", x.Name, w.answer.StatusCode())
		}
		if w.answer.ConnectionClose() || w.reason == rtb.NoBidError {
			t.Errorf("%s: close %v, reason %q", x.Name, w.answer.ConnectionClose(), w.reason)
		}
	}
	t.Logf("statuses: %v", codes)
	w.call(&call{Expect: expect{Bid: map[string]any{"price": 40}}}, "an ordinary request afterwards")
}
