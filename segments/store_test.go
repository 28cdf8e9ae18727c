package segments

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckpointRestoreReset(t *testing.T) {
	dir := t.TempDir()
	l, s := newLog(), open(t, Options{Dir: filepath.Join(dir, "view")})
	l.event(visitorOf("a"), "view_item", 0)
	l.link(visitorOf("a"), "ifa", noSecret.Key(rtb.IDIFA, "", []byte("aa-01")))
	l.add(events.Fact{Kind: events.KindOptOut, Visitor: visitorOf("out")})
	apply(t, s, l.take())
	want, at := dump(t, s), s.Position()
	if err := s.Checkpoint(filepath.Join(dir, "copy")); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(filepath.Join(dir, "copy")); err == nil {
		t.Error("a checkpoint was written over another")
	}
	l.event(visitorOf("b"), "view_item", 0)
	l.event(visitorOf("a"), "view_item", 0)
	apply(t, s, l.take())
	find(t, s, byUID("b"), rtb.NoBidNone)
	for range 2 { // the copy can be used again
		if err := s.Restore(filepath.Join(dir, "copy")); err != nil {
			t.Fatal(err)
		}
		sameDump(t, "restored", dump(t, s), want)
		if s.Position() != at || s.Stats().Visitors != 1 || s.Stats().OptOuts != 1 {
			t.Errorf("position %+v, want %+v; %+v", s.Position(), at, s.Stats())
		}
		find(t, s, byUID("b"), rtb.NoBidUnknownVisitor)
		find(t, s, byUID("out"), rtb.NoBidPrivacyOptedOut)
		if v := find(t, s, byUID("a"), rtb.NoBidNone); v.Segments[0].Count != 1 {
			t.Error("the cache still has what came after the checkpoint")
		}
	}
	refold := newLog()
	refold.seq = at.Seq
	refold.event(visitorOf("b"), "view_item", 0)
	refold.event(visitorOf("a"), "view_item", 0)
	apply(t, s, refold.facts[1:])
	find(t, s, byUID("b"), rtb.NoBidNone)

	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	if s.Position() != (events.Position{}) || s.Stats().Visitors != 0 || len(dump(t, s)) != 0 {
		t.Errorf("after Reset: %+v, %d keys", s.Stats(), len(dump(t, s)))
	}
	find(t, s, byUID("a"), rtb.NoBidUnknownVisitor)
	if err := s.Restore(filepath.Join(dir, "none")); err == nil {
		t.Error("a checkpoint that is not there was restored")
	}
}

func TestDamagedFilesAreRebuiltAndSaidSo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "view")
	l := newLog()
	s := open(t, Options{Dir: dir})
	l.event(visitorOf("a"), "view_item", 0)
	apply(t, s, l.take())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatal("no manifest to damage")
	}
	for _, m := range manifests {
		if err := os.WriteFile(m, []byte("nothing of the kind"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	core, logs := observer.New(zap.WarnLevel)
	s = open(t, Options{Dir: dir, Logger: zap.New(core)})
	if s.Position() != (events.Position{}) || s.Stats().Visitors != 0 {
		t.Errorf("position %+v after damage, want zero", s.Position())
	}
	if logs.Len() != 1 {
		t.Errorf("%d log lines, want one that says so", logs.Len())
	}
}

// Whichever file is overwritten, the view opens: complete if the file was not
// needed, else empty, to be rebuilt from the log.
func TestAnyDamagedFileLeavesAViewThatOpens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "view")
	l := newLog()
	s := open(t, Options{Dir: dir})
	l.event(visitorOf("a"), "view_item", 0)
	apply(t, s, l.take())
	at := s.Position()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	for _, f := range files {
		if f.Name() == "LOCK" {
			continue
		}
		copied := filepath.Join(t.TempDir(), "view")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(copied, f.Name())
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, bytes.Repeat([]byte{0x5a}, int(info.Size())), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, Options{Dir: copied})
		if got := s.Position(); got.Seq != 0 && got.Seq != at.Seq {
			t.Errorf("%s overwritten: position %+v; want none or %+v", f.Name(), got, at)
		}
		if strings.HasSuffix(f.Name(), ".sst") {
			tables++
			if got := s.Position(); got.Seq != 0 {
				t.Errorf("%s overwritten: position %+v; want none", f.Name(), got)
			}
		}
	}
	if tables == 0 {
		t.Error("no table was damaged")
	}
}

