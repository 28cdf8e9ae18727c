package bidder_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"rebound/bidder"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// Every response has a unique bidid that is safe in a URL, and every bid a unique id
// that differs from the bidid.
func TestAnswersHaveTheirOwnIDs(t *testing.T) {
	conformance.Covers(t, "R2", "R4")
	w := lasting(t)
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{8,64}$`)
	seen := map[string]bool{}
	for i := range 50 {
		w.send(&call{})
		var answer map[string]any
		if err := json.Unmarshal(w.body, &answer); err != nil {
			t.Fatal(err)
		}
		ids := []any{answer["bidid"]}
		for _, b := range bidsOf(answer) {
			ids = append(ids, b["id"])
			if b["impid"] != "1" {
				t.Errorf("answer %d: got impid %v; want the request's", i, b["impid"])
			}
		}
		for _, id := range ids {
			text, _ := id.(string)
			if !form.MatchString(text) || seen[text] {
				t.Fatalf("answer %d: got id %q; want one for itself that may stand in a URL", i, text)
			}
			seen[text] = true
		}
	}
}

// A block list of 20,000 advertisers is read once for each of our advertisers, not
// once for each line.
func TestALongBlockListIsCheap(t *testing.T) {
	conformance.Covers(t, "V16")
	w := lasting(t)
	list := strings.Repeat(`"some-other-shop-or-brand.example",`, 20_000)
	body := strings.Replace(string(w.r0), `"at":1`, `"at":1,"badv":[`+list+`"last.example"]`, 1)
	b, s := w.bare(), bidder.NewDecision()
	best := time.Hour
	for range 10 {
		start := time.Now()
		if a := b.Answer(&bidder.Request{Exchange: "demo", Body: []byte(body), Arrival: w.now}, s); a.Offers != 1 {
			t.Fatalf("got %q; want a bid", a.Reason)
		}
		best = min(best, time.Since(start))
	}
	t.Logf("best of ten: %v", best)
	if best > 50*time.Millisecond && !raceOn {
		t.Errorf("got %v; want a few milliseconds", best)
	}
	body = strings.Replace(body, "last.example", "shop.example", 1)
	if a := b.Answer(&bidder.Request{Exchange: "demo", Body: []byte(body), Arrival: w.now}, s); a.Reason != rtb.NoBidAdvertiserBlocked {
		t.Errorf("the last of 20,001: got %q; want advertiser_blocked", a.Reason)
	}
}
