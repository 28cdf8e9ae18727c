package events

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

// TestEraseBids erases a visitor in a packed file, in the one that is being written and
// in records that still wait, while others are written.
func TestEraseBids(t *testing.T) {
	gone, stays := rtb.Key{7, 7}, rtb.Key{8, 8}
	l := openLog(t, BidLogOptions{FileBytes: 2000})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- l.Run(ctx) }()
	write := func(n int) {
		for i := range n {
			v := []rtb.Key{gone, stays}[i%2]
			l.Write(&BidRecord{TS: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC), Exchange: "demo", BidID: rtb.BidID{byte(i)},
				Visitor: &rtb.Visitor{Key: v}, Decision: &Decision{NoBid: rtb.NoBidNoAudience}},
				plain(fmt.Appendf(nil, `{"id":"%d","user":{"id":"%s"}}`, i, rtb.AppendPseudonym(nil, v))))
		}
	}
	write(20)
	first, err := l.Erase(t.Context(), NewKeySet(rtb.Key{9, 9, 9}))
	if err != nil || first != (ErasedBids{}) {
		t.Fatalf("got %+v, %v for an unknown key; want nothing to erase", first, err)
	}
	write(20)
	done, err := l.Erase(t.Context(), NewKeySet(gone))
	if err != nil || done.Records != 20 || done.Files < 2 {
		t.Fatalf("got %+v, %v; want 20 records in at least 2 files", done, err)
	}
	if again, err := l.Erase(t.Context(), NewKeySet(gone)); err != nil || again != (ErasedBids{}) {
		t.Errorf("second time: got %+v, %v; want nothing to erase", again, err)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if _, err := l.Erase(t.Context(), NewKeySet(gone)); err == nil {
		t.Error("got no error after Run has ended; want one")
	}
	files, err := OpenRecordFiles(filepath.Join(l.o.Dir, "bids-*"))
	if err != nil {
		t.Fatal(err)
	}
	n, kept := 0, 0
	for r, err := range files.All() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if strings.Contains(string(r.Request), gone.String()) || r.Visitor != nil && r.Visitor.Key == gone {
			t.Errorf("record %s still holds the visitor", r.Request)
		}
		if r.Visitor != nil && r.Visitor.Key == stays && strings.Contains(string(r.Request), stays.String()) {
			kept++
		}
		if r.Decision == nil || r.Decision.NoBid != rtb.NoBidNoAudience {
			t.Errorf("record %s lost its decision", r.Request)
		}
	}
	if n != 40 || kept != 20 {
		t.Errorf("got %d records, %d of them of the other visitor; want 40 and 20", n, kept)
	}
}
