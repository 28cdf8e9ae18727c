package fleettest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rebound/events"
	"rebound/journal"
	"rebound/rtb"
)

func event(id string) events.Fact {
	return events.Fact{ID: id, Kind: events.KindEvent, Advertiser: "shop", Visitor: rtb.Key{1, 2, 3}, At: time.Now().UTC(),
		Event: &events.Event{Name: "view_item", EventID: id, Items: []events.Item{{ID: "sku1", Price: 19_990_000, Quantity: 1}}}}
}

func optOut(id string) events.Fact {
	return events.Fact{ID: id, Kind: events.KindOptOut, At: time.Now().UTC(), Keys: []events.LinkKey{{KeyKind: "ifa", Key: rtb.Key{9, 9}}}}
}

func bill(id string) events.Fact {
	return events.Fact{ID: id, Kind: events.KindBill, Advertiser: "shop", At: time.Now().UTC(), Currency: rtb.Currency{'U', 'S', 'D'},
		Notice: &events.Notice{BidID: rtb.BidID{7}, Exchange: "demo", Charge: 1_200}}
}

// fill appends n events at each node, by four callers each.
func fill(prefix string, n int, nodes ...*node) (ids []string) {
	var wg sync.WaitGroup
	for _, node := range nodes {
		for w := range 4 {
			for i := w; i < n; i += 4 {
				ids = append(ids, fmt.Sprintf("%s-%s-%d", prefix, node.name, i))
			}
			wg.Go(func() {
				for i := w; i < n; i += 4 {
					node.append(event(fmt.Sprintf("%s-%s-%d", prefix, node.name, i)))
				}
			})
		}
	}
	wg.Wait()
	return ids
}

// TestOneOrder appends at three nodes while a server is killed and restarted, and
// while a node is closed and opened again.
func TestOneOrder(t *testing.T) {
	c := newCluster(t)
	a, b, d := c.node("a"), c.node("b"), c.node("d")
	ids := fill("calm", 100, a, b, d)
	same(t, ids, a, b, d)

	for i := range c.servers { // also the one that leads the stream
		done := make(chan []string)
		go func() { done <- fill(fmt.Sprintf("without-%d", i), 50, a, b, d) }()
		c.stop(i)
		ids = append(ids, <-done...)
		c.startAll()
	}
	same(t, ids, a, b, d)

	d.close()
	ids = append(ids, fill("without-d", 50, a, b)...)
	d.open()
	ids = append(ids, fill("again", 20, a, b, d)...)
	same(t, ids, a, b, d)

	a.append(event("twice"))
	b.append(event("twice"))
	a.append(event("twice"))
	same(t, append(ids, "twice"), a, b, d)
}

