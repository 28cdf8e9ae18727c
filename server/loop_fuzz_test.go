//go:build linux

package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// describe answers with everything that it sees of a request.
func describe(ctx *fasthttp.RequestCtx) {
	switch string(ctx.Path()) {
	case "/panic":
		panic("boom")
	case "/none":
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	case "/close":
		ctx.SetConnectionClose()
	case "/large":
		ctx.SetBody(bytes.Repeat([]byte("large "), 100_000))
		return
	case "/block":
		block(ctx)
	}
	fmt.Fprintf(ctx, "%s %q %q %s\n", ctx.Method(), ctx.RequestURI(), ctx.Host(), ctx.RemoteIP())
	for k, v := range ctx.Request.Header.All() {
		fmt.Fprintf(ctx, "%q: %q\n", k, v)
	}
	fmt.Fprintf(ctx, "%d %v %q %v\n", ctx.Request.Header.ContentLength(), ctx.Request.Header.ConnectionClose(), ctx.PostBody(), ctx.IsTLS())
	ctx.SetContentType("text/plain")
}

// block lets the connection's loop continue without the handler.
func block(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(interface{ BeforeBlocking() func() }); ok {
		c.BeforeBlocking()()
	}
	runtime.Gosched()
}

// twin is a listener with event loops and one without, which must answer alike.
type twin struct {
	loop, library *Listener
}