// Damage that shows while the view is in use empties it; the facts fold again.
func TestDamageInUseEmptiesTheView(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "view")
	l, s := newLog(), open(t, Options{Dir: dir})
	l.event(visitorOf("a"), "view_item", 0)
	facts := l.take()
	apply(t, s, facts)
	if err := s.Checkpoint(filepath.Join(t.TempDir(), "copy")); err != nil { // writes a table
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no table to damage: %v", err)
	}
	for _, name := range tables {
		if err := os.Truncate(name, 100); err != nil {
			t.Fatal(err)
		}
	}
	l.event(visitorOf("a"), "view_item", 0)
	if err := s.Apply(l.take()); !view.IsDamage(err) {
		t.Fatalf("got %v; want damage", err)
	}
	if s.Position() != (events.Position{}) || s.Stats().Visitors != 0 {
		t.Fatalf("not empty: %+v", s.Stats())
	}
	apply(t, s, facts)
	find(t, s, byUID("a"), rtb.NoBidNone)
}

// many makes a store of n visitors, without files.
func many(t testing.TB, n int, cacheBytes int64) *Store {
	s := open(t, Options{InMemory: true, Dir: "view", CacheBytes: cacheBytes})
	l := newLog()
	for i := range n {
		id := fmt.Sprint("visitor-", i)
		l.event(visitorOf(id), "view_item", time.Hour, "sku1", "sku2")
		l.event(visitorOf(id), "add_to_cart", 0, "sku1")
		if len(l.facts) > 10_000 || i == n-1 {
			apply(t, s, l.take())
		}
	}
	return s
}

func TestFindDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l, s := newLog(), inMemory(t)
	l.event(visitorOf("uid"), "view_item", 0, "sku1")
	l.link(visitorOf("uid"), "b:demo", noSecret.Key(rtb.IDExchange, "demo", []byte("X")))
	apply(t, s, l.take())
	v := &rtb.Visitor{}
	f := func(what string, want rtb.NoBidReason, ids []rtb.ExternalID) {
		t.Helper()
		s.cache.entries.Wait()
		s.Find("demo", ids, v, nil) // fills the cache
		s.cache.entries.Wait()
		if n := testing.AllocsPerRun(1000, func() {
			if s.Find("demo", ids, v, nil) != want {
				t.Fatal("another answer")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	stranger := []rtb.ExternalID{{Kind: rtb.IDVisitor, Value: []byte("stranger")}, {Kind: rtb.IDEID, Scope: []byte("id.example"), Value: []byte("E")}, {Kind: rtb.IDIFA, Value: []byte("AA-02")}, {Kind: rtb.IDExchange, Value: []byte("Y")}}
	f("hit", rtb.NoBidNone, byUID("uid"))
	f("hit through a link", rtb.NoBidNone, append(stranger[:3:3], rtb.ExternalID{Kind: rtb.IDExchange, Value: []byte("X")}))
	f("unknown", rtb.NoBidUnknownVisitor, stranger)
	f("no id", rtb.NoBidNoID, nil)
}

func BenchmarkFind(b *testing.B) {
	const n = 100_000
	s := many(b, n, 256<<20)
	ids := make([][]rtb.ExternalID, n)
	for i := range ids {
		ids[i] = byUID(fmt.Sprint("visitor-", i))
	}
	v := &rtb.Visitor{}
	run := func(name string, ids [][]rtb.ExternalID, prepare func(i int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if prepare != nil {
					prepare(i % len(ids))
				}
				s.Find("demo", ids[i%len(ids)], v, nil)
			}
		})
	}
	for i := range ids {
		s.Find("demo", ids[i], v, nil)
	}
	s.cache.entries.Wait()
	run("hit", ids, nil)
	run("unknown", [][]rtb.ExternalID{byUID("stranger")}, nil)
	keys := make([]rtb.Key, n)
	for i := range keys {
		keys[i] = visitorOf(fmt.Sprint("visitor-", i))
	}
	run("miss", ids, func(i int) { s.cache.advance(s.cache.change(keys[i : i+1])) })
}

func BenchmarkApply(b *testing.B) {
	s := open(b, Options{Dir: b.TempDir()})
	l := newLog()
	apply(b, s, l.take())
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		l.event(visitorOf(fmt.Sprint("visitor-", i%50_000)), "view_item", 0, fmt.Sprint("sku", i%40))
		if i++; i%500 == 0 {
			apply(b, s, l.take())
		}
	}
	b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "facts/s")
}

// BenchmarkOpen opens a view of 100,000 visitors with one link each, which a start of
// the bidder waits for. The time grows in proportion to the visitors.
func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	dir := filepath.Join(b.TempDir(), "view")
	s, l := open(b, Options{Dir: dir}), newLog()
	for i := range n {
		id := fmt.Sprint("visitor-", i)
		l.event(visitorOf(id), "view_item", 0, "sku1", "sku2")
		l.link(visitorOf(id), "b:demo", noSecret.Key(rtb.IDExchange, "demo", []byte(id)))
		if len(l.facts) > 2000 || i == n-1 {
			apply(b, s, l.take())
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := open(b, Options{Dir: dir})
		if got := s.Stats().Visitors; got != n {
			b.Fatalf("got %d visitors", got)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
