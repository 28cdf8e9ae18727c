package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rebound/events"
	"rebound/rtb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a data folder and the log in it.
type rig struct {
	t    testing.TB
	o    Options
	l    *Log
	said *observer.ObservedLogs
	now  *clock
}

// clock is a settable clock that also goes forward by a nanosecond a look, so
// that times differ.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Nanosecond)
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	c.t = c.t.Add(d)
	c.mu.Unlock()
}

func newRig(t testing.TB) *rig {
	core, said := observer.New(zap.InfoLevel)
	c := &clock{t: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)}
	r := &rig{t: t, said: said, now: c}
	r.o = Options{Dir: t.TempDir(), Now: c.Now, Logger: zap.New(core), Reserve: 1 << 20}
	t.Cleanup(func() {
		if r.l != nil {
			r.close()
		}
	})
	return r
}

func (r *rig) open() *Log {
	r.t.Helper()
	l, err := Open(ctxOf(r.t), r.o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.l = l
	return l
}

func (r *rig) close() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.l.Close(ctx); err != nil {
		r.t.Fatal(err)
	}
	r.l = nil
}

func ctxOf(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// append stores n events named <prefix>-<i>.
func (r *rig) append(prefix string, n int) {
	r.t.Helper()
	facts := make([]events.Fact, n)
	for i := range facts {
		facts[i] = event(fmt.Sprintf("%s-%d", prefix, i))
	}
	if err := r.l.Append(ctxOf(r.t), facts...); err != nil {
		r.t.Fatal(err)
	}
}

func event(id string) events.Fact {
	return events.Fact{ID: id, Kind: events.KindEvent, Advertiser: "shop", Visitor: rtb.Key{1, 2, 3},
		At: time.Date(2026, 10, 1, 7, 59, 0, 0, time.UTC), Event: &events.Event{Name: "view_item", EventID: id,
			Items: []events.Item{{ID: "sku1", Price: 19_990_000, Quantity: 1}}, URL: &events.URL{Host: "shop.example", Path: "/p/1"}, Trust: events.TrustBrowser}}
}

// tape is a view that remembers the ids of the facts, in order.
type tape struct {
	mu     sync.Mutex
	name   string
	ids    []string
	pos    events.Position
	resets int
	fail   error
	moved  chan struct{}
}

func newTape(name string) *tape { return &tape{name: name, moved: make(chan struct{}, 1)} }

func (v *tape) Name() string { return v.name }

func (v *tape) Position() events.Position {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pos
}

func (v *tape) Apply(facts []events.Fact) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return v.fail
	}
	for i := range facts {
		f := &facts[i]
		ofBase := i > 0 && f.Seq == facts[0].Seq // the facts of a base file have the position of the last fact that they replace
		if f.Seq <= v.pos.Seq && !ofBase || f.TS.Before(v.pos.Time) {
			return fmt.Errorf("got fact %d at %v after %+v", f.Seq, f.TS, v.pos)
		}
		v.ids = append(v.ids, f.ID)
		v.pos = f.Position()
	}
	select {
	case v.moved <- struct{}{}:
	default:
	}
	return nil
}

type tapeFile struct {
	IDs []string
	Pos events.Position
}

func (v *tape) Checkpoint(dir string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(tapeFile{v.ids, v.pos})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "tape"), b, 0o600)
}

func (v *tape) Restore(dir string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	b, err := os.ReadFile(filepath.Join(dir, "tape"))
	if err != nil {
		return err
	}
	var f tapeFile
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	v.ids, v.pos = f.IDs, f.Pos
	return nil
}

func (v *tape) Reset() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ids, v.pos = nil, events.Position{}
	v.resets++
	return nil
}

// follow feeds the view until it has every fact that is there.
func (r *rig) follow(v View) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(ctxOf(r.t))
	caught := false
	if err := r.l.Follow(ctx, v, func() { caught = true; cancel() }); err != nil {
		r.t.Fatal(err)
	}
	cancel()
	if !caught {
		r.t.Fatal("the view did not catch up")
	}
}

// want checks the ids of a view.
func (v *tape) want(t testing.TB, groups ...string) {
	t.Helper()
	var ids []string
	for _, g := range groups {
		prefix, n := "", 0
		if _, err := fmt.Sscanf(strings.Replace(g, ":", " ", 1), "%s %d", &prefix, &n); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			ids = append(ids, fmt.Sprintf("%s-%d", prefix, i))
		}
	}
	if !slices.Equal(v.ids, ids) {
		t.Fatalf("view got %d facts %.200v; want %d %.200v", len(v.ids), v.ids, len(ids), ids)
	}
}

// dir returns a path in the data folder.
func (r *rig) dir(parts ...string) string {
	return filepath.Join(append([]string{r.o.Dir}, parts...)...)
}

// heard reports whether a message was logged, and clears the messages.
func (r *rig) heard(words string) bool {
	for _, e := range r.said.TakeAll() {
		if strings.Contains(e.Message, words) {
			return true
		}
	}
	return false
}
