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

// plain is a request that is stored as it is.
type plain []byte

func (p plain) AppendRedacted(dst []byte) ([]byte, error) { return append(dst, p...), nil }

// redactFunc redacts as a function does.
type redactFunc func(dst []byte) ([]byte, error)

func (f redactFunc) AppendRedacted(dst []byte) ([]byte, error) { return f(dst) }

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

// offer writes a record with a unique request.
func offer(l *BidLog, i int) {
	l.Write(&BidRecord{TS: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC), Exchange: "demo",
		Visitor: &rtb.Visitor{Key: rtb.Key{byte(i)}}, Decision: &Decision{NoBid: rtb.NoBidNoAudience}}, plain(fmt.Appendf(nil, `{"id":"%d","imp":[]}`, i)))
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

// Every record is in a file when Run returns: complete, in order, each on one line.
func TestBidLog(t *testing.T) {
	l := openLog(t, BidLogOptions{})
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

// Write never blocks: what does not fit in the buffer is dropped and counted.
func TestBidLogFull(t *testing.T) {
	l := openLog(t, BidLogOptions{BufferBytes: 4000})
	for i := range 100 {
		offer(l, i)
	}
	s := l.Stats()
	if s.Waiting < 10 || s.Waiting > 40 || s.Dropped != uint64(100-s.Waiting) || l.bytes.Load() > 4000 {
		t.Errorf("got %+v, %d bytes; want at most 4,000 bytes waiting, the other records dropped", s, l.bytes.Load())
	}
	finish(t, l)
	if s := l.Stats(); s.Written+s.Dropped != 100 || s.Waiting != 0 {
		t.Errorf("got %+v; want 100 accounted for", s)
	}
}

// Records of many goroutines are whole lines, each counted once, while chunks are
// written and the log ends.
func TestBidLogConcurrently(t *testing.T) {
	l := openLog(t, BidLogOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	const writers, each = 8, 5000
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				if offer(l, i*each+j); i == 0 && j == each/2 {
					cancel()
				}
			}
		})
	}
	wg.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := l.Stats()
	if s.Written+s.Dropped != writers*each || s.Written == 0 || s.Waiting != 0 || l.bytes.Load() != 0 {
		t.Errorf("got %+v, %d bytes; want %d records accounted for", s, l.bytes.Load(), writers*each)
	}
	seen := map[string]bool{}
	for _, r := range requests(t, l.o.Dir) {
		if seen[r] {
			t.Fatalf("%s is written twice", r)
		}
		seen[r] = true
	}
	if len(seen) != int(s.Written) {
		t.Errorf("got %d records in the file; want %d", len(seen), s.Written)
	}
}

