package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rebound/rtb"
)

// identity keeps the request as it is.
func identity(dst, body []byte, _ string) ([]byte, error) { return append(dst, body...), nil }

func openLog(t testing.TB, o BidLogOptions) *BidLog {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := OpenBidLog(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// offer offers a record with a unique request.
func offer(l *BidLog, i int) {
	r := l.Borrow()
	r.TS = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)
	r.Exchange = "demo"
	r.SetRequest(fmt.Appendf(nil, "{\n  \"id\": \"%d\",\n  \"imp\": [ ]\n}", i))
	r.SetVisitor(&rtb.Visitor{Key: rtb.Key{byte(i)}})
	r.Decide().NoBid = rtb.NoBidNoAudience
	l.Offer(r)
}

// finish runs the log with a context that is already canceled.
func finish(t testing.TB, l *BidLog) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func requests(t testing.TB, dir string) []string {
	t.Helper()
	var got []string
	files, err := OpenRecordFiles(filepath.Join(dir, "bids-*"))
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range files.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(r.Request))
	}
	return got
}

// Every offered record is in a file when Run returns: complete, in order, each on one
// line whatever its layout.
func TestBidLog(t *testing.T) {
	l := openLog(t, BidLogOptions{Redact: identity})
	for i := range 500 {
		offer(l, i)
	}
	finish(t, l)
	got := requests(t, l.o.Dir)
	for i := range 500 {
		if want := fmt.Sprintf(`{"id":"%d","imp":[]}`, i); len(got) != 500 || got[i] != want {
			t.Fatalf("got %d records, number %d %s; want %s", len(got), i, got[i], want)
		}
	}
	if s := l.Stats(); s.Written != 500 || s.Dropped != 0 || s.Waiting != 0 || l.bytes.Load() != 0 {
		t.Errorf("got %+v, %d bytes waiting; want 500 written", s, l.bytes.Load())
	}
	offer(l, 1)
	if s := l.Stats(); s.Dropped != 1 || s.Waiting != 0 {
		t.Errorf("after the end: got %+v; want the record dropped", s)
	}
}

// Offer never blocks: what does not fit by count or bytes is dropped, counted.
func TestBidLogFull(t *testing.T) {
	for name, o := range map[string]BidLogOptions{"count": {QueueRecords: 10}, "bytes": {QueueBytes: 12_000}} {
		l := openLog(t, o)
		for i := range 100 {
			offer(l, i)
		}
		s := l.Stats()
		if s.Waiting == 0 || s.Waiting > 11 || s.Dropped != uint64(100-s.Waiting) {
			t.Errorf("%s: got %+v; want about 10 waiting, the others dropped", name, s)
		}
		finish(t, l)
		if s := l.Stats(); s.Written+s.Dropped != 100 {
			t.Errorf("%s: got %+v; want 100 accounted for", name, s)
		}
	}
}

// A request that cannot be redacted is never written.
func TestBidLogRedact(t *testing.T) {
	secret := "203.0.113.77"
	for name, redact := range map[string]func(dst, body []byte, exchange string) ([]byte, error){
		"none":    nil,
		"failing": func(dst, body []byte, _ string) ([]byte, error) { return append(dst, body...), errors.New("no") },
		"broken":  func(dst, body []byte, _ string) ([]byte, error) { return append(dst, body[1:]...), nil },
		"good":    func(dst, _ []byte, exchange string) ([]byte, error) { return fmt.Appendf(dst, "{%q:1}", exchange), nil },
	} {
		l := openLog(t, BidLogOptions{Redact: redact})
		r := l.Borrow()
		r.Exchange = "demo"
		r.SetRequest([]byte(`{"device":{"ip":"` + secret + `"}}`))
		l.Offer(r)
		finish(t, l)
		files, err := filepath.Glob(filepath.Join(l.o.Dir, "bids-*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(secret)) || bytes.Count(b, []byte("\n")) != 1 {
			t.Errorf("%s: got %s", name, b)
		}
		if left := l.Stats().Redacted == 1; left == (name == "good") || left != bytes.Contains(b, []byte(`"request":null`)) {
			t.Errorf("%s: got %+v for %s", name, l.Stats(), b)
		}
	}
}

// Records are in the file within a second, without an explicit flush.
func TestBidLogFlushes(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t, BidLogOptions{Dir: dir, Redact: identity})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		offer(l, 7)
		synctest.Wait()
		if s := l.Stats(); s.Written != 0 {
			t.Errorf("got %+v; want nothing written yet", s)
		}
		time.Sleep(time.Second) // synctest's clock
		synctest.Wait()
		if got := requests(t, dir); len(got) != 1 || l.Stats().Written != 1 {
			t.Errorf("got %d records after a second; want 1", len(got))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Full files are packed, the oldest are deleted when the folder is full, and
// the files of an earlier run are repaired and packed.
func TestBidLogRotates(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "bids-20260930T080000.000Z-000001.ndjson")
	if err := os.WriteFile(left, []byte(`{"v":1,"ts":"2026-09-30T08:00:00Z","exchange":"demo","request":{"id":"old"}}`+"\n"+`{"v":1,"ts"`), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	now := time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Millisecond)
		return now
	}
	l := openLog(t, BidLogOptions{Dir: dir, Redact: identity, FileBytes: 1, Now: clock})
	w := newBidWriter(l)
	for i := range 5 {
		offer(l, i)
		l.rest(w)
		w.flush()
		w.rotate()
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	w.stopPacking()
	got := requests(t, dir)
	if len(got) != 6 || got[0] != `{"id":"old"}` || !strings.Contains(got[5], `"4"`) {
		t.Fatalf("got %v; want the old one and five", got)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f, ".ndjson.zst") {
			t.Errorf("%s is not packed", f)
		}
	}
	l.o.MaxBytes = 400
	w.keep()
	if got := requests(t, dir); len(got) == 0 || len(got) > 3 || !strings.Contains(got[len(got)-1], `"4"`) {
		t.Errorf("got %v; want only the newest", got)
	}
}

