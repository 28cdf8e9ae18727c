package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// Limits bound what one listener accepts from its clients. A zero field means the
// default, which its comment states.
type Limits struct {
	Body     int           // bytes of a request body as sent; default 1 MiB; more is a 413
	Header   int           // bytes of the request line and headers; default 16 KiB; more is a 431
	InFlight int           // requests handled at the same time; default 4096; more are shed
	Conns    int           // open connections; default 65536; the HTTP library refuses more
	Idle     time.Duration // how long a connection may be idle, before its first request too; default 180 s
	Read     time.Duration // from the first to the last byte of a request; default 10 s
	Write    time.Duration // to write a response; default 10 s
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Body, 1<<20)
	def(&l.Header, 16<<10)
	def(&l.InFlight, 4096)
	def(&l.Conns, 65536)
	span(&l.Idle, 180*time.Second)
	span(&l.Read, 10*time.Second)
	span(&l.Write, 10*time.Second)
	return l
}

// Spec describes a listener.
type Spec struct {
	Name    string // bid, edge or admin, in logs and metrics
	Handler fasthttp.RequestHandler
	// Route returns the name of a path's route for the log, since the path itself may
	// contain a secret. If nil, the log names no route.
	Route  func(path []byte) string
	Limits Limits
	// Large returns the limit of the body of a request with larger bodies than
	// Limits.Body, and the time to read it; 0 for others. If nil, there are none.
	Large func(*fasthttp.RequestHeader) (bytes int, read time.Duration)
	// Shed handles a request above Limits.InFlight, or one that waited in an event loop for
	// too long; by default it returns 503. Panicked
	// responds to a request whose handler panicked; by default with 500. The bid
	// listener returns 204 in both cases, because an exchange must never see a 5xx.
	Shed     fasthttp.RequestHandler
	Panicked fasthttp.RequestHandler
	Logger   *zap.Logger
	// TLS makes the listener serve https; see [Certificate.Config].
	TLS *tls.Config
	// ProxyProtocol makes every connection begin with a PROXY header, version 2.
	ProxyProtocol bool
	// TrustedProxies are the networks whose X-Forwarded-For and -Proto are
	// trusted, and which may send a PROXY header. If empty, the former are ignored
	// and the latter is accepted from anyone who can connect.
	TrustedProxies []netip.Prefix
	// Loop serves plain POST requests by event loops, on Linux and without TLS: with
	// fewer system calls than the HTTP library, and the same answers. The handler then
	// shares a goroutine with other connections. Before it blocks, it must call the
	// function that the method BeforeBlocking of its connection returns, and it must not
	// use the connection for anything else but its addresses.
	Loop bool
	// Conns is the set of connections that the listeners of a process share; by default
	// the listener has one of its own without a limit.
	Conns *Conns
	Now   func() time.Time // time.Now by default
}

// Listener is a running listener.
type Listener struct {
	spec     Spec
	http     *fasthttp.Server
	net      net.Listener
	loops    *loops         // nil if the HTTP library serves everything
	adopted  sync.WaitGroup // connections that the loops have handed over
	draining atomic.Bool
	served   chan struct{}
	inFlight atomic.Int64
	requests atomic.Uint64
	shed     atomic.Uint64
	waited   atomic.Uint64
	panics   atomic.Uint64
	refused  [len(refusedNames)]atomic.Uint64

	now          func() time.Time
	acceptErrors atomic.Uint64
	acceptLog    sparse
}

// Reasons for refusing a request before routing; indices into refusedNames.
const (
	refusedMalformed = iota
	refusedTooLarge
	refusedSmuggling
)

var refusedNames = [...]string{"malformed_http", "too_large", "ambiguous_length"}

// Stats are the counters of a listener since its start.
type Stats struct {
	Name     string
	InFlight int64
	Requests uint64
	Shed     uint64 // over Limits.InFlight
	Waited   uint64 // shed because they waited too long in an event loop
	Panics   uint64
	Refused  map[string]uint64 // malformed_http, too_large, ambiguous_length
	Accept   uint64            // failed attempts to accept a connection
}

// Bind opens the address host:port; port 0 selects a free port. No connection is
// accepted before [Serve].
func Bind(name, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the outer error repeats the address
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s listener on %s: %w", name, addr, err)
	}
	return ln, nil
}

