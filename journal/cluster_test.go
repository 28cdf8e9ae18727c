package journal

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// serve starts a NATS server with a loopback listener.
func serve(t *testing.T, dir string) string {
	t.Helper()
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, JetStreamMaxStore: 32 << 30, StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	return ns.ClientURL()
}

// The same log on a NATS server elsewhere: two nodes append to one stream, both
// see all of it in one order, each keeps its archive, and an emptied server is
// filled again from the archive of the node that starts first.
func TestCluster(t *testing.T) {
	url := serve(t, t.TempDir())
	a, b := newRig(t), newRig(t)
	a.o.URL, b.o.URL = url, url
	b.now.add(-30 * time.Second) // clocks differ
	a.open()
	b.open()
	var wg sync.WaitGroup
	for i := range 20 {
		for _, r := range []*rig{a, b} {
			wg.Go(func() {
				if err := r.l.Append(ctxOf(t), event(fmt.Sprintf("%p-%d", r, i))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	va, vb := newTape("v"), newTape("v")
	a.follow(va) // the tape refuses a TS that goes back
	b.follow(vb)
	if len(va.ids) != 40 || fmt.Sprint(va.ids) != fmt.Sprint(vb.ids) || !va.pos.Time.Equal(vb.pos.Time) {
		t.Fatalf("got %d and %d facts, at %v and %v; want the same 40", len(va.ids), len(vb.ids), va.pos, vb.pos)
	}
	a.archived()
	a.close()
	b.close()
	a.open()
	a.follow(va)
	if va.resets != 0 {
		t.Error("the view was rebuilt after a restart")
	}
	a.close()

	a.o.URL, b.o.URL = serve(t, t.TempDir()), ""
	a.heard("")
	a.open()
	if !a.heard("stream is behind its archive: 40 facts after seq 0") {
		t.Error("the emptied server was not said")
	}
	a.append("c", 1)
	a.follow(va)
	if len(va.ids) != 41 || va.resets != 0 {
		t.Errorf("got %d facts, %d resets; want 41, 0", len(va.ids), va.resets)
	}
}

// A server that is not there is an error, not a wait.
func TestClusterAbsent(t *testing.T) {
	r := newRig(t)
	r.o.URL = "nats://127.0.0.1:1"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if l, err := Open(ctx, r.o); err == nil {
		l.Close(ctx)
		t.Fatal("got no error")
	}
	if _, err := os.Stat(r.dir("stream")); !os.IsNotExist(err) {
		t.Error("an embedded stream was made beside the cluster")
	}
}
