package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// A start whose clock is behind that of the start before is blind from the first
// request on, and says by how much.
func TestClockBehindTheLog(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	ahead := startProgramAt(t, func() time.Time { return time.Now().Add(time.Hour) }, shop, data)
	if ahead.stop() != 0 {
		t.Fatalf("ended badly:\n%s", ahead.log)
	}
	r := startProgram(t, shop, data)
	if !r.refused("blind") || r.refused("unknown_visitor") {
		t.Error("the first request was not refused as blind")
	}
	why := r.app.money.Blind()
	if !strings.HasPrefix(why, "the clock is 3") || !strings.HasSuffix(why, " s behind the log") {
		t.Errorf("blind %q", why)
	}
	r.says(why)
}

// A reload that gives an advertiser who has spent another currency is refused as
// a whole.
func TestReloadKeepsTheCurrencyThatWasSpentIn(t *testing.T) {
	file := copyShop(t)
	r := startProgram(t, file, filepath.Join(t.TempDir(), "data"))
	now := time.Now().UTC()
	err := r.app.journal.Append(t.Context(), events.Fact{
		ID: "bill:1", At: now, Kind: events.KindBill, Advertiser: "shop", Currency: rtb.USD,
		Notice: &events.Notice{BidID: rtb.BidID{1}, Exchange: "demo", Campaign: "autumn", Line: "viewed", Charge: 1000, Bills: true, Issued: now},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bill is folded", func() bool {
		for _, l := range r.app.money.Stats().Lines {
			if l.Spend == 1000 {
				return true
			}
		}
		return false
	})
	hash := r.app.snapshot.Load().Hash
	replace(t, file, "currency: USD", "currency: EUR")
	r.reload()
	if r.app.snapshot.Load().Hash != hash {
		t.Error("the configuration became active")
	}
	r.says("configuration refused", "want USD, in which 0.001 was spent")
}