// Serve starts to serve ln. [Listener.Drain] stops it.
func Serve(spec Spec, ln net.Listener) *Listener {
	if spec.Logger == nil {
		spec.Logger = zap.NewNop()
	}
	spec.Limits = spec.Limits.withDefaults()
	if spec.Shed == nil {
		spec.Shed = respond(fasthttp.StatusServiceUnavailable)
	}
	if spec.Panicked == nil {
		spec.Panicked = respond(fasthttp.StatusInternalServerError)
	}
	if spec.Now == nil {
		spec.Now = time.Now
	}
	if spec.Conns == nil {
		spec.Conns = NewConns(0)
	}
	l := &Listener{spec: spec, served: make(chan struct{}), now: spec.Now}
	l.net = &acceptor{Listener: ln, l: l, closed: make(chan struct{})}
	lim := spec.Limits
	l.http = &fasthttp.Server{
		Handler:                      l.handle,
		ErrorHandler:                 l.refuse,
		ExpectHandler:                l.expect,
		HeaderReceived:               l.received,
		ConnState:                    l.observe,
		Logger:                       quiet{spec.Logger},
		Concurrency:                  lim.Conns,
		ReadBufferSize:               lim.Header,
		ReadTimeout:                  lim.Read,
		WriteTimeout:                 lim.Write,
		IdleTimeout:                  lim.Idle,
		MaxRequestBodySize:           lim.Body,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
	}
	if spec.Loop && spec.TLS == nil {
		var err error
		if l.loops, err = startLoops(l); err != nil {
			spec.Logger.Error("cannot start event loops; the HTTP library serves all requests", zap.String("listener", spec.Name), zap.Error(err))
		}
	}
	go func() {
		defer close(l.served)
		if err := l.http.Serve(l.net); err != nil {
			spec.Logger.Error("listener ended", zap.String("listener", spec.Name), zap.Error(err))
		}
	}()
	return l
}

// Addr returns the listening address, with the actual port.
func (l *Listener) Addr() string { return l.net.Addr().String() }

// Drain stops accepting connections, closes the idle ones, lets the requests in flight
// finish, and returns when the last connection is closed or ctx ends.
func (l *Listener) Drain(ctx context.Context) error {
	l.draining.Store(true)
	_ = l.net.Close()
	if l.loops != nil {
		l.loops.drain()
	}
	l.spec.Conns.closeIdle(l)
	err := l.http.ShutdownWithContext(ctx)
	_ = l.net.Close() // in case the library had not started to accept
	<-l.served
	if e := l.endLoops(ctx); err == nil || errors.Is(err, net.ErrClosed) {
		err = e
	}
	if err != nil {
		return fmt.Errorf("cannot drain %s listener: %d requests in flight: %w", l.spec.Name, l.inFlight.Load(), err)
	}
	return nil
}

