package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"rebound/internal/conformance"
)

// A connection survives 150 s of idle time and serves any number of requests.
func TestConnectionsLiveLong(t *testing.T) {
	conformance.Covers(t, "T6", "T5")
	if got := (Limits{}).withDefaults().Idle; got < 150*time.Second {
		t.Errorf("an idle connection is kept open for %v; want at least 150s", got)
	}
	l := start(t, Spec{Name: "bid", Handler: echo})
	if n := l.http.MaxRequestsPerConn; n != 0 {
		t.Errorf("got %d requests per connection; want no limit", n)
	}
	if l.http.IdleTimeout != 180*time.Second {
		t.Errorf("got an idle timeout of %v; want 3m", l.http.IdleTimeout)
	}
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	for i := range 1000 {
		if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		rs, err := http.ReadResponse(in, nil)
		if err != nil || rs.StatusCode != http.StatusOK || rs.Close {
			t.Fatalf("request %d: got %v, %v; want 200 on an open connection", i, rs, err)
		}
		_, _ = io.Copy(io.Discard, rs.Body)
	}
}

// A client that sends Expect: 100-continue is told to continue.
func TestContinue(t *testing.T) {
	conformance.Covers(t, "T23")
	l := start(t, Spec{Name: "bid", Handler: echo})
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := in.ReadString('\n')
	if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v; want 100 Continue", line, err)
	}
	if blank, err := in.ReadString('\n'); err != nil || blank != "\r\n" {
		t.Fatalf("got %q, %v after it; want an empty line", blank, err)
	}
	if _, err := io.WriteString(c, "ok"); err != nil {
		t.Fatal(err)
	}
	rs, err := http.ReadResponse(in, nil)
	if err != nil || rs.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v; want 200", rs, err)
	}
	if b, _ := io.ReadAll(rs.Body); string(b) != "ok" {
		t.Errorf("got %q back; want ok", b)
	}
}
