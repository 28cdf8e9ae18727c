package segments

import (
	"cmp"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// TestVisitorsReport measures the view at a size: VISITORS=10000000 make visitors-report. It
// writes profiles with eight segments, six products and three identifiers each, directly into
// the view's files, as a bulk snapshot that no log accounts for. Then it prints the bytes on
// disk and in memory, the time to open the files after a kill, and the CPU time in which
// events are folded: of visitors whose profiles are in the cache, and of others.
func TestVisitorsReport(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("VISITORS"))
	if n == 0 {
		t.Skip("it takes minutes; make visitors-report runs it")
	}
	r := &visitorsReport{t: t, n: n, dir: filepath.Join(t.TempDir(), "segments"), rnd: rand.New(rand.NewPCG(1, 2))}
	r.rules = []string{}
	for i := range 12 {
		r.rules = append(r.rules, fmt.Sprintf(`shop "view_item" item.category under "c%d"`, i), fmt.Sprintf(`shop "view_item" url.path prefix "/c%d/"`, i))
	}
	r.rules = append(r.rules, `shop "*"`, `shop "purchase"`, `shop "view_item"`)
	r.load()
	r.open()
	r.memory()
	r.fold("cold", func(i int) int { return r.rnd.IntN(r.n) })
	warm := min(r.n, 20_000)
	for range 2 { // the first time fills the caches
		r.fold("warm", func(i int) int { return i % warm })
	}
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
}

type visitorsReport struct {
	t     *testing.T
	n     int
	dir   string
	rnd   *rand.Rand
	rules []string
	s     *Store
	seq   uint64
}

func (r *visitorsReport) options() Options {
	return Options{Dir: r.dir, CacheBytes: 64 << 20}
}

func (r *visitorsReport) visitor(i int) rtb.Key {
	return keyOf(rtb.IDVisitor, "", strconv.Itoa(i))
}

// load writes the bulk snapshot and ends without closing the store, as a kill does once the
// files are flushed.
func (r *visitorsReport) load() {
	s := open(r.t, r.options())
	l := &log{now: start}
	l.add(events.Fact{Kind: events.KindConfig, Config: &events.Config{Hash: "h", Rules: r.rules}})
	apply(r.t, s, l.take())
	var ids []rtb.SegmentID
	for _, text := range r.rules[:16] {
		ids = append(ids, audiences.SegmentOf(text))
	}
	at := rtb.SecondOf(start)
	for i := 0; i < r.n; {
		b, err := s.newBatch()
		if err != nil {
			r.t.Fatal(err)
		}
		b.now = at
		for ; i < r.n && len(b.order) < 2000; i++ {
			r.bulk(b, r.visitor(i), ids, at, i)
		}
		if err := b.write(s.Position()); err != nil {
			r.t.Fatal(err)
		}
		b.b.Close()
	}
	r.seq = l.seq
	if err := s.Close(); err != nil {
		r.t.Fatal(err)
	}
	size, files := int64(0), 0
	err := filepath.WalkDir(r.dir, func(_ string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && e == nil && !d.IsDir() {
			size, files = size+info.Size(), files+1
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("%d visitors with 8 segments, 6 products and 3 identifiers (bulk snapshot): %d MiB in %d files, %d bytes a visitor on disk",
		r.n, size>>20, files, size/int64(r.n))
}

func (r *visitorsReport) bulk(b *batch, k rtb.Key, ids []rtb.SegmentID, at rtb.Second, i int) {
	w := &work{}
	w.v.Key = k
	for _, n := range r.rnd.Perm(len(ids))[:8] {
		last := at - rtb.Second(r.rnd.IntN(20*86400))
		s := insertSegment(&w.v, ids[n], last)
		s.Count, s.First, s.Recent = 2, last-rtb.Second(r.rnd.IntN(86400)), []rtb.Second{last, last}
		s.Recent[1] = s.First
		b.dict.segment(ids[n])
	}
	for range 6 {
		w.v.Products = append(w.v.Products, rtb.ProductSeen{Advertiser: "shop", ID: "sku" + strconv.Itoa(r.rnd.IntN(100_000)), Last: at - rtb.Second(r.rnd.IntN(20*86400)), Kind: rtb.ProductViewed})
	}
	slices.SortFunc(w.v.Products, func(a, b rtb.ProductSeen) int { return cmp.Compare(b.Last, a.Last) })
	b.profiles[k], b.order = w, append(b.order, k)
	err := b.keep(w, 1)
	for _, kind := range []string{"b:demo", "em", "xid"} {
		f := events.Fact{Kind: events.KindLink, Advertiser: "shop", Visitor: k}
		if err == nil {
			err = b.linkTo(&f, kind, keyOf(rtb.IDExchange, kind, strconv.Itoa(i)))
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// open measures the time until bids can be made from the files.
func (r *visitorsReport) open() {
	began, cpu := time.Now(), cpuTime()
	r.s = open(r.t, r.options())
	r.t.Logf("open: ready after %s, %s of CPU time", time.Since(began).Round(time.Millisecond), (cpuTime() - cpu).Round(time.Millisecond))
	if got := r.s.Stats().Visitors; got != uint64(r.n) {
		r.t.Errorf("got %d visitors; want %d", got, r.n)
	}
}

// memory measures what the process holds although no visitor is active.
func (r *visitorsReport) memory() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	filter := 0
	for _, l := range *r.s.known.Load().layers.Load() {
		filter += len(l.words) * 4
	}
	r.t.Logf("idle: %d MiB of heap, of which %d MiB are the filter of known ids: %.1f bytes a visitor; the cache of profiles holds at most %d MiB more (data.cache_bytes)",
		m.HeapAlloc>>20, filter>>20, float64(m.HeapAlloc)/float64(r.n), r.options().CacheBytes>>20)
}

// fold measures the CPU time of 20,000 events, in batches as the log hands them out.
func (r *visitorsReport) fold(what string, pick func(int) int) {
	const count, step = 20_000, 1000
	l := &log{now: start.Add(time.Minute), seq: r.seq}
	for i := range count {
		c := strconv.Itoa(r.rnd.IntN(12))
		e := &events.Event{Name: "view_item", EventID: strconv.FormatUint(r.seq+uint64(i), 36),
			Items: []events.Item{{ID: "sku" + strconv.Itoa(r.rnd.IntN(100_000)), Category: "c" + c + " > x"}}, URL: &events.URL{Host: "shop.example", Path: "/c" + c + "/p"}}
		l.add(events.Fact{Kind: events.KindEvent, Advertiser: "shop", Visitor: r.visitor(pick(i)), Event: e})
	}
	r.seq = l.seq
	facts := l.take()
	began, cpu := time.Now(), cpuTime()
	for i := 0; i < count; i += step {
		apply(r.t, r.s, facts[i:i+step])
	}
	used, wall := cpuTime()-cpu, time.Since(began)
	r.t.Logf("fold, %s: %d events in %s of CPU time (%s on the clock): %.0f events a second and core, %.1f us each",
		what, count, used.Round(time.Millisecond), wall.Round(time.Millisecond), count/used.Seconds(), float64(used.Microseconds())/count)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
