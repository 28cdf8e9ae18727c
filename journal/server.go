package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// syncInterval is what a power cut can lose.
const syncInterval = 100 * time.Millisecond

// engine is the NATS side: the embedded server, if any, and two connections, so
// that a long replay does not stand before an append's acknowledgement.
type engine struct {
	ns     *server.Server // nil with a cluster
	faults atomic.Uint64  // errors that the embedded server spoke of
	pub    *nats.Conn
	sub    *nats.Conn
	js     jetstream.JetStream // on pub
	follow jetstream.JetStream // on sub
}

func startEngine(o *Options) (*engine, error) {
	e := &engine{}
	if o.URL == "" {
		ns, err := e.startServer(o)
		if err != nil {
			return nil, err
		}
		e.ns = ns
	}
	if err := e.connect(o); err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

func (e *engine) startServer(o *Options) (*server.Server, error) {
	dir := streamDir(o)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create stream folder: %w", err)
	}
	ns, err := server.NewServer(&server.Options{
		ServerName:             "rebound",
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		JetStreamMaxMemory:     64 << 20,
		JetStreamMaxStore:      2*o.MaxBytes + 1<<30,
		StoreDir:               dir,
		SyncInterval:           syncInterval,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot create embedded server: %w", err)
	}
	ns.SetLoggerV2(serverLog{o.Logger.Sugar(), &e.faults}, false, false, false)
	ns.Start()
	if !ns.ReadyForConnections(30*time.Second) || !ns.JetStreamEnabled() {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("cannot start embedded server: got no JetStream within 30 s; want a readable and writable %s", dir)
	}
	return ns, nil
}

func (e *engine) connect(o *Options) error {
	opts := []nats.Option{nats.Name("rebound journal"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond)}
	if e.ns != nil {
		opts = append(opts, nats.InProcessServer(e.ns))
	}
	var err error
	if e.pub, err = nats.Connect(o.URL, opts...); err != nil {
		return fmt.Errorf("cannot connect to log server: %w", err)
	}
	if e.sub, err = nats.Connect(o.URL, opts...); err != nil {
		return fmt.Errorf("cannot connect to log server: %w", err)
	}
	// Slots bound what is outstanding; the library's own bound only backs it up.
	e.js, err = jetstream.New(e.pub, jetstream.WithPublishAsyncMaxPending(4*maxInFlight),
		jetstream.WithPublishAsyncTimeout(o.AckTimeout))
	if err != nil {
		return fmt.Errorf("cannot use JetStream: %w", err)
	}
	if e.follow, err = jetstream.New(e.sub); err != nil {
		return fmt.Errorf("cannot use JetStream: %w", err)
	}
	return nil
}

func (e *engine) stop() {
	for _, c := range []*nats.Conn{e.sub, e.pub} {
		if c != nil {
			c.Close()
		}
	}
	if e.ns != nil {
		e.ns.Shutdown()
		e.ns.WaitForShutdown()
	}
}

func streamDir(o *Options) string { return filepath.Join(o.Dir, "stream") }

// leftovers tells whether the stream's folder holds files of a stream that the
// server did not take for one: its description is damaged.
func leftovers(o *Options) bool {
	_, err := os.Stat(filepath.Join(streamDir(o), "jetstream", server.DEFAULT_GLOBAL_ACCOUNT, "streams", streamName))
	return o.URL == "" && err == nil
}

// moveLeftovers puts the stream's folder aside.
func moveLeftovers(o *Options) error {
	to := streamDir(o) + "-unreadable-" + stamp(o.Now())
	o.Logger.Error("the stream's folder is not readable as a stream; it is moved aside, and the stream is made anew from the archive",
		zap.String("moved_to", to), zap.String("remedy", "keep it until the archive is known to be whole, then delete it"))
	if err := os.Rename(streamDir(o), to); err != nil {
		return fmt.Errorf("cannot move unreadable stream folder: %w", err)
	}
	return nil
}

// stamp is t for the name of a file: sortable and without a colon.
func stamp(t time.Time) string { return t.UTC().Format("20060102T150405.000Z") }

// lookup finds the stream; nil without an error when there is none.
func (e *engine) lookup(ctx context.Context) (jetstream.Stream, error) {
	s, err := e.js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look up stream: %w", err)
	}
	return s, nil
}

// serverLog hands the server's words to zap; its notices are our debugging.
type serverLog struct {
	z      *zap.SugaredLogger
	faults *atomic.Uint64
}

func (l serverLog) Noticef(f string, v ...any) { l.z.Debugf("stream: "+f, v...) }
func (l serverLog) Warnf(f string, v ...any)   { l.z.Warnf("stream: "+f, v...) }
func (l serverLog) Fatalf(f string, v ...any)  { l.z.Errorf("stream: "+f, v...) }
func (l serverLog) Debugf(f string, v ...any)  {}
func (l serverLog) Tracef(f string, v ...any)  {}
func (l serverLog) Errorf(f string, v ...any) {
	l.faults.Add(1)
	l.z.Errorf("stream: "+f, v...)
}
