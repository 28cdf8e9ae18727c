package apptest

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shopWith writes a configuration that includes the sample shop and changes it.
func shopWith(t *testing.T, text string) (file string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "examples"))); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "shop", "mine.yaml")
	if err := os.WriteFile(file, []byte("version: 1\ninclude: rebound.yaml\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startWith starts a bidder whose process a shell prepares.
func startWith(t *testing.T, shell string, args ...string) *bidder {
	t.Helper()
	b := newBidder(t, args...)
	b.shell = shell
	b.start()
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("log of the bidder:\n%s", b.log.tail(60))
		}
	})
	return b
}

// With more idle connections than file descriptors, active clients are still
// served, then and afterwards.
func TestIdleConnections(t *testing.T) {
	b := startWith(t, "ulimit -n 1024")
	for _, addr := range []string{b.Edge, b.Bid} {
		var open []net.Conn
		for range 1100 {
			c, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				t.Skipf("cannot open 1,100 connections here: %v", err)
			}
			open = append(open, c)
		}
		b.answers("with 1,100 idle connections")
		for _, c := range open {
			c.Close()
		}
		b.answers("after 1,100 idle connections")
	}
	if n := b.metric("rebound_server_idle_closed_total"); n == 0 {
		t.Error("no idle connection was closed to make room")
	}
	if id := b.browser().pixel("a=shop&e=view_item&id=SKU1"); id == "" {
		t.Error("the edge stores nothing afterwards")
	}
}

// answers checks that all listeners serve new connections.
func (b *bidder) answers(when string) {
	b.t.Helper()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, url := range []string{"http://" + b.Bid + "/readyz", "http://" + b.Edge + "/healthz", "http://" + b.Admin + "/readyz"} {
		if rs, body := call(b.t, c, http.MethodGet, url, "", nil); rs.StatusCode != http.StatusOK {
			b.t.Errorf("%s: %s: got %d %s", when, url, rs.StatusCode, body)
		}
	}
}

// The bidder outlives the reader of its log, and drains when told to.
func TestLogReaderGone(t *testing.T) {
	b := startBidder(t)
	b.logPipe.Close()
	for range 3 {
		if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	within(t, patience, "lines without a reader are counted", func() bool { return b.metric("rebound_server_log_lines_dropped_total") > 0 })
	b.answers("without a reader of its log")
	if status := b.terminate(); status != 0 {
		t.Errorf("got exit status %d; want 0", status)
	}
}

// A reader that stops reading delays neither signals nor responses.
func TestLogReaderStops(t *testing.T) {
	b := startBidder(t)
	b.log.stop()
	stalled := func() bool {
		_ = b.cmd.Process.Signal(syscall.SIGHUP)
		return b.metric("rebound_server_log_lines_dropped_total") > 0 || b.metric("rebound_config_reloads_total") >= 40
	}
	within(t, patience, "a full pipe", stalled)
	if rs, body := call(t, nil, http.MethodPost, "http://"+b.Admin+"/admin/pause", "application/json", []byte(`{"scope":"all","on":true}`)); rs.StatusCode != http.StatusOK {
		t.Errorf("pause: got %d %s", rs.StatusCode, body)
	}
	b.answers("with a reader that has stopped")
	b.terminate()
}

// bigFeed writes a feed that takes seconds to read.
func bigFeed(t *testing.T, file string, rows int) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("id\ttitle\tdescription\tlink\timage_link\tprice\tavailability\n")
	for i := range rows {
		fmt.Fprintf(&b, "SKU%d\tShoe number %d\tA shoe that has the number %d and a description of some length, as shops write it\thttps://shop.example/p/%d\thttps://shop.example/i/%d.jpg\t19.99 USD\tin_stock\n", i, i, i, i, i)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// SIGTERM acts at once while a large feed is loading: not ready, serving for
// the drain delay, then stopped.
func TestStopWhileReloading(t *testing.T) {
	file := shopWith(t, "listen: {drain_delay: 4s}\n") // for the requests below, on a busy machine too
	b := startBidder(t, "--config", file)
	bigFeed(t, filepath.Join(filepath.Dir(file), "products.tsv"), 200_000)
	b.log.mu.Lock()
	from := len(b.log.lines)
	b.log.mu.Unlock()
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the reload begins", func() bool { return b.log.find(from, "reading the configuration") != nil })
	began := time.Now()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "not ready", func() bool {
		status, _ := b.get("http://" + b.Bid + "/readyz")
		return status == http.StatusServiceUnavailable
	})
	notReady := time.Since(began)
	if status, _ := b.get("http://" + b.Edge + "/healthz"); status != http.StatusOK {
		t.Errorf("during the drain delay: got %d; want the edge to serve", status)
	}
	if b.browser().pixel("a=shop&e=view_item&id=SKU1") == "" {
		t.Error("during the drain delay no event was stored")
	}
	select {
	case <-b.ended:
	case <-time.After(patience):
		t.Fatalf("did not end within %s", patience)
	}
	took := time.Since(began)
	t.Logf("not ready after %v, ended after %v", notReady, took)
	if took < 4*time.Second || b.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("ended after %v with status %d; want at least 4 s, 0", took, b.cmd.ProcessState.ExitCode())
	}
	if b.log.find(0, "configuration reloaded") != nil {
		t.Error("the configuration was reloaded while stopping")
	}
}

