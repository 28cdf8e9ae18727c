package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// readBuffer is the size of the buffer that the connections of a loop share; larger
// requests are the HTTP library's.
const readBuffer = 64 << 10

// maxUnsent is how many bytes of responses to pipelined requests are collected before they
// are sent.
const maxUnsent = 32 << 10

// headBuffer is enough for the head of a response. A larger buffer would copy bodies twice.
const headBuffer = 512

// maxIdleWorkers bounds the memory that a loop keeps after handlers have blocked.
const maxIdleWorkers = 8

// worker has the memory for one request: a loop has one, and each handler that blocks keeps
// its own until it returns. It is the connection that the handler sees.
type worker struct {
	loop  *loop
	conn  *loopConn
	frame framing
	last  repeat
	ctx   fasthttp.RequestCtx
	buf   []byte // what was read from the connection
	rest  []byte // of buf, after the request that is being handled
	out   []byte // responses

	head   byteReader
	reader *bufio.Reader
	writer *bufio.Writer

	blocked bool // the handler blocks; another goroutine has continued the loop
	broken  bool // there is no response; the connection must be closed
	closing bool // the connection must be closed after the response
	before  func()
}

func newWorker(lp *loop) *worker {
	w := &worker{loop: lp, buf: make([]byte, readBuffer)}
	w.reader = bufio.NewReaderSize(&w.head, lp.set.l.spec.Limits.Header)
	w.writer = bufio.NewWriterSize((*output)(w), headBuffer)
	w.before = w.beforeBlocking
	w.ctx.Init2(w, quiet{lp.set.l.spec.Logger}, false)
	return w
}

// byteReader reads from a slice.
type byteReader struct{ b []byte }

// Read implements io.Reader.
func (r *byteReader) Read(b []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.b)
	r.b = r.b[n:]
	return n, nil
}

// output appends to the responses of a worker.
type output worker

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.out = append(o.out, b...)
	return len(b), nil
}

// process serves the complete requests at the beginning of b, which is in the buffer of
// lp.work. It returns false if another goroutine has continued the loop.
func (lp *loop) process(c *loopConn, b []byte) bool {
	w, l := lp.work, lp.set.l
	if l.spec.ProxyProtocol && !c.introduced {
		n, ok := lp.introduce(c, b)
		if !ok {
			return true
		}
		b = b[n:]
	}
	for len(b) > 0 {
		rq, verdict := w.read(c, b, &l.spec.Limits)
		switch {
		case verdict != plain && !lp.flush(c, w, b):
		case verdict == unusual:
			lp.handOver(c, b)
		case verdict == incomplete:
			c.need = rq.size()
			lp.keep(c, b)
		default:
			w.frame.overdue = lp.overdue()
			w.answer()
			if w.blocked {
				lp.deliver(delivery{c, w})
				return false
			}
			b, c.since, c.need = w.rest, lp.now, 0
			if w.broken {
				lp.close(c)
				return true
			}
			c.closing = w.closing
			if (c.closing || len(w.out) > maxUnsent) && !lp.flush(c, w, b) {
				return true
			}
			continue
		}
		return true
	}
	if lp.flush(c, w, nil) {
		lp.rest(c)
	}
	return true
}

// flush sends the responses of a worker. It returns false if the connection was closed, or
// if it has to wait until the client reads; the bytes not yet handled are kept then.
func (lp *loop) flush(c *loopConn, w *worker, b []byte) bool {
	if lp.send(c, w) {
		return true
	}
	if len(b) > 0 && lp.conn(c.fd) == c {
		lp.keep(c, b)
	}
	return false
}

// introduce reads the PROXY header at the beginning of b and returns its length. It returns
// false if the header is incomplete, or not acceptable, which the HTTP library answers.
func (lp *loop) introduce(c *loopConn, b []byte) (int, bool) {
	n, client, err := parseProxy(b, c.peer, lp.set.l.spec.TrustedProxies)
	switch {
	case err != nil:
		lp.handOver(c, b)
		return 0, false
	case n == 0:
		lp.keep(c, b)
		return 0, false
	}
	c.introduced, c.client, c.since = true, client, lp.now
	return n, true
}