// endLoops waits until the event loops have no connections, and those that they handed
// over are closed.
func (l *Listener) endLoops(ctx context.Context) error {
	if l.loops == nil {
		return nil
	}
	ended := l.loops.end()
	closed := make(chan struct{})
	go func() { defer close(closed); <-ended; l.adopted.Wait() }()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats reads the counters.
func (l *Listener) Stats() Stats {
	s := Stats{
		Name: l.spec.Name, InFlight: l.inFlight.Load(), Requests: l.requests.Load(),
		Shed: l.shed.Load(), Waited: l.waited.Load(), Panics: l.panics.Load(), Refused: make(map[string]uint64, len(refusedNames)),
		Accept: l.acceptErrors.Load(),
	}
	for i, name := range refusedNames {
		s.Refused[name] = l.refused[i].Load()
	}
	return s
}

// handle serves a request that the HTTP library has read.
func (l *Listener) handle(ctx *fasthttp.RequestCtx) { l.serve(ctx, nil) }

// serve serves a request. frame is its framing if an event loop has read and checked it,
// otherwise nil.
func (l *Listener) serve(ctx *fasthttp.RequestCtx, frame *framing) {
	l.requests.Add(1)
	n := l.inFlight.Add(1)
	defer l.inFlight.Add(-1)
	if l.draining.Load() {
		ctx.SetConnectionClose()
	}
	if waited := frame != nil && frame.overdue; waited || n > int64(l.spec.Limits.InFlight) {
		if waited {
			l.waited.Add(1)
		} else {
			l.shed.Add(1)
		}
		l.spec.Shed(ctx)
		return
	}
	if frame == nil || frame.forwarded {
		l.forward(ctx)
	} else {
		ctx.SetRemoteAddr(nil)
	}
	switch {
	case frame == nil && !l.unambiguous(ctx):
		return
	case frame != nil && frame.closes:
		ctx.SetConnectionClose()
	}
	defer l.recover(ctx)
	l.spec.Handler(ctx)
}

// unambiguous refuses a request that can be interpreted in two ways, and reports whether it
// is another one.
func (l *Listener) unambiguous(ctx *fasthttp.RequestCtx) bool {
	status, why, closes := ambiguous(&ctx.Request.Header)
	if closes {
		ctx.SetConnectionClose()
	}
	if status == 0 {
		return true
	}
	l.refused[why].Add(1)
	ctx.SetStatusCode(status)
	if status == fasthttp.StatusBadRequest {
		ctx.SetConnectionClose() // it is unclear where the next request begins
	}
	return false
}

// ambiguous returns the status that refuses a request whose headers can be interpreted
// in two ways, and the index of its counter; the status is 0 for any other request.
// closes reports whether the client asks for the connection to be closed.
func ambiguous(h *fasthttp.RequestHeader) (status, why int, closes bool) {
	lines := readLines(h)
	switch {
	case folded(h), lines.badName:
		return fasthttp.StatusBadRequest, refusedMalformed, true
	case lines.length && lines.coding && h.ContentLength() <= 0:
		return fasthttp.StatusBadRequest, refusedSmuggling, true
	case codedTwice(h):
		return fasthttp.StatusUnsupportedMediaType, refusedMalformed, lines.closes
	}
	return 0, 0, lines.closes
}

// received sees the headers of a request before its body is read.
func (l *Listener) received(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	c := oldExpect(h)
	if l.spec.Large != nil {
		c.MaxRequestBodySize, c.ReadTimeout = l.spec.Large(h)
	}
	return c
}

// oldExpect removes the Expect header of a client of HTTP/1.0, which does not know the
// status 100 (RFC 9110 §10.1.1).
func oldExpect(h *fasthttp.RequestHeader) (none fasthttp.RequestConfig) {
	if !h.IsHTTP11() {
		h.Del(fasthttp.HeaderExpect)
	}
	return none
}

// expect answers a request with Expect: 100-continue. A body above the limit is refused
// before it is sent (RFC 9110 §10.1.1); the library then closes the connection.
func (l *Listener) expect(ctx *fasthttp.RequestCtx) int {
	limit := l.spec.Limits.Body
	if l.spec.Large != nil {
		if n, _ := l.spec.Large(&ctx.Request.Header); n > 0 {
			limit = n
		}
	}
	if ctx.Request.Header.ContentLength() > limit {
		l.refused[refusedTooLarge].Add(1)
		return fasthttp.StatusRequestEntityTooLarge
	}
	return fasthttp.StatusContinue
}

func (l *Listener) recover(ctx *fasthttp.RequestCtx) {
	r := recover()
	if r == nil {
		return
	}
	l.panics.Add(1)
	route := ""
	if l.spec.Route != nil {
		route = l.spec.Route(ctx.Path())
	}
	l.spec.Logger.Error("handler panicked; sent the fallback response",
		zap.String("listener", l.spec.Name), zap.String("route", route),
		zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
	ctx.Response.Reset()
	l.spec.Panicked(ctx)
}

// refuse responds to input that the HTTP library could not parse as a request. The
// library then closes the connection, since it cannot find the next request.
func (l *Listener) refuse(ctx *fasthttp.RequestCtx, err error) {
	status, why := fasthttp.StatusBadRequest, refusedMalformed
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		status, why = fasthttp.StatusRequestEntityTooLarge, refusedTooLarge
	case errors.As(err, &small):
		status, why = fasthttp.StatusRequestHeaderFieldsTooLarge, refusedTooLarge
	case errors.As(err, &timeout) && timeout.Timeout():
		status = fasthttp.StatusRequestTimeout
	}
	l.refused[why].Add(1)
	ctx.Response.Reset()
	ctx.SetStatusCode(status)
}

func respond(status int) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(status) }
}

// quiet logs the messages of the HTTP library at debug level: clients that disconnect
// or send garbage are counted, not logged.
type quiet struct{ log *zap.Logger }

func (q quiet) Printf(format string, args ...any) {
	if ce := q.log.Check(zap.DebugLevel, "http"); ce != nil {
		ce.Write(zap.String("text", fmt.Sprintf(format, args...)))
	}
}
