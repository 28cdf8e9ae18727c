package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/internal/conformance"
)

// The first byte of a connection may come late, what follows it must not.
func TestUnusedConnectionsMayBeSilent(t *testing.T) {
	limits := Limits{}.withDefaults()
	for _, tt := range []struct {
		silence, pause time.Duration
		ok             bool
	}{{0, 0, true}, {150 * time.Second, 9 * time.Second, true}, {179 * time.Second, 0, true}, {181 * time.Second, 0, false}, {time.Second, 11 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			p := &patient{Conn: here, limits: &limits, now: time.Now}
			written := make(chan struct{})
			go func() {
				defer close(written)
				defer there.Close()
				time.Sleep(tt.silence)
				_, _ = there.Write([]byte("G"))
				time.Sleep(tt.pause)
				_, _ = there.Write([]byte("E"))
			}()
			_ = p.SetReadDeadline(time.Now().Add(10 * time.Second)) // by the HTTP library
			b := make([]byte, 2)
			_, err := io.ReadFull(p, b)
			if (err == nil) != tt.ok {
				t.Errorf("silent for %v, then %v between bytes: got %v; want success: %v", tt.silence, tt.pause, err, tt.ok)
			}
			_ = p.Close()
			<-written
		})
	}
}

// failing is a listener whose first accepts fail.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	return f.Listener.Accept()
}

