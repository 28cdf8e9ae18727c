package apptest

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestOlderCopyOfTheLog stops the bidder, keeps a copy of the stream's folder,
// lets more happen, and puts the older copy back: as a restored backup does. It
// must be noticed, said, and mended from the archive; what happened in between
// still counts, once.
func TestOlderCopyOfTheLog(t *testing.T) {
	b := startBidder(t)
	w := b.browser()
	ann := w.pixel("a=shop&e=view_item&id=SKU1")
	first := b.bidWithin(time.Second, ann)
	b.notify(str(first["burl"]), "1.00")
	within(t, 5*time.Second, "the bill is booked", func() bool { return spent(b.budget("autumn", "", "day")) == 1000 })
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	stream := filepath.Join(b.dir, "stream")
	copied := filepath.Join(t.TempDir(), "stream")
	if err := os.CopyFS(copied, os.DirFS(stream)); err != nil {
		t.Fatal(err)
	}

	b.start()
	second := b.bidWithin(2*time.Second, ann)
	b.notify(str(second["burl"]), "2.00")
	bob := b.browser().pixel("a=shop&e=view_item&id=SKU2")
	b.bidWithin(time.Second, bob)
	b.events(`{"event":"purchase","user":{"uid":"` + ann + `"},"order_id":"o1","items":[{"id":"SKU1"}]}`)
	within(t, 5*time.Second, "both bills are booked", func() bool { return spent(b.budget("autumn", "", "day")) == 3000 })
	if status := b.terminate(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	if err := os.RemoveAll(stream); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(stream, os.DirFS(copied)); err != nil {
		t.Fatal(err)
	}

	b.start()
	said := b.log.find(0, "stream is behind its archive")
	if said == nil {
		t.Fatalf("nothing is said of the older copy:\n%s", b.log.tail(30))
	}
	t.Logf("said: %v", said)
	if got := spent(b.budget("autumn", "", "day")); got != 3000 {
		t.Errorf("spent %v micros; want 3000: nothing lost, nothing twice", got)
	}
	if status, _ := b.ask("demo", request("r-bob", bob)); status != http.StatusOK {
		t.Errorf("bob, who looked at a shoe after the copy was made, gets %d; want a bid", status)
	}
	if status, _ := b.ask("demo", request("r-ann", ann)); status != http.StatusNoContent {
		t.Errorf("ann, who bought after the copy was made, gets %d; want none", status)
	}
	// Notices of before still count once.
	b.notify(str(second["burl"]), "2.00")
	carol := b.browser().pixel("a=shop&e=view_item&id=SKU3")
	b.bidWithin(time.Second, carol)
	if got := spent(b.budget("autumn", "", "day")); got != 3000 {
		t.Errorf("spent %v micros after the bill came again; want 3000", got)
	}
}

// TestTornArchive cuts the archive's last line in half and empties the views: the
// tear is said and mended, and everything is folded again.
func TestTornArchive(t *testing.T) {
	b := startBidder(t)
	ann := b.browser().pixel("a=shop&e=view_item&id=SKU1")
	bid := b.bidWithin(time.Second, ann)
	b.notify(str(bid["burl"]), "1.00")
	within(t, 5*time.Second, "the bill is booked", func() bool { return spent(b.budget("autumn", "", "day")) == 1000 })
	b.kill()
	files, err := filepath.Glob(filepath.Join(b.dir, "log", "facts", "*.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archive: %v", err)
	}
	last := files[len(files)-1]
	info, err := os.Stat(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(last, info.Size()-20); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "views")); err != nil {
		t.Fatal(err)
	}
	b.start()
	if b.log.find(0, "torn end of the archive") == nil {
		t.Errorf("nothing is said of the torn line:\n%s", b.log.tail(30))
	}
	if got := spent(b.budget("autumn", "", "day")); got != 1000 {
		t.Errorf("spent %v micros; want 1000", got)
	}
	if status, _ := b.ask("demo", request("r-ann", ann)); status != http.StatusOK {
		t.Errorf("ann gets %d; want a bid", status)
	}
}
