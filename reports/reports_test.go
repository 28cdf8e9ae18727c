package reports

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// world is a log of a test: facts in memory, and bid records in files.
type world struct {
	t     testing.TB
	dir   string
	facts []events.Fact
	first uint64 // sequence of the last fact before facts
	now   time.Time
	after time.Duration // from now to the time at which the rollups are built
}

func newWorld(t testing.TB) *world {
	return &world{t: t, dir: t.TempDir(), now: time.Date(2026, 10, 1, 2, 30, 0, 0, time.UTC), after: time.Minute}
}

func (w *world) options() Options {
	return Options{
		Path: filepath.Join(w.dir, "reports", "rollups.db"), BidDir: filepath.Join(w.dir, "bids"),
		Now: func() time.Time { return w.now.Add(w.after) },
		Facts: func(_ context.Context, after events.Position, fn func([]events.Fact) error) error {
			if after.Seq > w.first+uint64(len(w.facts)) {
				return ErrElsewhere
			}
			for rest := w.facts[max(after.Seq, w.first)-w.first:]; len(rest) > 0; rest = rest[min(len(rest), 1000):] {
				if err := fn(rest[:min(len(rest), 1000)]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (w *world) open() *Store {
	w.t.Helper()
	s, err := Open(context.Background(), w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

func (w *world) update(s *Store) Progress {
	w.t.Helper()
	p, err := s.Update(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func bidID(n int) (id rtb.BidID) {
	copy(id[:], fmt.Sprintf("%016d", n))
	return id
}

// record returns a bid record with one bid; of a request without a bid for bid 0.
func (w *world) record(bid int) string {
	decision := `{"nobid":"unknown_visitor"}`
	if bid > 0 {
		decision = fmt.Sprintf(`{"bids":[{"bid_id":"%s","impid":"1","advertiser":"shop","campaign":"c","line":"cart","creative":"x","price":2,"value":4,"reserved_micros":2000,"recency_s":60,"frequency":2,`+
			`"factors":{"cpm":3.5,"recency":1.8,"intensity":1,"multiplier":1,"shading":1,"rate":1},"draw":0.5}]}`, bidID(bid))
	}
	return fmt.Sprintf(`{"v":1,"ts":"%s","exchange":"demo","sample_weight":1,"request":{"id":"r","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"domain":"News.example"},`+
		`"device":{"ua":"Mozilla/5.0 Firefox/1","devicetype":"2","geo":{"country":"CAN"}}},"decision":%s}`, w.now.Format(time.RFC3339Nano), decision)
}

func (w *world) write(name string, lines ...string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "bids", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range lines {
		fmt.Fprintln(f, l)
	}
	if err := f.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// notice appends a notice about a bid that was made at a time.
func (w *world) notice(kind events.Kind, bid int, issued time.Time, charge rtb.Micros) {
	seq := w.first + uint64(len(w.facts)) + 1
	w.facts = append(w.facts, events.Fact{V: 1, Seq: seq, ID: fmt.Sprintf("%s:%s", kind, bidID(bid)), Kind: kind, At: issued, TS: issued, Advertiser: "shop", Currency: rtb.USD,
		Notice: &events.Notice{BidID: bidID(bid), Exchange: "demo", Campaign: "c", Line: "cart", Creative: "x", Format: "banner", Issued: issued, Bills: charge > 0, Charge: charge}})
}

// csv returns the answer to a query of October 2026 in Toronto as lines.
func (w *world) csv(s *Store, dims, metrics string) string {
	w.t.Helper()
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		w.t.Fatal(err)
	}
	from := rtb.DayOf(time.Date(2026, 9, 30, 12, 0, 0, 0, zone), zone)
	r, err := s.Custom(context.Background(), Query{Dims: fields(dims), Metrics: fields(metrics), From: from.Start(zone), To: (from + 31).Start(zone), Zone: zone})
	var b bytes.Buffer
	if err == nil {
		err = r.Write(&b, "csv")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	_, rows, _ := strings.Cut(b.String(), "\n")
	return strings.TrimSpace(rows)
}

func (w *world) want(s *Store, dims, metrics, want string) {
	w.t.Helper()
	if got := w.csv(s, dims, metrics); got != want {
		w.t.Errorf("%s of %s: got %q; want %q", metrics, dims, got, want)
	}
}

// A bill counts on the local day of its bid, once, with the impression of its record, for
// which it waits.
func TestOutcomesCountWithTheirBid(t *testing.T) {
	w := newWorld(t) // 2:30 in UTC is the day before in Toronto
	s := w.open()
	w.after = time.Second
	w.notice(events.KindWin, 1, w.now, 0)
	w.notice(events.KindBill, 1, w.now, 1500)
	w.notice(events.KindBill, 1, w.now, 1500)
	if p := w.update(s); p.Facts != 0 {
		t.Errorf("got %+v; want notices that wait for the record of their bid", p)
	}
	w.write("bids-1.ndjson", w.record(1), w.record(0))
	w.update(s)
	w.want(s, "day,domain", "bids,wins,spend", "2026-09-30,news.example,USD,1,1,1500")
	w.notice(events.KindClick, 1, w.now, 0)
	w.notice(events.KindBill, 2, w.now.Add(3*time.Hour), 700) // its record was dropped
	w.notice(events.KindBill, 2, w.now.Add(3*time.Hour), 700)
	w.after += 3 * time.Hour
	if p := w.update(s); p.Facts != 1 {
		t.Errorf("got %+v; want one notice of a known bid", p)
	}
	w.after = 4 * time.Hour
	if p := w.update(s); p.Facts != 2 {
		t.Errorf("got %+v; want the notices of a bid without a record", p)
	}
	w.want(s, "day,domain", "bids,clicks,spend", "2026-09-30,news.example,USD,1,1,1500\n2026-10-01,,USD,0,0,700")
	w.want(s, "recency_bucket,frequency_bucket", "bids,spend", ",,USD,0,700\n<1h,2,USD,1,1500")
	w.want(s, "device,browser", "requests", "pc,firefox,2")
}

// A bid whose record comes too late for its first notices still counts each notice once.
func TestLateRecord(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	w.notice(events.KindBill, 1, w.now, 700)
	w.update(s)
	w.write("bids-1.ndjson", w.record(1))
	w.update(s)
	s.Close()
	s = w.open()
	w.notice(events.KindBill, 1, w.now, 700)
	w.notice(events.KindClick, 1, w.now, 0)
	w.update(s)
	w.want(s, "domain", "bids,bills,clicks,spend", ",USD,0,1,0,700\nnews.example,USD,1,0,1,0")
}

// Bids are forgotten when their notices are not charged any more. Later outcomes count
// without what only the record says.
func TestBidsAreForgotten(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	bids := func() (n int) {
		if err := s.db.QueryRow("SELECT COALESCE(SUM(count), 0) FROM bids").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	issued := w.now
	w.write("bids-1.ndjson", w.record(1))
	w.update(s)
	w.now = issued.Add(8 * 24 * time.Hour)
	w.write("bids-1.ndjson", w.record(2))
	w.notice(events.KindClick, 2, w.now, 0)
	w.update(s)
	if n := bids(); n != 2 {
		t.Errorf("after 8 days: got %d bids; want 2", n)
	}
	w.now = w.now.Add(time.Hour)
	w.notice(events.KindImp, 3, w.now, 0)
	w.notice(events.KindClick, 1, issued, 0)
	w.facts[len(w.facts)-1].TS = w.now
	w.update(s)
	if n := bids(); n != 2 { // those of the last 8 days
		t.Errorf("an hour later: got %d bids; want 2", n)
	}
	w.want(s, "domain", "bids,imps,clicks", ",0,1,1\nnews.example,2,0,1")
}

// The sums stay the same when files are packed, when personal data in them is erased, when
// the store is closed between steps, and when it is lost.
func TestRecordsCountOnce(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	w.write("bids-1.ndjson", w.record(1), w.record(0), `no record`, w.record(2))
	w.update(s)
	w.write("bids-1.ndjson", w.record(3))
	if err := os.WriteFile(filepath.Join(w.dir, "bids", "bids-2.ndjson"), []byte(w.record(4)+"\n"+w.record(5)[:50]), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = w.open()
	w.update(s)
	w.want(s, "exchange", "records,requests", "demo,5,5")
	if err := events.Pack(filepath.Join(w.dir, "bids", "bids-1.ndjson")); err != nil {
		t.Fatal(err)
	}
	w.write("bids-2.ndjson", w.record(5)[50:])
	if p := w.update(s); p.Records != 1 || p.Rebuilt {
		t.Errorf("got %+v; want one more record", p)
	}
	w.want(s, "exchange", "records,requests", "demo,6,6")

	// An erasure rewrites a file in packed form, with other bytes and without broken lines.
	plain := filepath.Join(w.dir, "bids", "bids-2.ndjson")
	text, err := os.ReadFile(plain)
	if err == nil {
		err = os.WriteFile(plain, bytes.ReplaceAll(text, []byte("News.example"), []byte("News.example ")), 0o600)
	}
	if err == nil {
		err = events.Pack(plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	if p := w.update(s); p.Records != 0 || p.Rebuilt {
		t.Errorf("after an erasure: got %+v; want nothing new", p)
	}
	before := w.csv(s, "day,line", "bids,bid_cost")
	s.Close()
	for _, damage := range []func(path string) error{os.Remove, func(p string) error {
		return os.WriteFile(p, []byte("no database, and long enough to be read as one........."), 0o600)
	}} {
		path := w.options().Path
		os.Remove(path + "-wal")
		if err := damage(path); err != nil {
			t.Fatal(err)
		}
		s = w.open()
		w.update(s)
		if got := w.csv(s, "day,line", "bids,bid_cost"); got != before {
			t.Errorf("built again: got %q; want %q", got, before)
		}
		s.Close()
	}
}

// A line that is too long to be a record is skipped as one broken line, and what follows it
// counts once.
func TestLongLine(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	// Its end, alone, would be a record.
	w.write("bids-1.ndjson", w.record(1), strings.Repeat(" ", events.MaxLine+1000)+w.record(4), w.record(2), w.record(3))
	for range 2 {
		w.update(s)
		w.want(s, "line", "bids", "cart,3")
		if as, err := s.AsOf(context.Background()); err != nil || as.Broken != 1 {
			t.Errorf("got %+v, %v; want one broken line", as, err)
		}
	}
	w.write("bids-1.ndjson", w.record(5))
	if p := w.update(s); p.Records != 1 {
		t.Errorf("got %+v; want one more record", p)
	}
	w.want(s, "line", "bids", "cart,4")
}

// Following counts some records at a time, then facts, and commits what is old or large. In
// the end the sums are the same as those of one update.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	const records = followed + 500
	var lines []string
	for n := 1; n <= records; n++ {
		lines = append(lines, w.record(n))
	}
	w.write("bids-1.ndjson", lines...)
	w.notice(events.KindBill, 1, w.now, 1500)
	w.notice(events.KindBill, records, w.now, 700)
	o, rests := w.options(), 0
	o.Rest = func(context.Context) error { rests++; return nil }
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Progress{{Records: followed, More: true}, {Records: 500, Facts: 2}, {}} {
		if p, err := s.Follow(context.Background()); err != nil || p != want || rests == 0 {
			t.Errorf("got %+v, %v and %d rests; want %+v", p, err, rests, want)
		}
	}
	if got := w.csv(s, "line", "bids"); got != "" {
		t.Errorf("got %q before anything was committed", got)
	}
	w.after += commitEvery
	if _, err := s.Follow(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := w.csv(s, "day,line", "bids,wins,spend")
	if !strings.Contains(got, fmt.Sprint(records)+",2,2200") {
		t.Errorf("got %q after %s", got, commitEvery)
	}
	s.Close()
	if err := os.RemoveAll(filepath.Dir(o.Path)); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	w.update(s)
	w.want(s, "day,line", "bids,wins,spend", got)

	s.Close() // a packed file is counted in one call, because each would have to unpack it
	if err := errors.Join(os.RemoveAll(filepath.Dir(o.Path)), events.Pack(filepath.Join(o.BidDir, "bids-1.ndjson"))); err != nil {
		t.Fatal(err)
	}
	s = w.open()
	if p, err := s.Follow(context.Background()); err != nil || p.Records != records {
		t.Errorf("packed: got %+v, %v; want %d records", p, err, records)
	}
}

// Requests may name any number of sites: beyond a limit they are not told apart, but lines
// are.
func TestTooManyWords(t *testing.T) {
	w := newWorld(t)
	const sites = 30
	for n := range sites {
		w.write("bids-1.ndjson", strings.NewReplacer("News", fmt.Sprintf("site%d", n), "cart", fmt.Sprintf("line%d", n)).Replace(w.record(n+1)))
	}
	o := w.options()
	o.words = sites
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.update(s)
	if got := w.csv(s, "domain", "requests"); !strings.HasPrefix(got, "(other),") || !strings.Contains(got, "site0.example,1") || strings.Contains(got, fmt.Sprintf("site%d.", sites-1)) {
		t.Errorf("got %q; want some sites and the others", got)
	}
	if got := w.csv(s, "line", "bids"); strings.Count(got, "line") != sites {
		t.Errorf("got %q; want %d lines", got, sites)
	}
}

// An update that is interrupted is continued by the next one.
func TestInterruptedUpdate(t *testing.T) {
	w := newWorld(t)
	var lines []string
	for n := range 1000 {
		lines = append(lines, w.record(n%7))
	}
	w.write("bids-1.ndjson", lines...)
	for n := range 200 {
		w.notice(events.KindBill, n+1, w.now, 10)
	}
	o, left := w.options(), 0
	o.cells = 5 // commits all the time
	var cancel context.CancelFunc
	o.Rest = func(ctx context.Context) error {
		if left--; left == 0 {
			cancel()
		}
		return ctx.Err()
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	interrupted := 0
	for err = context.Canceled; errors.Is(err, context.Canceled); interrupted++ {
		var ctx context.Context
		ctx, cancel = context.WithCancel(context.Background())
		left = 7 * (interrupted + 1) // a commit takes many rests
		_, err = s.Update(ctx)
		cancel()
	}
	if err != nil || interrupted < 3 {
		t.Errorf("got %v after %d updates; want several that were interrupted", err, interrupted)
	}
	w.want(s, "exchange", "records", "demo,1000")
	w.want(s, "line", "bills,spend", "cart,USD,200,2000")
}

// A log that no longer has what was counted is counted again from its beginning.
func TestAnotherLogIsCountedAnew(t *testing.T) {
	w := newWorld(t)
	s := w.open()
	for i := range 5 {
		w.notice(events.KindBill, i+1, w.now, 100)
	}
	w.update(s)
	w.facts = w.facts[:2]
	if p := w.update(s); !p.Rebuilt {
		t.Errorf("got %+v; want a rebuild", p)
	}
	w.want(s, "line", "spend", "cart,USD,200")
}

// Bids of many minutes, whose notices come in any order, are counted with little memory:
// batches are written, freed and read again.
func TestManyBatches(t *testing.T) {
	w := newWorld(t)
	const bids = 5 * maxLoaded
	begin := w.now
	var lines []string
	for n := range bids {
		w.now = begin.Add(time.Duration(n) * time.Minute)
		lines = append(lines, strings.Replace(w.record(n+1), "News", fmt.Sprintf("site%d", n%3), 1))
	}
	for round := range 3 {
		for n := range bids {
			n = n * 7 % bids // each once, because 7 is no factor
			w.notice([]events.Kind{events.KindClick, events.KindBill, events.KindBill}[round], n+1, begin.Add(time.Duration(n)*time.Minute), rtb.Micros(100*min(round, 1)))
			w.facts[len(w.facts)-1].TS = w.now
		}
	}
	w.write("bids-1.ndjson", lines...)
	s := w.open()
	w.update(s)
	if s.step.loaded > maxLoaded {
		t.Errorf("got %d batches in memory; want at most %d", s.step.loaded, maxLoaded)
	}
	w.want(s, "domain", "bids,clicks,bills,spend", "site0.example,USD,107,107,107,10700\nsite1.example,USD,107,107,107,10700\nsite2.example,USD,106,106,106,10600")
}

// An error about rollups that this program did not write names their file.
func TestMalformedBatch(t *testing.T) {
	w := newWorld(t)
	w.write("bids-1.ndjson", w.record(1))
	s := w.open()
	w.update(s)
	if _, err := s.db.Exec("UPDATE bids SET entries = x'00'"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = w.open()
	w.notice(events.KindClick, 1, w.now, 0)
	if _, err := s.Update(context.Background()); !errors.Is(err, errBatch) || !strings.Contains(err.Error(), w.options().Path) {
		t.Errorf("got %v; want errBatch with %s", err, w.options().Path)
	}
}

// Rollups of another version are built again.
func TestOtherVersion(t *testing.T) {
	w := newWorld(t)
	w.write("bids-1.ndjson", w.record(1), w.record(0))
	w.notice(events.KindBill, 1, w.now, 100)
	s := w.open()
	w.update(s)
	for _, text := range []string{"UPDATE meta SET value = '1/3600' WHERE name = 'shape'", "DROP TABLE flags", "DROP TABLE bids", "CREATE TABLE bids (id BLOB PRIMARY KEY, seen INTEGER) WITHOUT ROWID", "CREATE TABLE orphans (bid BLOB)"} {
		if _, err := s.db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = w.open()
	if got := w.csv(s, "line", "bids"); got != "" {
		t.Errorf("got %q before anything was counted", got)
	}
	w.update(s)
	w.want(s, "domain", "bids,requests,spend", "news.example,USD,1,2,100")
}

// Two processes that build one store share the work and count nothing twice.
func TestTwoBuilders(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(), w.open()
	var lines []string
	for i := range 300 {
		lines = append(lines, w.record(i%7))
	}
	for i := range 10 {
		w.write(fmt.Sprintf("bids-%d.ndjson", i), lines...)
		done := make(chan error, 2)
		for _, s := range []*Store{a, b} {
			go func() {
				_, err := s.Update(context.Background())
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	w.want(a, "exchange", "records", "demo,3000")
	w.want(b, "exchange", "records", "demo,3000")
}