// SIGTERM ends a bidder that is still reading its configuration.
func TestStopWhileLoading(t *testing.T) {
	file := shopWith(t, "")
	bigFeed(t, filepath.Join(filepath.Dir(file), "products.tsv"), 300_000)
	b := newBidder(t, "--config", file)
	b.launch()
	defer b.kill()
	within(t, patience, "the process reads its configuration", func() bool { return b.log.find(0, "reading the configuration") != nil })
	if status := b.terminate(); status != 0 || b.log.find(0, "ready|started, but blind") != nil {
		t.Errorf("ended after SIGTERM with status %d; want 0, before the start was complete\n%s", status, b.log.tail(10))
	}
}

// Stopping a bidder with a large cache needs no extra memory.
func TestStopWithALargeCache(t *testing.T) {
	b := startBidder(t, "--config", shopWith(t, "data: {cache_bytes: 8GiB}\n"))
	if status := b.terminate(); status != 0 {
		t.Errorf("got status %d", status)
	}
	if use, ok := b.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		if mib := use.Maxrss >> 10; mib > 700 {
			t.Errorf("the process took up to %d MiB; want less than 700", mib)
		}
	}
}

// writeCertificate writes a self-signed certificate for 127.0.0.1.
func writeCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: secret}, "cert.pem": {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Bid and edge serve https, with a certificate that changes while they run.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	pair := fmt.Sprintf("{cert: %s/cert.pem, key: %s/key.pem}", dir, dir)
	b := startBidder(t, "--public-url", "https://127.0.0.1:8443", "--config", shopWith(t, "listen: {public_url: https://127.0.0.1:8443, tls: {bid: "+pair+", edge: "+pair+"}}\n"))
	serial := func(url string) int64 {
		c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		rs, _ := call(t, c, http.MethodGet, url, "", nil)
		if rs.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %d", url, rs.StatusCode)
		}
		return rs.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	for _, addr := range []string{b.Bid, b.Edge} {
		if n := serial("https://" + addr + "/healthz"); n != 1 {
			t.Errorf("got certificate %d; want 1", n)
		}
		old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}
		if c, err := tls.Dial("tcp", addr, old); err == nil {
			c.Close()
			t.Error("TLS 1.1 was accepted; want 1.2 at least")
		}
	}
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	rs, _ := call(t, c, http.MethodGet, "https://"+b.Edge+"/v1/px?a=shop&e=view_item&id=SKU1", "", nil)
	if line := rs.Header.Get("Set-Cookie"); !strings.Contains(line, "SameSite=None; Secure") {
		t.Errorf("got cookie %q; want SameSite=None; Secure", line)
	}
	writeCertificate(t, dir, 2)
	within(t, patience, "the changed certificate", func() bool { return serial("https://"+b.Edge+"/healthz") == 2 })
	within(t, patience, "the changed certificate of bid", func() bool { return serial("https://"+b.Bid+"/healthz") == 2 })
}