// An error of accept is waited out: the listener serves afterwards.
func TestAcceptErrorsAreWaitedOut(t *testing.T) {
	ln, err := Bind("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Serve(Spec{Name: "bid", Loop: withLoops, Handler: echo}, &failing{ln, []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EPERM}})
	if list := talk(t, l, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok", 1); len(list) != 1 || list[0].StatusCode != 200 {
		t.Errorf("got %v; want an answer after the errors", list)
	}
	if n := l.Stats().Accept; n != 5 {
		t.Errorf("got %d errors counted; want 5", n)
	}
	if err := l.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	// It also ends while it waits.
	ln, err = Bind("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	many := make([]error, 10_000)
	for i := range many {
		many[i] = syscall.EMFILE
	}
	if err := Serve(Spec{Name: "bid", Loop: withLoops, Handler: echo}, &failing{ln, many}).Drain(context.Background()); err != nil {
		t.Error(err)
	}
}

// When connections run short, those that are idle longest are closed, on any listener.
func TestTheLongestIdleConnectionsMakeRoom(t *testing.T) {
	conns := NewConns(6)
	bid := start(t, Spec{Name: "bid", Handler: echo, Conns: conns})
	edge := start(t, Spec{Name: "edge", Handler: echo, Conns: conns})
	ask := func(c net.Conn, in *bufio.Reader) error {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return err
		}
		rs, err := http.ReadResponse(in, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, rs.Body)
		}
		return err
	}
	var list []net.Conn
	var readers []*bufio.Reader
	for i := range 12 {
		l := bid
		if i%2 == 1 {
			l = edge
		}
		c, err := net.Dial("tcp", l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		list, readers = append(list, c), append(readers, bufio.NewReader(c))
		if i%3 == 0 { // used and idle; the others are unused
			if err := ask(c, readers[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := ask(list[0], readers[0]); err != nil { // never idle for long
			t.Fatalf("the connection in use was closed: %v", err)
		}
	}
	for i := 1; i < 3; i++ {
		_ = list[i].SetDeadline(time.Now().Add(time.Minute))
		if _, err := readers[i].ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d: got %v; want it closed", i, err)
		}
	}
	if err := ask(list[11], readers[11]); err != nil {
		t.Errorf("the newest connection: %v", err)
	}
	if n := conns.ClosedIdle(); n < 2 {
		t.Errorf("got %d counted as closed; want at least the two above", n)
	}
}

func proxyHeader(cmd, family byte, src, dst []byte) string {
	body := append(append([]byte{}, src...), dst...)
	if family != 0 {
		body = append(body, 0x30, 0x39, 0x01, 0xbb) // ports
	}
	body = append(body, 0x04, 0, 1, 0) // an extension
	head := append([]byte(proxySignature), 0x20|cmd, family)
	head = binary.BigEndian.AppendUint16(head, uint16(len(body)))
	return string(append(head, body...))
}

func remote(ctx *fasthttp.RequestCtx) {
	ctx.SetBodyString(ctx.RemoteIP().String() + " " + string(ctx.Request.Header.Peek("X-Forwarded-Proto")) + " " + string(ctx.Request.Header.Peek("X-Forwarded-For")))
}

func TestProxyProtocol(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	get := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	v4 := proxyHeader(1, 0x11, []byte{198, 51, 100, 7}, []byte{10, 0, 0, 1})
	v6 := proxyHeader(1, 0x21, net.ParseIP("2001:db8::7"), net.ParseIP("2001:db8::1"))
	for _, tt := range []struct {
		name, raw, want string
		trusted         []netip.Prefix
	}{
		{"v4", v4 + get, "198.51.100.7", loopback}, {"v6", v6 + get, "2001:db8::7", loopback}, {"local", proxyHeader(0, 0, nil, nil) + get, "127.0.0.1", loopback},
		{"unix socket", proxyHeader(1, 0x31, make([]byte, 108), make([]byte, 108)) + get, "127.0.0.1", loopback}, {"anybody", v4 + get, "198.51.100.7", nil},
		{"two requests", v4 + get + get, "198.51.100.7", loopback},
		{"no header", get, "", loopback}, {"not trusted", v4 + get, "", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{"version 1", "PROXY TCP4 198.51.100.7 10.0.0.1 1 2\r\n" + get, "", loopback},
		{"cut addresses", proxySignature + "\x21\x11\x00\x04abcd" + get, "", loopback}, {"unknown command", proxyHeader(5, 0x11, make([]byte, 4), make([]byte, 4)) + get, "", loopback},
		{"too long", proxySignature + "\x21\x11\xff\xff" + get, "", loopback},
	} {
		l := start(t, Spec{Name: "bid", Handler: remote, ProxyProtocol: true, TrustedProxies: tt.trusted})
		n := strings.Count(tt.raw, "GET /")
		list := talk(t, l, tt.raw, n)
		if tt.want == "" {
			if len(list) > 0 && list[0].StatusCode != 400 {
				t.Errorf("%s: got %v; want it refused", tt.name, list[0].StatusCode)
			}
			continue
		}
		if len(list) != n {
			t.Errorf("%s: got %d answers; want %d", tt.name, len(list), n)
			continue
		}
		for _, rs := range list {
			if b, _ := io.ReadAll(rs.Body); strings.TrimSpace(string(b)) != tt.want {
				t.Errorf("%s: got %s; want %s", tt.name, b, tt.want)
			}
		}
	}
}

func TestForwardedFor(t *testing.T) {
	trusted := start(t, Spec{Name: "edge", Handler: remote, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}})
	open := start(t, Spec{Name: "edge", Handler: remote})
	for _, tt := range []struct{ headers, want, untrusted string }{
		{"", "127.0.0.1", "127.0.0.1"},
		{"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: HTTPS\r\n", "198.51.100.7 https", "127.0.0.1  198.51.100.7"},
		{"X-Forwarded-For: 192.0.2.1, 198.51.100.7, 10.1.2.3\r\n", "198.51.100.7  192.0.2.1", "127.0.0.1  192.0.2.1, 198.51.100.7, 10.1.2.3"},
		{"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 198.51.100.7:4711\r\n", "198.51.100.7  192.0.2.1", "127.0.0.1  192.0.2.1"},
		{"X-Forwarded-For: \"[2001:db8::7]:80\"\r\n", "2001:db8::7", "127.0.0.1  \"[2001:db8::7]:80\""},
		{"X-Forwarded-For: 10.0.0.9\r\n", "10.0.0.9", "127.0.0.1  10.0.0.9"},
		{"X-Forwarded-For: unknown\r\n", "127.0.0.1", "127.0.0.1  unknown"},
		{"X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.9\r\n", "10.0.0.9", "127.0.0.1  192.0.2.1, unknown, 10.0.0.9"},
		{"X-Forwarded-For: ::ffff:198.51.100.7\r\nX-Forwarded-Proto: http, https\r\n", "198.51.100.7 https", "127.0.0.1  ::ffff:198.51.100.7"},
	} {
		for l, want := range map[*Listener]string{trusted: tt.want, open: tt.untrusted} {
			list := talk(t, l, "GET / HTTP/1.1\r\nHost: x\r\n"+tt.headers+"\r\n", 1)
			if len(list) != 1 {
				t.Fatalf("%q: no answer", tt.headers)
			}
			if b, _ := io.ReadAll(list[0].Body); strings.TrimSpace(string(b)) != want {
				t.Errorf("%q, trusted %v: got %q; want %q", tt.headers, l == trusted, b, want)
			}
		}
	}
}

// writeCert writes a self-signed certificate with a serial number.
func writeCert(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"edge.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLS(t *testing.T) {
	conformance.Covers(t, "T22")
	dir := t.TempDir()
	writeCert(t, dir, 1)
	now := time.Now()
	cert, err := LoadCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), func() time.Time { return now }, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	l := start(t, Spec{Name: "edge", TLS: cert.Config(), Handler: func(ctx *fasthttp.RequestCtx) {
		if !ctx.IsTLS() {
			ctx.SetStatusCode(500)
		}
	}})
	ask := func(version uint16) (serial int64, err error) {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: version}, DisableKeepAlives: true}}
		rs, err := client.Get("https://" + l.Addr() + "/")
		if err != nil {
			return 0, err
		}
		defer rs.Body.Close()
		if rs.StatusCode != 200 {
			t.Errorf("got %d; want 200 over TLS", rs.StatusCode)
		}
		return rs.TLS.PeerCertificates[0].SerialNumber.Int64(), nil
	}
	for version, ok := range map[uint16]bool{tls.VersionTLS13: true, tls.VersionTLS12: true, tls.VersionTLS11: false, tls.VersionTLS10: false} {
		if serial, err := ask(version); (err == nil) != ok || ok && serial != 1 {
			t.Errorf("version %x: got certificate %d, %v; want success: %v", version, serial, err, ok)
		}
	}
	if list := talk(t, l, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1); len(list) > 0 && list[0].StatusCode == 200 {
		t.Error("got an answer without TLS")
	}
	later := func() { now = now.Add(2 * time.Second) }
	writeCert(t, dir, 2)
	later()
	if serial, err := ask(0); err != nil || serial != 2 {
		t.Errorf("got certificate %d, %v; want the changed one", serial, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	later()
	if serial, err := ask(0); err != nil || serial != 2 {
		t.Errorf("got certificate %d, %v; want the last good one", serial, err)
	}
	writeCert(t, dir, 333)
	later()
	if serial, err := ask(0); err != nil || serial != 333 {
		t.Errorf("got certificate %d, %v; want the repaired one", serial, err)
	}
	if _, err := LoadCertificate(filepath.Join(dir, "none.pem"), filepath.Join(dir, "key.pem"), time.Now, zap.NewNop()); err == nil {
		t.Error("a missing certificate was loaded")
	}
}