// A request that cannot be redacted is never written.
func TestBidLogRedact(t *testing.T) {
	secret := "203.0.113.77"
	body := `{"device":{"ip":"` + secret + `"}}`
	for name, request := range map[string]Redacted{
		"failing": redactFunc(func(dst []byte) ([]byte, error) { return append(dst, body...), errors.New("no") }),
		"empty":   redactFunc(func(dst []byte) ([]byte, error) { return dst, nil }),
		"lines":   plain(body + "\n"),
		"good":    plain(`{"demo":1}`),
	} {
		l := openLog(t, BidLogOptions{})
		l.Write(&BidRecord{Exchange: "demo", Request: []byte(body)}, request)
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
		l := openLog(t, BidLogOptions{Dir: dir})
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
	l := openLog(t, BidLogOptions{Dir: dir, FileBytes: 1, Now: clock})
	w := newBidWriter(l)
	for i := range 5 {
		offer(l, i)
		l.flush(false)
		w.drain()
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
	l := openLog(t, BidLogOptions{Dir: dir})
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil { // a file in the folder's place
		t.Fatal(err)
	}
	w := newBidWriter(l)
	defer w.stopPacking()
	offer(l, 1)
	l.flush(false)
	w.drain()
	if s := l.Stats(); s.Dropped != 1 || s.Written != 0 {
		t.Errorf("got %+v; want the record dropped", s)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	offer(l, 2)
	l.flush(false)
	w.drain()
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	if got := requests(t, dir); len(got) != 1 {
		t.Errorf("got %v; want the second record", got)
	}
}

// bidSample returns a record of a bid, and its request of 2 KB.
func bidSample() (*BidRecord, Redacted) {
	return &BidRecord{
		V: 1, BidID: rtb.BidID{7}, TS: time.Date(2026, 10, 1, 8, 0, 0, 123456789, time.UTC), Exchange: "demo", Node: "n1", Build: "v1.2.3",
		Config: "0123456789abcdef0123456789abcdef", Pos: RecordPos{Segments: 123456, Money: 123457}, SampleWeight: 1,
		Privacy: RecordPrivacy{Level: rtb.LevelPersonalised, Signal: "tcf", ConsentHash: "0123456789abcdef"}, DeadlineUS: 81_000, TookUS: 42,
		Visitor: &rtb.Visitor{Key: rtb.Key{1}, Segments: []rtb.SegmentState{{ID: 1 << 60, First: 1790841600, Last: 1790841660, Count: 2, Recent: []rtb.Second{1790841660, 1790841600}}},
			Products: []rtb.ProductSeen{{Advertiser: "shop", ID: "sku1", Last: 1790841660, Kind: rtb.ProductCarted}}, Position: 123_400},
		Decision: &Decision{Bids: []DecisionBid{{BidID: rtb.BidID{7}, ImpID: "1", Advertiser: "shop", Campaign: "autumn", Line: "cart", Creative: "c1", Item: "sku1",
			Price: 2_310_000, Value: 4_100_000, Reserved: 2310, Expected: 300,
			Factors: Factors{CPM: 3_500_000, Recency: 1.8, Intensity: 1, Multiplier: 1.7, Shading: 0.9, Rate: 1, Floor: 500_000}, Draw: 0.47110815312345}},
			Dropped: []DecisionDrop{{ImpID: "1", Advertiser: "shop", Campaign: "autumn", Line: "viewed", Reason: rtb.NoBidFloor}}},
	}, plain(`{"id":"1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"page":"` + strings.Repeat("x", 2000) + `"}}`)
}

// A record costs no allocation once the memory is there.
func TestBidLogAllocations(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	l := openLog(t, BidLogOptions{})
	w := newBidWriter(l)
	defer w.stopPacking()
	r, request := bidSample()
	write := func() { // a chunk, which goes back
		for range 50 {
			l.Write(r, request)
		}
		l.flush(false)
		c, _ := l.next()
		l.giveBack(c)
	}
	write()
	if n := testing.AllocsPerRun(100, write); n >= 1 {
		t.Errorf("got %v allocations for 50 records; want 0", n)
	}
}

// In the request's goroutine, without redaction: encoding, and adding to the buffer.
func BenchmarkBidLog(b *testing.B) {
	for _, c := range []struct {
		name   string
		outbid int
	}{{"bid", 0}, {"99 outbid", 99}} {
		b.Run(c.name, func(b *testing.B) {
			l := openLog(b, BidLogOptions{BufferBytes: 1 << 40})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() { // takes the chunks as Run does, and writes nothing
				defer close(done)
				for {
					select {
					case <-l.wake:
						for c, ok := l.next(); ok; c, ok = l.next() {
							l.giveBack(c)
						}
					case <-ctx.Done():
						return
					}
				}
			}()
			rec, request := bidSample()
			rec.Decision.Dropped = append(rec.Decision.Dropped, make([]DecisionDrop, c.outbid)...)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				r := *rec
				for p.Next() {
					l.Write(&r, request)
				}
			})
			cancel()
			<-done
		})
	}
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
			l := openLog(t, BidLogOptions{Dir: dir})
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