// Behind a proxy the sources of an exchange are those of the real peer.
func TestSourcesBehindAProxy(t *testing.T) {
	const request = `{"id":"q1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"domain":"news.example","page":"https://news.example/"},"user":{"id":"u1"},"device":{"ip":"203.0.113.9"}}`
	for _, tt := range []struct{ name, listen, header string }{
		{"X-Forwarded-For", "trusted_proxies: [127.0.0.0/8]", "X-Forwarded-For: %s\r\n"},
		{"PROXY protocol", "proxy_protocol: [bid], trusted_proxies: [127.0.0.0/8]", ""},
	} {
		file := shopWith(t, "listen: {"+tt.listen+"}\n")
		b := newBidder(t, "--config", file)
		b.start()
		t.Cleanup(b.kill)
		send := func(peer string) {
			c, err := net.Dial("tcp", b.Bid)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			head := ""
			if tt.header != "" {
				head = fmt.Sprintf(tt.header, peer)
			} else {
				fmt.Fprintf(c, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c%s\x0a\x00\x00\x01\x30\x39\x00\x50", string(net.ParseIP(peer).To4()))
			}
			fmt.Fprintf(c, "POST /openrtb2/demo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", head, len(request), request)
			rs, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatalf("%s from %s: %v", tt.name, peer, err)
			}
			_, _ = io.Copy(io.Discard, rs.Body)
		}
		refused := func() float64 { return b.metric("rebound_bidder_nobids_total", "reason", "unauthorised") }
		send("127.0.0.9")
		if n, all := refused(), b.metric("rebound_bidder_nobids_total"); n != 0 || all != 1 {
			t.Errorf("%s from a source: got %v of %v refused; want one request accepted", tt.name, n, all)
		}
		send("198.51.100.7")
		if n := refused(); n != 1 {
			t.Errorf("%s from elsewhere: got %v refused; want 1", tt.name, n)
		}
	}
}

// The admin listener serves this machine, and elsewhere those who have its token.
func TestAdminGuard(t *testing.T) {
	b := startBidder(t)
	for _, tt := range []struct {
		header []string
		status int
	}{
		{nil, 200}, {[]string{"Origin", "http://" + b.Admin}, 200},
		{[]string{"Origin", "https://evil.example"}, 403}, {[]string{"Origin", "null"}, 403}, {[]string{"Origin", "http://127.0.0.1"}, 403},
	} {
		if rs, body := call(t, nil, http.MethodGet, "http://"+b.Admin+"/admin/budgets", "", nil, tt.header...); rs.StatusCode != tt.status {
			t.Errorf("%v: got %d %s; want %d", tt.header, rs.StatusCode, body, tt.status)
		}
	}
	for host, status := range map[string]int{"localhost:8082": 200, "127.0.0.1": 200, "[::1]:8082": 200, "LOCALHOST.": 200, "evil.example": 403, "evil.example:8082": 403, "127.0.0.1.evil.example": 403, "10.0.0.1:8082": 403} {
		rq, err := http.NewRequest(http.MethodGet, "http://"+b.Admin+"/admin/budgets", nil)
		if err != nil {
			t.Fatal(err)
		}
		rq.Host = host
		rs, err := noRedirect.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		rs.Body.Close()
		if rs.StatusCode != status {
			t.Errorf("Host %s: got %d; want %d", host, rs.StatusCode, status)
		}
	}

	open := &bidder{t: t, dir: filepath.Join(t.TempDir(), "data"), Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "0.0.0.0:0"}
	open.launch()
	<-open.ended
	if open.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(open.log.tail(10), "REBOUND_ADMIN_TOKEN") {
		t.Errorf("without a token: got status %d and\n%s", open.cmd.ProcessState.ExitCode(), open.log.tail(10))
	}
	open.env = []string{"REBOUND_ADMIN_TOKEN=a-token-of-some-length"}
	open.start()
	t.Cleanup(open.kill)
	_, port, _ := net.SplitHostPort(open.Admin)
	for _, tt := range []struct {
		path, token string
		status      int
	}{
		{"/metrics", "", 401}, {"/metrics", "Bearer wrong", 401}, {"/metrics", "a-token-of-some-length", 401}, {"/metrics", "Bearer a-token-of-some-length", 200},
		{"/metrics", "bearer  a-token-of-some-length ", 200}, {"/debug/pprof/", "", 401}, {"/readyz", "", 200}, {"/healthz", "", 200}, {"/readyz/", "", 401}, {"/", "", 401},
		{"/admin/explain", "", 200}, {"/admin/explain/", "", 401}, {"/admin/users/uid:x", "", 401},
	} {
		if rs, body := call(t, nil, http.MethodGet, "http://127.0.0.1:"+port+tt.path, "", nil, "Authorization", tt.token); rs.StatusCode != tt.status {
			t.Errorf("%s with %q: got %d %.80s; want %d", tt.path, tt.token, rs.StatusCode, body, tt.status)
		}
	}
	if rs, body := call(t, nil, http.MethodPost, "http://127.0.0.1:"+port+"/admin/explain", "application/json", []byte("{}")); rs.StatusCode != 401 {
		t.Errorf("explaining without a token: got %d %.80s; want 401", rs.StatusCode, body)
	}
	health := exec.Command(filepath.Join(bin, "bidder"), "health")
	health.Env = append(os.Environ(), "REBOUND_ADMIN=127.0.0.1:"+port)
	if out, err := health.CombinedOutput(); err != nil {
		t.Errorf("health by environment: %v %s", err, out)
	}
}