// read reads the request at the beginning of b, as far as it is there.
func (w *worker) read(c *loopConn, b []byte, limits *Limits) (framing, int) {
	if rq, ok := w.last.match(b, limits); ok {
		w.take(c, b, rq)
		if h := &w.ctx.Request.Header; h.ContentLength() != rq.body {
			h.SetContentLength(rq.body)
		}
		return rq, plain
	}
	w.last.forget()
	w.ctx.Request.Reset()
	rq, verdict := scan(b, min(limits.Header, readBuffer/2), limits.Body)
	if rq.size() > readBuffer || verdict == plain && !w.parse(c, b, rq) {
		verdict = unusual
	}
	if verdict == plain {
		w.last.remember(b, rq)
	}
	return rq, verdict
}

// take makes the request at the beginning of b the worker's.
func (w *worker) take(c *loopConn, b []byte, rq framing) {
	w.conn, w.frame, w.rest = c, rq, b[rq.size():]
	w.ctx.Response.Header.SetNoDefaultContentType(true)
	w.ctx.Request.SetBodyRaw(b[rq.head:rq.size()])
}

// parse reads the request at the beginning of b with the parser of the HTTP library. It
// returns false if the library does not accept it or reads something else than scan.
func (w *worker) parse(c *loopConn, b []byte, rq framing) bool {
	w.head.b = b[:rq.head]
	w.reader.Reset(&w.head)
	h := &w.ctx.Request.Header
	if h.Read(w.reader) != nil || w.reader.Buffered() > 0 || h.ContentLength() != rq.body {
		w.ctx.Request.Reset()
		return false
	}
	w.take(c, b, rq)
	return true
}

// answer calls the handler and appends the response to out.
func (w *worker) answer() {
	l, rs := w.loop.set.l, &w.ctx.Response
	l.serve(&w.ctx, &w.frame)
	w.closing = rs.Header.ConnectionClose() || w.ctx.Request.Header.ConnectionClose() || l.draining.Load()
	if w.closing {
		rs.Header.SetConnectionClose()
	}
	w.writer.Reset((*output)(w))
	w.broken = rs.Write(w.writer) != nil || w.writer.Flush() != nil
	w.ctx.Request.ResetBody() // the head stays, for the next request
	w.ctx.ResetUserValues()
	rs.Reset()
}

// BeforeBlocking returns the function that a handler calls before it blocks, for instance
// before it reads a file: other connections are then served by another goroutine. It does
// not allocate.
func (w *worker) BeforeBlocking() func() { return w.before }

func (w *worker) beforeBlocking() {
	lp, c := w.loop, w.conn
	if w.blocked {
		return
	}
	if lp.set.blocking.Add(1) > maxBlocking {
		lp.set.blocking.Add(-1)
		return
	}
	w.blocked, c.busy = true, true
	if len(w.rest) > 0 {
		lp.keep(c, w.rest)
	}
	lp.work = nil
	if n := len(lp.idle); n > 0 {
		lp.work, lp.idle = lp.idle[n-1], lp.idle[:n-1]
	} else {
		lp.work = newWorker(lp)
	}
	go lp.run()
}

// The methods of net.Conn: a handler sees the addresses only.

var errLoopConn = errors.New("cannot use the connection of an event loop: want the request and the response only")

// Read implements net.Conn.
func (w *worker) Read([]byte) (int, error) { return 0, errLoopConn }

// Write implements net.Conn.
func (w *worker) Write([]byte) (int, error) { return 0, errLoopConn }

// Close implements net.Conn.
func (w *worker) Close() error { return errLoopConn }

// LocalAddr implements net.Conn.
func (w *worker) LocalAddr() net.Addr { return w.loop.set.l.net.Addr() }

// RemoteAddr implements net.Conn.
func (w *worker) RemoteAddr() net.Addr { return w.conn.addr() }

// SetDeadline implements net.Conn.
func (w *worker) SetDeadline(time.Time) error { return errLoopConn }

// SetReadDeadline implements net.Conn.
func (w *worker) SetReadDeadline(time.Time) error { return errLoopConn }

// SetWriteDeadline implements net.Conn.
func (w *worker) SetWriteDeadline(time.Time) error { return errLoopConn }