// A folder that cannot be written costs the records, counted, and nothing else.
func TestBidLogDiskFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	l := openLog(t, BidLogOptions{Dir: dir, Redact: identity})
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil { // a file in the folder's place
		t.Fatal(err)
	}
	w := newBidWriter(l)
	defer w.stopPacking()
	offer(l, 1)
	l.rest(w)
	w.flush()
	if s := l.Stats(); s.Dropped != 1 || s.Written != 0 {
		t.Errorf("got %+v; want the record dropped", s)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	offer(l, 2)
	l.rest(w)
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	if got := requests(t, dir); len(got) != 1 {
		t.Errorf("got %v; want the second record", got)
	}
}

// Borrow and Offer do not allocate once the memory is there.
func TestBidLogAllocations(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	l := openLog(t, BidLogOptions{QueueRecords: 1})
	body := bytes.Repeat([]byte("x"), 2000)
	r := l.Borrow()
	r.SetRequest(body)
	l.Offer(r) // fills the queue: every later record is dropped and reused
	if n := testing.AllocsPerRun(1000, func() {
		r := l.Borrow()
		r.SetRequest(body)
		l.Offer(r)
	}); n >= 1 {
		t.Errorf("got %v allocations a record; want 0", n)
	}
}

// From Offer to file, with a request of 2 KB.
func BenchmarkBidLog(b *testing.B) {
	l := openLog(b, BidLogOptions{Redact: identity, QueueBytes: 1 << 40, QueueRecords: 1024, MaxBytes: 256 << 20})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	body := []byte(`{"id":"1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"page":"` + strings.Repeat("x", 2000) + `"}}`)
	b.ReportAllocs()
	for b.Loop() {
		for l.Stats().Waiting > 1000 {
			time.Sleep(100 * time.Microsecond) // a benchmark measures the writer, not the drops
		}
		r := l.Borrow()
		r.SetRequest(body)
		r.Decide().NoBid = rtb.NoBidNoAudience
		l.Offer(r)
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(l.Stats().Dropped)/float64(b.N), "dropped/op")
}

// A file or folder that is removed while it is written is noticed within a second, and
// the next records go to a new file.
func TestBidLogFilesRemoved(t *testing.T) {
	for name, remove := range map[string]func(dir, file string) error{
		"file":   func(_, file string) error { return os.Remove(file) },
		"folder": func(dir, _ string) error { return os.RemoveAll(dir) },
		"replaced": func(_, file string) error {
			return errors.Join(os.Rename(file, filepath.Join(filepath.Dir(file), "old")), os.WriteFile(file, nil, 0o600))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "bids")
			l := openLog(t, BidLogOptions{Dir: dir, Redact: identity})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- l.Run(ctx) }()
			for i := range 3 {
				offer(l, i)
			}
			time.Sleep(2 * time.Second)
			files, _ := filepath.Glob(filepath.Join(dir, "bids-*"))
			if len(files) != 1 {
				t.Fatalf("%s: got files %v", name, files)
			}
			if err := remove(dir, files[0]); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if s := l.Stats(); s.Lost != 3 || s.Written != 3 {
				t.Errorf("%s: got %+v; want 3 lost", name, s)
			}
			offer(l, 7)
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range requests(t, dir) {
				if strings.Contains(r, `"7"`) {
					got = append(got, r)
				}
			}
			if len(got) != 1 {
				t.Errorf("%s: got %v; want the next record on file", name, got)
			}
		})
	}
}