func newTwin(t testing.TB, spec Spec) twin {
	// The clock stands still, so that no request counts as having waited in the loop while
	// the machine was busy; the library knows no such limit. It is an hour ahead, because
	// deadlines of sockets are computed from it and must not pass during the test.
	at := time.Now().Add(time.Hour)
	spec.Now = func() time.Time { return at }
	open := func(loop bool) *Listener {
		ln, err := Bind("test", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		spec.Loop, spec.Conns = loop, NewConns(0)
		l := Serve(spec, ln)
		t.Cleanup(func() {
			if err := l.Drain(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return l
	}
	return twin{open(true), open(false)}
}

var dateLine = regexp.MustCompile(`Date: [^\r\n]*\r\n`)

// compare sends the same bytes to both, cut after the given numbers of bytes, ends the
// stream, and reports answers and counters that differ.
func (w twin) compare(t *testing.T, data, cuts []byte) {
	t.Helper()
	var got [2]string
	for i, l := range []*Listener{w.loop, w.library} {
		before := l.Stats()
		answer := dateLine.ReplaceAll(converse(t, l, data, cuts), []byte("Date: -\r\n"))
		after := l.Stats()
		var refused []string
		for _, why := range slices.Sorted(maps.Keys(after.Refused)) {
			refused = append(refused, fmt.Sprint(why, " ", after.Refused[why]-before.Refused[why]))
		}
		got[i] = fmt.Sprintf("%s\n%d requests, %d shed, %d panics, %d in flight, refused %v", answer,
			after.Requests-before.Requests, after.Shed-before.Shed, after.Panics-before.Panics, after.InFlight, refused)
	}
	if got[0] != got[1] {
		t.Errorf("%q cut by %v\nloop:    %q\nlibrary: %q", data, cuts, got[0], got[1])
	}
}

// converse sends data in pieces, each after the server has read the one before it, and
// returns what it answers.
func converse(t *testing.T, l *Listener, data, cuts []byte) []byte {
	t.Helper()
	nc, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := nc.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	var answer []byte
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		answer, _ = io.ReadAll(c) // a reset ends the answer as well
	}()
	for len(data) > 0 {
		n := len(data)
		if len(cuts) > 0 {
			n, cuts = min(n, 1+int(cuts[0])), cuts[1:]
		}
		if _, err := c.Write(data[:n]); err != nil {
			break // the server has closed
		}
		data = data[n:]
		if len(data) > 0 {
			l.awaitRead(c.LocalAddr().String(), closed)
		}
	}
	_ = c.CloseWrite()
	<-closed
	l.awaitClosed(c.LocalAddr().String())
	return answer
}

// socketOf returns the server's end of a connection, and whether it is open.
func (l *Listener) socketOf(client string) (unread func() int, open bool) {
	l.spec.Conns.mu.Lock()
	defer l.spec.Conns.mu.Unlock()
	for c := range l.spec.Conns.open {
		switch c := c.(type) {
		case *loopConn:
			if c.peer.String() == client {
				return func() int {
					c.mu.Lock()
					defer c.mu.Unlock()
					if c.gone {
						return 1
					}
					n, _ := unix.IoctlGetInt(c.fd, unix.TIOCINQ)
					return n
				}, true
			}
		case *conn:
			inner := c.Conn
			if p, ok := inner.(*proxied); ok {
				inner = p.Conn.(*patient).Conn
			}
			peer := inner.RemoteAddr()
			if r, ok := inner.(*replay); ok {
				inner = r.Conn
			}
			if peer.String() == client {
				return func() (n int) {
					raw, err := inner.(*net.TCPConn).SyscallConn()
					if err == nil {
						err = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
					}
					if err != nil {
						return 1
					}
					return n
				}, true
			}
		}
	}
	return nil, false
}

// awaitRead waits until the server has read what it received, or has closed.
func (l *Listener) awaitRead(client string, closed <-chan struct{}) {
	for {
		select {
		case <-closed:
			return
		default:
			runtime.Gosched()
		}
		if unread, open := l.socketOf(client); open && unread() == 0 {
			return
		}
	}
}

func (l *Listener) awaitClosed(client string) {
	for {
		if _, open := l.socketOf(client); !open && l.Stats().InFlight == 0 {
			return
		}
		runtime.Gosched()
	}
}

// streams are byte streams at the border of what a loop serves.
func streams() []string {
	post := func(headers, body string) string {
		return fmt.Sprintf("POST /p?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", len(body), headers, body)
	}
	to := func(path string) string { return strings.Replace(post("", "ok"), "/p?q=1", path, 1) }
	inner := post("", "inner")
	list := []string{
		"", "P", "POST", "POST ", "\r\n", "\r\n" + inner, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		inner, inner + inner + inner, inner + "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + inner, inner[:20], inner[:len(inner)-1], inner + inner[:30],
		post("Connection: close\r\n", "a") + inner, post("Connection: Close\r\n", "a") + inner, post("Connection: keep-alive\r\n", "a") + inner,
		post("Connection: keep-alive, close\r\n", "a") + inner, post("Connection: upgrade\r\nUpgrade: h2c\r\n", "a") + inner,
		post("Connection: close\r\nConnection: keep-alive\r\n", "a") + inner, post("Connection: keep-alive\r\nConnection: close\r\n", "a") + inner,
		post("Expect: 100-continue\r\n", "ok"), post("Content-Encoding: gzip\r\n", "ok") + inner, post("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", "ok") + inner,
		post("Content-Type: text/x\r\nUser-Agent: u\r\nX-A: 1\r\nx-a: 2\r\nCookie: a=b; c=d\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n", "ok") + inner,
		post("Trailer: X\r\n", "ok") + inner, post(": empty\r\n", "ok") + inner, post("X\r\n", "ok") + inner, post("X:\r\nY: \t \r\n", "ok") + inner,
		post("X: a\r\n b\r\n", "ok") + inner, post("X-A : a\r\n", "ok") + inner, post(" X: a\r\n", "ok") + inner, post("X: a\x00b\r\n", "ok") + inner, post("X: a\rb\r\n", "ok") + inner, post("X: \xff\r\n", "ok") + inner,
		post("Host: y\r\n", "ok") + inner, post("", "") + inner, to("/panic") + inner, to("/close") + inner, to("/none") + to("/none") + inner, to("/large") + to("/large") + inner, to("/block") + to("/block") + inner + to("/block"),
		to("*") + inner, to("http://y/z") + inner, to("/a://b") + inner, to("//b") + inner, to("/a#b") + inner, to("/a%2fb/../c") + inner, to("/a b") + inner, to("/\x7f") + inner, to("/\xc3\xa4") + inner, to("") + inner,
		strings.Replace(inner, "Host: x", "Host: [::1]:80", 1) + inner, strings.Replace(inner, "Host: x", "Host: a:b", 1) + inner, strings.Replace(inner, "Host: x", "Host: u@x", 1) + inner, strings.Replace(inner, "Host: x", "Host: a:1:2", 1) + inner,
		strings.Replace(inner, "Host: x", "Host:", 1) + inner, strings.Replace(inner, "Host: x\r\n", "", 1) + inner, strings.Replace(inner, "Host: x", "Host: a%62", 1) + inner, strings.Replace(inner, "Host: x", "HOST: X:80", 1) + inner,
		strings.Replace(inner, "HTTP/1.1", "HTTP/1.0", 1) + inner, strings.Replace(inner, "HTTP/1.1", "HTTP/1.2", 1) + inner, strings.Replace(inner, "HTTP/1.1", "http/1.1", 1) + inner, strings.Replace(inner, "POST", "post", 1) + inner, strings.Replace(inner, "POST ", "POST  ", 1) + inner,
		strings.ReplaceAll(inner, "\r\n", "\n") + inner, strings.Replace(inner, "\r\n\r\n", "\n\r\n", 1) + inner, strings.Replace(inner, "\r\n\r\n", "\r\n\n", 1) + inner, strings.Replace(inner, "\r\n", "\n", 1) + inner,
		post("X: "+strings.Repeat("h", 1000)+"\r\n", "ok") + inner, post("X: "+strings.Repeat("h", 950)+"\r\n", "ok") + inner, post("", strings.Repeat("b", 200)) + inner, post("", strings.Repeat("b", 201)) + inner,
	}
	for _, headers := range []string{ // who is longer: the first or the second request?
		"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n", "Content-Length: 5\r\nContent-Length: 60\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n",
		"Content-Length: -5\r\n", "Content-Length: +5\r\n", "Content-Length: 0x5\r\n", "Content-Length: 5, 60\r\n", "Content-Length: 5 \r\n", "Content-Length:\t5\r\n", "Content-Length: 05\r\n", "Content-Length: 5_0\r\n", "Content-Length:\r\n", "Content-Length: 99999999999999999999\r\n",
		"Content-Length : 60\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 60\r\nTransfer-Encoding : chunked\r\n", "Content-Length: 60\r\nTransfer-Encoding:\r\n chunked\r\n", "Content-Length: 60\r\nTransfer-Encoding: chunked, identity\r\n", "Content-Length: 60\r\nTransfer_Encoding: chunked\r\n", "Content-Length: 5\r\nX: y\nTransfer-Encoding: chunked\r\n",
	} {
		list = append(list, "POST / HTTP/1.1\r\nHost: x\r\n"+headers+"\r\n0\r\n\r\n"+inner, "POST / HTTP/1.1\r\nHost: x\r\n"+headers+"\r\n5\r\nhello\r\n0\r\n\r\n"+inner)
	}
	return list
}

// smallLimits make the streams meet every limit.
var smallLimits = Limits{Body: 200, Header: 1024}

func TestLoopAnswersLikeTheLibrary(t *testing.T) {
	w := newTwin(t, Spec{Name: "bid", Handler: describe, Limits: smallLimits})
	for i, s := range streams() {
		w.compare(t, []byte(s), nil)
		w.compare(t, []byte(s), []byte{4, 8, 0, 0, 40})
		if i%16 == 9 {
			w.compare(t, []byte(s), make([]byte, len(s)))
		}
	}
}

func TestLoopAnswersLikeTheLibraryBehindAProxy(t *testing.T) {
	w := newTwin(t, Spec{Name: "bid", Handler: describe, Limits: smallLimits, ProxyProtocol: true})
	inner := "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\ninner"
	get := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	v4 := proxyHeader(1, 0x11, []byte{198, 51, 100, 7}, []byte{10, 0, 0, 1})
	for _, s := range []string{
		"", v4, v4[:10], v4[:20], v4 + inner, v4 + inner + get + inner, v4 + get, v4 + inner[:10], v4 + v4 + inner, inner, get, proxyHeader(0, 0, nil, nil) + inner + get,
		proxyHeader(1, 0x21, net.ParseIP("2001:db8::7"), net.ParseIP("2001:db8::1")) + inner + get, proxyHeader(5, 0x11, make([]byte, 4), make([]byte, 4)) + inner,
		proxySignature + "\x21\x11\x00\x04abcd" + inner, proxySignature + "\x21\x11\xff\xff" + inner, "PROXY TCP4 198.51.100.7 10.0.0.1 1 2\r\n" + inner,
	} {
		w.compare(t, []byte(s), nil)
		w.compare(t, []byte(s), []byte{4, 8, 0, 0, 40})
	}
	w.compare(t, []byte(v4+inner+get), make([]byte, 99))
}

// FuzzLoop sends one byte stream, cut in arbitrary places, to a listener with event loops
// and to one without.
func FuzzLoop(f *testing.F) {
	for _, s := range streams() {
		f.Add([]byte(s), []byte{})
		f.Add([]byte(s), []byte{9, 30, 5, 0, 0, 60})
	}
	w := newTwin(f, Spec{Name: "bid", Handler: describe, Limits: smallLimits})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		if len(data) > 4096 || len(cuts) > 64 {
			t.Skip()
		}
		w.compare(t, data, cuts)
	})
}