// TestClusterStopped stops all servers: notices and opt-outs are acknowledged, what
// visitors do is refused, and a node can be restarted. Afterwards everything is
// there once.
func TestClusterStopped(t *testing.T) {
	c := newCluster(t)
	nodes := []*node{c.node("a"), c.node("b"), c.node("d")}
	ids := fill("before", 20, nodes...)
	c.stopAll()
	end := time.Now().Add(outage())
	acknowledged, refused := 0, 0
	for i := 0; i < 10 || time.Now().Before(end); i++ {
		for _, n := range nodes {
			for _, f := range []events.Fact{optOut(fmt.Sprintf("o-%s-%d", n.name, i)), bill(fmt.Sprintf("b-%s-%d", n.name, i))} {
				if err := n.l.Append(ctxOf(t), f); err != nil {
					t.Fatalf("%s while the cluster is away: %v", f.ID, err)
				}
				ids = append(ids, f.ID)
				acknowledged++
			}
			if err := n.l.Append(ctxOf(t), event(fmt.Sprintf("e-%s-%d", n.name, i))); !errors.Is(err, journal.ErrBusy) {
				t.Fatalf("event while the cluster is away: got %v; want ErrBusy", err)
			}
			refused++
		}
		if i == 5 {
			nodes[0].close()
			nodes[0].open()
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, n := range nodes {
		if s := n.l.Stats(); s.Outbox == 0 || s.Blind != "" {
			t.Errorf("%s: got %d facts in the outbox, blind %q", n.name, s.Outbox, s.Blind)
		}
	}
	c.startAll()
	began := time.Now()
	same(t, ids, nodes...)
	t.Logf("%d facts acknowledged and %d refused while the cluster was away; all there %s after it was back", acknowledged, refused, time.Since(began).Round(time.Millisecond))
	same(t, append(ids, fill("after", 10, nodes...)...), nodes...)
}

// TestAppendEndsWithItsContext has no cluster to wait for.
func TestAppendEndsWithItsContext(t *testing.T) {
	c := newCluster(t)
	n := c.node("a")
	n.append(event("first"))
	c.stop(0)
	c.stop(1) // the last server is there, and cannot write
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.l.Append(ctx, event("second")); err == nil {
		t.Error("an append without a majority of servers: got no error")
	}
	for i := range 20 {
		if err := n.l.Append(context.Background(), optOut(fmt.Sprintf("o-%d", i))); err != nil {
			t.Errorf("opt-out without a majority of servers: %v", err)
		}
		if err := n.l.Append(context.Background(), event(fmt.Sprintf("e-%d", i))); !errors.Is(err, journal.ErrBusy) {
			t.Errorf("event without a majority of servers: got %v; want ErrBusy", err)
		}
	}
}

// TestOutbox copies a node's folder while it runs, as kill -9 leaves it.
func TestOutbox(t *testing.T) {
	c := newCluster(t)
	a := c.node("a")
	a.o.Fleet.OutboxBytes = 4000
	a.close()
	a.open()
	a.append(event("first"))
	c.stopAll()
	ids := []string{"first"}
	var err error
	for i := 0; err == nil; i++ {
		id := fmt.Sprintf("b-%d", i)
		if err = a.l.Append(ctxOf(t), bill(id)); err == nil {
			ids = append(ids, id)
		}
	}
	if !errors.Is(err, journal.ErrBusy) {
		t.Fatalf("full outbox: got %v; want ErrBusy", err)
	}
	a.append(optOut("o-1")) // has a reserve
	ids = append(ids, "o-1")

	killed, damaged := c.prepare("killed"), c.prepare("damaged")
	for _, n := range []*node{killed, damaged} {
		copyInUse(t, a.o.Dir, n.o.Dir)
	}
	a.close()
	change(t, filepath.Join(damaged.o.Dir, "log", "outbox"), `"price_micros":1200`, `"price_micros":9200`)
	damaged.open()
	damaged.blind("line 1 of ")
	killed.open()
	if n := killed.l.Stats().Outbox; n != uint64(len(ids)-1) {
		t.Errorf("got %d facts in the outbox after a kill; want %d", n, len(ids)-1)
	}
	damaged.close()
	killed.close()

	alone := damaged.o
	alone.Fleet = journal.FleetOptions{}
	if l, err := journal.Open(ctxOf(t), alone); err == nil {
		l.Close(ctxOf(t)) //nolint:errcheck // the test has failed
		t.Error("a log with an outbox opened without the cluster")
	}

	c.startAll()
	damaged.open()
	within(t, "empty outbox", func() bool { return damaged.l.Stats().Outbox == 0 })
	if kept, _ := filepath.Glob(filepath.Join(damaged.o.Dir, "log", "outbox", "*.damaged")); len(kept) != 1 {
		t.Errorf("got %v; want the damaged file to be kept", kept)
	}
	for _, f := range damaged.tape.all() {
		if f.Notice != nil && f.Notice.Charge != 1200 {
			t.Errorf("a changed digit became money: %d", f.Notice.Charge)
		}
	}
	killed.open()
	same(t, ids, killed, damaged)
}

// copyInUse copies the folder of a node that runs, again if a file goes while it is copied:
// the node renames the record of the log's end each second.
func copyInUse(t *testing.T, from, to string) {
	t.Helper()
	for {
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// change replaces text once in the files of a folder.
func change(t *testing.T, dir, old, replacement string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := replaceOnce(string(b), old, replacement); ok {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no %q in %v", old, files)
}

func replaceOnce(text, old, replacement string) (string, bool) {
	before, after, ok := strings.Cut(text, old)
	return before + replacement + after, ok
}
