package fleettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"rebound/events"
	"rebound/journal"
)

const streamName = "REBOUND_FACTS"

// patience bounds every wait; it is not an expectation of speed.
const patience = 60 * time.Second

// outage is how long the whole cluster is stopped.
func outage() time.Duration {
	if os.Getenv("PROVE") != "" {
		return time.Minute
	}
	return 4 * time.Second
}

func TestMain(m *testing.M) { os.Exit(runMain(m)) }

// runMain checks that neither logs nor clients leave goroutines. What the servers
// leave is not ours.
func runMain(m *testing.M) int {
	status := m.Run()
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	if status != 0 {
		return status
	}
	if err := goleak.Find(); err != nil && (strings.Contains(err.Error(), "rebound/journal") || strings.Contains(err.Error(), "nats-io/nats.go")) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// cluster is three NATS servers on this machine.
type cluster struct {
	t       *testing.T
	options []*server.Options
	servers []*server.Server
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, servers: make([]*server.Server, 3)}
	ports := freePorts(t, 6)
	var routes []string
	for i := range 3 {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
	}
	for i := range 3 {
		c.options = append(c.options, &server.Options{
			ServerName: fmt.Sprintf("s%d", i+1), Host: "127.0.0.1", Port: ports[i], NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(t.TempDir(), "jetstream"), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "fleet", Host: "127.0.0.1", Port: ports[3+i]},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
	}
	for i := range 3 {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	c.ready()
	return c
}

// freePorts returns unused ports of the loopback interface.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (c *cluster) start(i int) {
	c.t.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		c.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		c.t.Fatalf("server %d is not ready", i)
	}
	c.servers[i] = s
}

func (c *cluster) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

func (c *cluster) stopAll() {
	for i := range c.servers {
		c.stop(i)
	}
}

func (c *cluster) startAll() {
	for i := range c.servers {
		if c.servers[i] == nil {
			c.start(i)
		}
	}
	c.ready()
}

// ready waits until all servers know each other and have a leader.
func (c *cluster) ready() {
	c.t.Helper()
	within(c.t, "a leader of the cluster", func() bool {
		leader := false
		for _, s := range c.servers {
			if s == nil || !s.JetStreamIsCurrent() {
				return false
			}
			leader = leader || s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(c.servers)
		}
		return leader
	})
}

func (c *cluster) url() string {
	var urls []string
	for _, o := range c.options {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return strings.Join(urls, ",")
}

// admin is a client of the cluster with the permissions of an operator.
func (c *cluster) admin() jetstream.JetStream {
	c.t.Helper()
	nc, err := nats.Connect(c.url())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	return js
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(limit) {
			t.Fatalf("no %s within %s", what, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tape is a view that remembers what it folded.
type tape struct {
	gaps bool // sequences may be left out

	mu    sync.Mutex // protects what follows
	facts []events.Fact
	pos   events.Position
}

// Name is part of journal.View.
func (v *tape) Name() string { return "tape" }

// Position is part of journal.View.
func (v *tape) Position() events.Position {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pos
}

// Apply is part of journal.View.
func (v *tape) Apply(facts []events.Fact) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range facts {
		if f := &facts[i]; f.Seq <= v.pos.Seq || !v.gaps && f.Seq != v.pos.Seq+1 || f.TS.Before(v.pos.Time) {
			return fmt.Errorf("got fact %d of %s after fact %d of %s", f.Seq, f.TS, v.pos.Seq, v.pos.Time)
		}
		v.facts = append(v.facts, facts[i])
		v.pos = facts[i].Position()
	}
	return nil
}

func (v *tape) all() []events.Fact {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.facts)
}

// node is a log that follows the stream, and a tape that follows the log.
type node struct {
	t    *testing.T
	name string
	o    journal.Options
	l    *journal.Log
	tape *tape
	gaps bool // of the tape

	followed chan error
}

func (c *cluster) node(name string) *node {
	c.t.Helper()
	n := c.prepare(name)
	n.open()
	return n
}

// prepare is a node that is not open yet.
func (c *cluster) prepare(name string) *node {
	n := &node{t: c.t, name: name}
	n.o = journal.Options{Dir: filepath.Join(c.t.TempDir(), name), Reserve: 1 << 20, Keys: "k1", Fleet: journal.FleetOptions{URL: c.url()}}
	if err := os.MkdirAll(n.o.Dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(n.close)
	return n
}

func (n *node) open() {
	n.t.Helper()
	if err := n.tryOpen(); err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
}

func (n *node) tryOpen() error {
	n.tape = &tape{gaps: n.gaps}
	n.o.Views = []journal.View{n.tape}
	var err error
	if n.l, err = journal.Open(ctxOf(n.t), n.o); err != nil {
		n.l = nil
		return err
	}
	n.followed = make(chan error, 1)
	go func(l *journal.Log, v *tape, followed chan error) { followed <- l.Follow(context.Background(), v, nil) }(n.l, n.tape, n.followed)
	return nil
}

func (n *node) close() {
	if n.l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.l.Close(ctx); err != nil {
		n.t.Errorf("%s: %v", n.name, err)
	}
	n.l = nil
	<-n.followed
}

func ctxOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// append stores a fact, as often as it takes, as callers do that get a 503.
func (n *node) append(f events.Fact) {
	n.t.Helper()
	var err error
	within(n.t, "room for "+f.ID, func() bool {
		if err = n.l.Append(ctxOf(n.t), f); err != nil && !errors.Is(err, journal.ErrBusy) {
			n.t.Errorf("%s: %v", n.name, err)
		}
		return err == nil
	})
}

// blind waits until the node says why it is blind for money.
func (n *node) blind(words string) {
	n.t.Helper()
	within(n.t, fmt.Sprintf("node that is blind because %q", words), func() bool {
		s := n.l.Stats()
		return strings.Contains(s.BlindFor(time.Hour), words)
	})
}

// same waits until all nodes hold the same facts, and these are the named ones,
// each once, in any order.
func same(t *testing.T, ids []string, nodes ...*node) {
	t.Helper()
	within(t, "equal heads", func() bool {
		last := nodes[0].l.Last()
		for _, n := range nodes {
			s := n.l.Stats()
			if n.l.Last() != last || n.tape.Position() != last || s.Outbox > 0 {
				return false
			}
		}
		return last.Seq >= uint64(len(ids))
	})
	order := idsOf(nodes[0].tape.all())
	for _, n := range nodes[1:] {
		if !slices.Equal(idsOf(n.tape.all()), order) {
			t.Errorf("%s and %s hold other facts or another order", nodes[0].name, n.name)
		}
	}
	got, want := slices.Clone(order), slices.Clone(ids)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %d facts; want %d: missing %v, too many %v", len(got), len(want), less(want, got), less(got, want))
	}
}

// less returns what a holds more of than b.
func less(a, b []string) (only []string) {
	count := map[string]int{}
	for _, x := range b {
		count[x]++
	}
	for _, x := range a {
		if count[x]--; count[x] < 0 {
			only = append(only, x)
		}
	}
	return only
}

func idsOf(facts []events.Fact) []string {
	ids := make([]string, len(facts))
	for i := range facts {
		ids[i] = facts[i].ID
	}
	return ids
}
