package fleettest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rebound/events"
	"rebound/journal"
	"rebound/rtb"
)

// config returns the configuration of the stream.
func config(t *testing.T, js jetstream.JetStream) jetstream.StreamConfig {
	t.Helper()
	s, err := js.Stream(ctxOf(t), streamName)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}

// replace makes the stream again.
func replace(t *testing.T, js jetstream.JetStream, c jetstream.StreamConfig) {
	t.Helper()
	if err := js.DeleteStream(ctxOf(t), streamName); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctxOf(t), c); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, js jetstream.JetStream, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if _, err := js.Publish(ctxOf(t), "rebound.facts.test", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
}

// forget makes a node follow whatever stream it finds.
func (n *node) forget() {
	n.t.Helper()
	if err := os.Remove(filepath.Join(n.o.Dir, "log", "outbox", "joined")); err != nil {
		n.t.Fatal(err)
	}
}

// TestOtherStream gives a node streams that are not its log: it names each, is
// blind for money, and takes nothing from them.
func TestOtherStream(t *testing.T) {
	c := newCluster(t)
	js := c.admin()
	for name, tt := range map[string]struct {
		forget bool // that the stream is another one
		change func(n *node, s jetstream.StreamConfig)
		words  string
	}{
		"gone":       {change: func(*node, jetstream.StreamConfig) { js.DeleteStream(ctxOf(t), streamName) }, words: "is missing from the cluster"}, //nolint:errcheck // seen by the node
		"made again": {change: func(_ *node, s jetstream.StreamConfig) { replace(t, js, s) }, words: "it was created again"},
		"shorter":    {forget: true, change: func(_ *node, s jetstream.StreamConfig) { replace(t, js, s) }, words: "the stream ends with fact 0, and this node holds fact 5"},
		"begins later": {forget: true, change: func(_ *node, s jetstream.StreamConfig) {
			s.FirstSeq = 9
			replace(t, js, s)
		}, words: "the stream begins with fact 9, and this node needs fact 6"},
		"another fact at the end": {forget: true, change: func(_ *node, s jetstream.StreamConfig) {
			replace(t, js, s)
			publish(t, js, `{"id":"x1","kind":"tick"}`, `{"id":"x2","kind":"tick"}`, `{"id":"x3","kind":"tick"}`, `{"id":"x4","kind":"tick"}`, `{"id":"x5","kind":"tick"}`, `{"id":"x6","kind":"tick"}`)
		}, words: "hold different facts at 5"},
		"a gap": {forget: true, change: func(_ *node, s jetstream.StreamConfig) {
			s.FirstSeq, s.DenyDelete = 6, false
			replace(t, js, s)
			publish(t, js, `{"id":"x6","kind":"tick"}`, `{"id":"x7","kind":"tick"}`, `{"id":"x8","kind":"tick"}`)
			stream, err := js.Stream(ctxOf(t), streamName)
			if err == nil {
				err = stream.DeleteMsg(ctxOf(t), 7)
			}
			s.DenyDelete = true
			if err == nil {
				_, err = js.UpdateStream(ctxOf(t), s)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, words: "the stream goes from fact 6 to fact 8"},
		"no mark": {forget: true, change: func(_ *node, s jetstream.StreamConfig) {
			s.Metadata = nil
			replace(t, js, s)
		}, words: "without the mark of a log"},
		"another log": {forget: true, change: func(_ *node, s jetstream.StreamConfig) {
			s.Metadata["rebound-log"] = "0123456789abcdef"
			replace(t, js, s)
		}, words: "want log 0123456789abcdef"},
		"a limit": {forget: true, change: func(_ *node, s jetstream.StreamConfig) {
			s.MaxMsgs = 1000
			replace(t, js, s)
		}, words: "may delete facts"},
		"one replica": {forget: true, change: func(_ *node, s jetstream.StreamConfig) {
			s.Replicas = 1
			replace(t, js, s)
		}, words: "1 replicas"},
		"other keys": {change: func(n *node, _ jetstream.StreamConfig) { n.o.Keys, n.o.NewKeys = "k2", true }, words: "keys.json of this node is not that of the cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			n := c.prepare(strings.ReplaceAll(name, " ", "-"))
			n.t = t
			n.open()
			for i := range 5 {
				n.append(event(fmt.Sprintf("e-%d", i)))
			}
			if name != "gone" && name != "made again" {
				n.close()
			}
			if tt.forget {
				n.forget()
			}
			tt.change(n, config(t, js))
			if n.l == nil {
				n.open()
			}
			n.blind(tt.words)
			if err := n.l.Append(ctxOf(t), event("late")); !errors.Is(err, journal.ErrBusy) {
				t.Errorf("event: got %v; want ErrBusy", err)
			}
			if err := n.l.Append(ctxOf(t), optOut("o")); err != nil {
				t.Errorf("opt-out: %v", err)
			}
			if last := n.l.Last().Seq; last > 6 {
				t.Errorf("got fact %d; want nothing taken from the stream behind the fault", last)
			}
			n.close()
			n.open()
			n.blind(tt.words)
			n.close()
			js.DeleteStream(ctxOf(t), streamName) //nolint:errcheck // one test deletes it itself
		})
	}
}

// TestNewNodeWithOtherKeys is refused before it stores anything.
func TestNewNodeWithOtherKeys(t *testing.T) {
	c := newCluster(t)
	c.node("a").append(event("e"))
	n := c.prepare("b")
	n.o.Keys = "k2"
	if err := n.tryOpen(); err == nil || !strings.Contains(err.Error(), "copy it from another node") {
		t.Errorf("got %v; want a refusal that names keys.json", err)
	}
}

// TestUnreadable publishes a message that is not a fact: each node writes the same line for it.
func TestUnreadable(t *testing.T) {
	c := newCluster(t)
	a, b := c.node("a"), c.node("b")
	a.append(event("first"))
	bad := []string{``, `{}`, `hello`, `{"id":"x"}`, `{"id":"x","kind":"event","items":7}`, "{\"id\":\"x\",\n\"kind\":\"tick\"}", `{"id":"x","kind":"tick","who":}`,
		`{"synced":1,"id":"x","kind":"tick"}`, `{"id":"x","kind":"tick","who":"abc"}`, strings.Repeat("x", 1<<19), `{"id":"x","kind":"tick"},{"id":"y"}`}
	publish(t, c.admin(), bad...)
	b.append(event("last"))
	ids := []string{"first", "last"}
	for i := range bad {
		ids = append(ids, fmt.Sprintf("unreadable:%d", i+2))
	}
	same(t, ids, a, b)
	for _, f := range a.tape.all() {
		if strings.HasPrefix(f.ID, "unreadable:") != (f.Kind == events.KindUnreadable) {
			t.Errorf("got kind %s of %s", f.Kind, f.ID)
		}
	}
	a.close()
	a.open()
	if r, err := journal.Verify(filepath.Join(a.o.Dir, "log", "facts"), events.Position{}, nil); err != nil || !r.OK() {
		t.Errorf("verify: got %+v, %v", r, err)
	}
}

// TestTime sets a node's clock an hour fast.
func TestTime(t *testing.T) {
	c := newCluster(t)
	a, b := c.node("a"), c.prepare("b")
	b.o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	b.open()
	ids := fill("e", 50, a, b)
	same(t, ids, a, b)
	other := b.tape.all()
	for i, f := range a.tape.all() {
		if !f.TS.Equal(other[i].TS) {
			t.Fatalf("fact %d: got %s and %s", f.Seq, f.TS, other[i].TS)
		}
		if f.TS.After(time.Now().Add(time.Minute)) {
			t.Fatalf("fact %d has the time %s of the node whose clock is fast", f.Seq, f.TS)
		}
	}
}

// TestChangedLine changes a digit in a node's log while it is stopped.
func TestChangedLine(t *testing.T) {
	c := newCluster(t)
	a, b := c.node("a"), c.node("b")
	fill("e", 20, a, b)
	a.append(bill("bill"))
	fill("f", 5, a, b)
	within(t, "all facts at b", func() bool { return b.l.Last() == a.l.Last() })
	b.close()
	change(t, filepath.Join(b.o.Dir, "log", "facts"), `"price_micros":1200`, `"price_micros":9200`)
	b.open()
	b.blind(".ndjson:")
	for _, f := range b.tape.all() {
		if f.Notice != nil && f.Notice.Charge != 1200 {
			t.Errorf("a changed digit became money: %d", f.Notice.Charge)
		}
	}
	a.append(event("after")) // b accepts it, after the damage
	within(t, "the fact at b", func() bool { return b.l.Last() == a.l.Last() })
	b.close()
	facts := func(n *node) string { return filepath.Join(n.o.Dir, "log", "facts") }
	if mended, err := journal.Repair(facts(b), facts(a)); err != nil || len(mended) == 0 {
		t.Fatalf("repair from another node: got %v, %v", mended, err)
	}
	b.open()
	within(t, "repaired log", func() bool { s := b.l.Stats(); return s.BlindFor(time.Hour) == "" && b.tape.Position() == a.l.Last() })
}

// TestLostTail cuts facts off the end of a node's log that were recorded in its
// head: they are restored from the stream, and the node reports that they were
// missing.
func TestLostTail(t *testing.T) {
	c := newCluster(t)
	a, b := c.node("a"), c.node("b")
	ids := fill("e", 20, a, b)
	within(t, "all facts at b", func() bool { return b.l.Last() == a.l.Last() && b.l.Last().Seq == uint64(len(ids)) })
	b.close()
	files, _ := filepath.Glob(filepath.Join(b.o.Dir, "log", "facts", "0*.ndjson"))
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(text), `{"v":1,"seq":30,`); i > 0 {
			if err := os.WriteFile(name, text[:i], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.open()
	b.blind("facts 30 to 40 were on disk and are gone")
	ids = append(ids, fill("f", 5, a, b)...)
	same(t, ids, a, b)
}

// TestFromBackup starts a node from a copy of another node's facts, and turns a
// log of one machine into that of a fleet.
func TestFromBackup(t *testing.T) {
	c := newCluster(t)
	a := c.prepare("a")
	a.o.Fleet.URL = ""
	a.open()
	ids := fill("alone", 10, a)
	a.close()
	a.o.Fleet.URL = c.url()
	a.open()
	ids = append(ids, fill("fleet", 10, a)...)
	grant := events.Fact{ID: "g", Kind: events.KindGrant, Advertiser: "shop", Node: "a", Grant: &events.Grant{Run: "r", Budget: budget(), Amount: 1, ExpectSeq: 3}}
	a.append(grant) // the grant before it is older than the stream
	ids = append(ids, "g")

	empty := c.prepare("empty")
	empty.open()
	empty.blind("start it from another node's backup")
	empty.close()

	b := c.prepare("b")
	if err := journal.CopyFacts(filepath.Join(a.o.Dir, "log", "facts"), filepath.Join(b.o.Dir, "log", "facts")); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, fill("since", 10, a)...)
	b.open()
	ids = append(ids, fill("both", 10, a, b)...)
	same(t, ids, a, b)
}

// TestLeftOut turns a log that lost facts on one machine into that of a fleet: the
// stream begins above every sequence that was seen.
func TestLeftOut(t *testing.T) {
	c := newCluster(t)
	a, b := c.prepare("a"), c.prepare("b")
	a.gaps, b.gaps = true, true
	a.o.Fleet.URL = ""
	a.open()
	ids := fill("alone", 10, a)
	a.close()
	if err := journal.WriteBlind(a.o.Dir, filepath.Join(a.o.Dir, "log", "facts"), "ten facts are lost", 20, time.Now()); err != nil {
		t.Fatal(err)
	}
	a.o.Fleet.URL = c.url()
	for range 2 { // the second time without a fact after the gap
		a.open()
		a.close()
	}
	if err := journal.CopyFacts(filepath.Join(a.o.Dir, "log", "facts"), filepath.Join(b.o.Dir, "log", "facts")); err != nil {
		t.Fatal(err)
	}
	a.open()
	b.open()
	ids = append(ids, fill("fleet", 10, a, b)...)
	same(t, ids, a, b)
	if first := a.tape.all()[10].Seq; first != 21 {
		t.Errorf("the first fact of the fleet: got sequence %d; want 21", first)
	}
	for _, n := range []*node{a, b} {
		n.close()
		n.open()
	}
	same(t, append(ids, fill("again", 10, a, b)...), a, b)
}

func budget() rtb.BudgetID {
	return rtb.BudgetID{Advertiser: "shop", Campaign: "autumn"}
}

// TestGrants lets three nodes cut grants of one budget as fast as they can. Each
// grants only what its own view leaves of the cap.
func TestGrants(t *testing.T) {
	c := newCluster(t)
	nodes := []*node{c.node("a"), c.node("b"), c.node("d")}
	const limit = 2000
	var conflicts, granted atomic.Int64
	var wg, ready sync.WaitGroup
	ready.Add(len(nodes))
	for k, n := range nodes {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(k), 7))
			for i := 0; ; i++ {
				left, last := rtb.Micros(limit), uint64(0)
				for _, f := range n.tape.all() {
					left, last = left-f.Grant.Amount, f.Seq
				}
				if left <= 0 {
					return
				}
				if i == 0 { // all try the first grant: one gets it, the others are refused
					ready.Done()
					ready.Wait()
				}
				f := events.Fact{ID: fmt.Sprintf("g-%s-%d", n.name, i), Kind: events.KindGrant, Advertiser: "shop", Node: n.name, Currency: rtb.Currency{'U', 'S', 'D'},
					Grant: &events.Grant{Run: n.name, Budget: budget(), Amount: min(left, rtb.Micros(1+random.IntN(100))), ExpectSeq: last}}
				switch err := n.l.Append(ctxOf(t), f); {
				case errors.Is(err, journal.ErrConflict):
					conflicts.Add(1)
				case err == nil:
					granted.Add(1)
				case !errors.Is(err, journal.ErrBusy):
					t.Errorf("%s: %v", n.name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	within(t, "equal heads", func() bool {
		return nodes[0].tape.Position() == nodes[1].tape.Position() && nodes[1].tape.Position() == nodes[2].tape.Position()
	})
	sum := rtb.Micros(0)
	for _, f := range nodes[0].tape.all() {
		sum += f.Grant.Amount
	}
	if sum != limit || conflicts.Load() == 0 {
		t.Errorf("granted %d of %d with %d conflicts; want all of it, never more, and conflicts", sum, limit, conflicts.Load())
	}
	t.Logf("%d grants, %d conflicts", granted.Load(), conflicts.Load())
}
