package apptest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
)

// transportConfig is the golden configuration with two more exchanges: one that
// may ask 50 times a second, and one that takes small responses only.
func transportConfig(t *testing.T, rates string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/golden/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := strings.ReplaceAll(string(text), "../../../examples", filepath.ToSlash(root)+"/examples")
	s = strings.Replace(s, "https://edge.example", "http://127.0.0.1:8081", 1)
	s = strings.Replace(s, "unknown_country: refuse", "unknown_country: allow", 1)
	s = strings.Replace(s, "\nadvertisers:", `  - {id: few, seat: s, quota_qps: 50}
  - {id: small, seat: s, resp_max_bytes: 600}
  - {id: tight, seat: s, max_body: 2KiB, max_inflated: 8KiB}
  - {id: secret, seat: s, secret: open-sesame}

advertisers:`, 1)
	for name, content := range map[string]string{"c.yaml": s, "rates.yaml": rates} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "c.yaml")
}

const freshRates = "as_of: 2026-10-01T00:00:00Z\nbase: USD\nrates: {EUR: 0.80}\n"

// wire is one TCP connection to the bid listener.
type wire struct {
	t  *testing.T
	c  net.Conn
	br *bufio.Reader
}

func (b *bidder) dial() *wire {
	b.t.Helper()
	c, err := net.Dial("tcp", b.Bid)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &wire{b.t, c, bufio.NewReader(c)}
}

func (w *wire) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.c, text); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads one response and its body.
func (w *wire) answer() (*http.Response, []byte) {
	w.t.Helper()
	rs, err := http.ReadResponse(w.br, nil)
	if err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(rs.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return rs, body
}

// post sends a request with header lines, and reads its response.
func (w *wire) post(exchange, headers, body string) (*http.Response, []byte) {
	w.t.Helper()
	w.write(fmt.Sprintf("POST /openrtb2/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", exchange, len(body), headers, body))
	return w.answer()
}

func zip(t *testing.T, b []byte) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

const transportRequest = `{"id":"r0","at":1,"tmax":400,"cur":["USD"],"imp":[{"id":"1","banner":{"format":[{"w":300,"h":250}]},"bidfloor":0.5}],` +
	`"site":{"id":"s1","domain":"pub.example"},"device":{"geo":{"country":"CAN"}},"user":{"buyeruid":"%s"}}`

// TestTransport sends valid and invalid HTTP to the bid listener over raw
// connections.
func TestTransport(t *testing.T) {
	for _, loop := range []string{"auto", "off"} {
		t.Run("bid_loop "+loop, func(t *testing.T) {
			b, request := startTransport(t, loop)
			t.Run("every answer keeps its connection", func(t *testing.T) {
				conformance.Covers(t, "T1", "T2", "T3", "T5", "T9", "T14", "T26")
				b.keepsItsConnection(t, request)
			})
			t.Run("bodies", func(t *testing.T) {
				conformance.Covers(t, "T7", "T8", "T9", "T10", "T11", "T12", "T13", "T23")
				b.takesBodies(t, request)
			})
			t.Run("limits", func(t *testing.T) {
				conformance.Covers(t, "T11", "T16", "T17", "T20", "T24")
				b.keepsLimits(t, request)
			})
			t.Run("what is no request", func(t *testing.T) { b.refusesSmuggling(t, request) })
		})
	}
}

// startTransport starts a bidder with or without event loops, and returns a request that
// it bids on.
func startTransport(t *testing.T, loop string) (b *bidder, request string) {
	t.Helper()
	config := transportConfig(t, freshRates)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	with := bytes.Replace(text, []byte("\nlisten: {"), []byte("\nlisten: {bid_loop: "+loop+", "), 1)
	if bytes.Equal(with, text) {
		t.Fatal("the configuration has no listen section")
	}
	if err := os.WriteFile(config, with, 0o600); err != nil {
		t.Fatal(err)
	}
	b = startBidder(t, "--config", config)
	w := b.browser()
	id := w.pixel("a=shop&e=view_item&id=SKU1")
	request = fmt.Sprintf(transportRequest, id)
	within(t, patience, "the visitor is known", func() bool {
		status, _ := b.ask("generic", []byte(request))
		return status == http.StatusOK
	})
	return b, request
}

// keepsItsConnection sends 1,000 requests of all kinds on one connection.
func (b *bidder) keepsItsConnection(t *testing.T, request string) {
	w := b.dial()
	unknown := strings.Replace(request, `"buyeruid":"`, `"buyeruid":"nobody`, 1)
	for i := range 1000 {
		var rs *http.Response
		var body []byte
		want, empty := http.StatusNoContent, true
		switch i % 8 {
		case 0:
			rs, body = w.post("generic", "", strings.Replace(request, `"r0"`, fmt.Sprintf(`"r%d"`, i), 1))
			want, empty = http.StatusOK, false
		case 1:
			rs, body = w.post("generic", "", unknown)
		case 2:
			rs, body = w.post("generic", "", `{"id":`)
			want = http.StatusBadRequest
		case 3:
			rs, body = w.post("index", "", `{"id":`) // 204 by its profile
		case 4:
			w.write("GET /openrtb2/generic HTTP/1.1\r\nHost: x\r\n\r\n")
			rs, body = w.answer()
			want = http.StatusMethodNotAllowed
			if rs.Header.Get("Allow") != "POST" {
				t.Fatalf("405: got Allow %q; want POST", rs.Header.Get("Allow"))
			}
		case 5:
			rs, body = w.post("nowhere", "", request)
			want = http.StatusNotFound
		case 6:
			rs, body = w.post("generic", "Content-Type: application/x-protobuf\r\n", request)
			want = http.StatusUnsupportedMediaType
		case 7:
			rs, body = w.post("secret", "", request)
			want = http.StatusForbidden
		}
		if rs.StatusCode != want || rs.Close || empty != (len(body) == 0) {
			t.Fatalf("request %d: got %d, %d bytes, close %v; want %d on an open connection", i, rs.StatusCode, len(body), rs.Close, want)
		}
	}
	rs, _ := w.post("secret", "X-Rebound-Secret: open-sesame\r\n", request)
	if rs.StatusCode != http.StatusOK || rs.Header.Get("X-Openrtb-Version") != "2.6" {
		t.Errorf("with its secret: got %d, version %q", rs.StatusCode, rs.Header.Get("X-Openrtb-Version"))
	}
	requests := b.metric("rebound_bidder_requests_total")
	if status, _ := b.get("http://" + b.Bid + "/readyz"); status != http.StatusOK || b.metric("rebound_bidder_requests_total") != requests {
		t.Error("asking whether it is ready counts as a bid request")
	}
}

// takesBodies sends one request in every encoding.
func (b *bidder) takesBodies(t *testing.T, request string) {
	w := b.dial()
	zipped := zip(t, []byte(request))
	for _, c := range []struct {
		name, exchange, headers, body string
		status                        int
		gzip                          bool
	}{
		{"no Content-Type", "generic", "", request, 200, false},
		{"odd Content-Type", "generic", "Content-Type: Application/JSON ;charset=UTF-8\r\n", request, 200, false},
		{"octets", "generic", "Content-Type: application/octet-stream\r\n", request, 415, false},
		{"gzip", "generic", "Content-Encoding: gzip\r\n", zipped, 200, false},
		{"GZIP", "generic", "Content-Encoding: GZIP\r\n", zipped, 200, false},
		{"gzip where it is not taken", "prebid25", "Content-Encoding: gzip\r\n", zipped, 415, false},
		{"brotli", "generic", "Content-Encoding: br\r\n", zipped, 415, false},
		{"cut gzip", "generic", "Content-Encoding: gzip\r\n", zipped[:len(zipped)/2], 400, false},
		{"gzip that is none", "generic", "Content-Encoding: gzip\r\n", request, 400, false},
		{"answer in gzip", "generic", "Accept-Encoding: deflate, gzip\r\n", request, 200, true},
		{"answer not in gzip", "generic", "Accept-Encoding: gzip;q=0\r\n", request, 200, false},
		{"answer never in gzip", "prebid25", "Accept-Encoding: gzip\r\n", request, 200, false},
		{"version 2.3", "generic", "x-openrtb-version: 2.3\r\n", request, 200, false},
		{"version 2.6-202606", "generic", "X-OPENRTB-VERSION: 2.6-202606\r\n", request, 200, false},
		{"version of letters", "generic", "x-openrtb-version: abc\r\n", request, 200, false},
	} {
		rs, body := w.post(c.exchange, c.headers, c.body)
		if rs.StatusCode != c.status || rs.Close {
			t.Errorf("%s: got %d, close %v; want %d", c.name, rs.StatusCode, rs.Close, c.status)
			continue
		}
		if zipped := bytes.HasPrefix(body, []byte{0x1f, 0x8b}); zipped != c.gzip || (rs.Header.Get("Content-Encoding") == "gzip") != c.gzip {
			t.Errorf("%s: answer in gzip %v (Content-Encoding %q); want %v", c.name, zipped, rs.Header.Get("Content-Encoding"), c.gzip)
		}
		if c.status == 200 && rs.ContentLength != int64(len(body)) {
			t.Errorf("%s: Content-Length %d for %d bytes", c.name, rs.ContentLength, len(body))
		}
		if c.status == 200 && !strings.HasPrefix(rs.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: Content-Type %q", c.name, rs.Header.Get("Content-Type"))
		}
	}
	b.takesShapes(t, w, request)
}

// takesShapes sends the request in pieces, after asking whether to, and by the
// older protocol.
func (b *bidder) takesShapes(t *testing.T, w *wire, request string) {
	half := len(request) / 2
	w.write(fmt.Sprintf("POST /openrtb2/generic HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n",
		half, request[:half], len(request)-half, request[half:]))
	if rs, _ := w.answer(); rs.StatusCode != http.StatusOK || rs.Close {
		t.Errorf("in chunks: got %d, close %v", rs.StatusCode, rs.Close)
	}
	w.write(fmt.Sprintf("POST /openrtb2/generic HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(request)))
	if line, err := w.br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("Expect: got %q, %v; want 100", line, err)
	}
	if _, err := w.br.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	w.write(request)
	if rs, _ := w.answer(); rs.StatusCode != http.StatusOK || rs.Close {
		t.Errorf("after 100 Continue: got %d, close %v", rs.StatusCode, rs.Close)
	}
	for _, keep := range []bool{true, false} {
		old, header := b.dial(), ""
		if keep {
			header = "Connection: keep-alive\r\n"
		}
		for range 2 {
			old.write(fmt.Sprintf("POST /openrtb2/generic HTTP/1.0\r\n%sContent-Length: %d\r\n\r\n%s", header, len(request), request))
			if rs, _ := old.answer(); rs.StatusCode != http.StatusOK {
				t.Errorf("HTTP/1.0, keep-alive %v: got %d", keep, rs.StatusCode)
			}
			if !keep {
				break
			}
		}
	}
}

// keepsLimits sends requests that are too frequent, too late, or too large.
func (b *bidder) keepsLimits(t *testing.T, request string) {
	w := b.dial()
	passed := 0
	began := time.Now()
	for range 300 {
		if rs, _ := w.post("few", "", request); rs.StatusCode == http.StatusOK {
			passed++
		} else if rs.StatusCode != http.StatusNoContent || rs.Close {
			t.Fatalf("above the quota: got %d, close %v; want 204", rs.StatusCode, rs.Close)
		}
	}
	if most := 50*time.Since(began).Seconds()*1.1 + 10; passed < 1 || float64(passed) > most {
		t.Errorf("a quota of 50: %d passed in %s; want at most %.0f", passed, time.Since(began), most)
	}
	if n := b.metric("rebound_bidder_nobids_total", "exchange", "few", "reason", "throttled"); n != float64(300-passed) {
		t.Errorf("got %g throttled; want %d", n, 300-passed)
	}
	pad := func(n int) string {
		return strings.Replace(request, `"site":{`, `"site":{"name":"`+strings.Repeat("x", n)+`",`, 1)
	}
	bomb := zip(t, make([]byte, 64<<20))
	for _, c := range []struct {
		name, exchange, headers, body string
		status                        int
		reason                        string
	}{
		{"answer too large", "small", "", request, 204, "too_large"},
		{"body too large", "tight", "", pad(4096), 413, "malformed"},
		{"body just fits", "tight", "", pad(500), 200, ""},
		{"inflated just fits", "tight", "Content-Encoding: gzip\r\n", zip(t, []byte(pad(7000))), 200, ""},
		{"inflates too far", "tight", "Content-Encoding: gzip\r\n", zip(t, []byte(pad(9000))), 413, "malformed"},
		{"bomb", "generic", "Content-Encoding: gzip\r\n", bomb, 413, "malformed"},
		{"no time", "generic", "", strings.Replace(request, `"tmax":400`, `"tmax":5`, 1), 204, "late"},
		{"no tmax", "generic", "", strings.Replace(request, `"tmax":400,`, "", 1), 200, ""},
		{"tmax 0", "generic", "", strings.Replace(request, `"tmax":400`, `"tmax":0`, 1), 200, ""},
		{"tmax below 0", "generic", "", strings.Replace(request, `"tmax":400`, `"tmax":-9`, 1), 200, ""},
	} {
		before := b.metric("rebound_bidder_nobids_total", "exchange", c.exchange, "reason", c.reason)
		rs, _ := w.post(c.exchange, c.headers, c.body)
		if rs.StatusCode != c.status || rs.Close {
			t.Errorf("%s: got %d, close %v; want %d", c.name, rs.StatusCode, rs.Close, c.status)
		}
		if after := b.metric("rebound_bidder_nobids_total", "exchange", c.exchange, "reason", c.reason); c.reason != "" && after != before+1 {
			t.Errorf("%s: not counted as %s", c.name, c.reason)
		}
	}
}

// refusesSmuggling sends requests whose end is in doubt, each with another one
// inside; only the first may be answered, and with an error.
func (b *bidder) refusesSmuggling(t *testing.T, request string) {
	inner := fmt.Sprintf("POST /openrtb2/generic HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(request), request)
	for name, headers := range map[string]string{
		"length and chunks":       fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", 5+len(inner)),
		"chunks and length":       fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n", 5+len(inner)),
		"two lengths":             fmt.Sprintf("Content-Length: 5\r\nContent-Length: %d\r\n", 5+len(inner)),
		"unknown coding":          "Transfer-Encoding: xchunked\r\n",
		"two codings":             "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"negative length":         "Content-Length: -5\r\n",
		"length with a sign":      "Content-Length: +5\r\n",
		"length in hexadecimal":   "Content-Length: 0x5\r\n",
		"list of lengths":         fmt.Sprintf("Content-Length: 5, %d\r\n", 5+len(inner)),
		"blank before the colon":  fmt.Sprintf("Content-Length : %d\r\nTransfer-Encoding: chunked\r\n", 5+len(inner)),
		"coding with a blank":     fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding : chunked\r\n", 5+len(inner)),
		"folded transfer coding":  fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding:\r\n chunked\r\n", 5+len(inner)),
		"coding that ends chunks": fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked, identity\r\n", 5+len(inner)),
	} {
		w := b.dial()
		_ = w.c.SetDeadline(time.Now().Add(time.Second))
		w.write("POST /openrtb2/generic HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n0\r\n\r\n" + inner)
		served := 0
		for {
			rs, err := http.ReadResponse(w.br, nil)
			if err != nil {
				break
			}
			if _, err := io.Copy(io.Discard, rs.Body); err != nil {
				break
			}
			if rs.StatusCode == http.StatusOK {
				served++
			}
		}
		if served > 0 {
			t.Errorf("%s: the request inside was answered", name)
		}
	}
}

// TestRatesReload: a table that is too old stops bids in other currencies, and
// a new one lets them resume, without a restart (conformance P11).
func TestRatesReload(t *testing.T) {
	conformance.Covers(t, "P11", "P9")
	config := transportConfig(t, "as_of: 2020-01-01T00:00:00Z\nbase: USD\nrates: {EUR: 0.80}\n")
	b := startBidder(t, "--config", config)
	w := b.browser()
	request := fmt.Sprintf(transportRequest, w.pixel("a=shop&e=view_item&id=SKU1"))
	euro := strings.Replace(request, `["USD"]`, `["EUR"]`, 1)
	within(t, patience, "the visitor is known", func() bool {
		status, _ := b.ask("generic", []byte(request))
		return status == http.StatusOK
	})
	if status, body := b.ask("generic", []byte(euro)); status != http.StatusNoContent {
		t.Fatalf("stale rates: got %d %s; want 204", status, body)
	}
	if b.metric("rebound_bidder_nobids_total", "reason", "rate_stale") != 1 {
		t.Error("stale rates are not counted")
	}
	now := time.Now().UTC().Format(time.RFC3339)
	if err := os.WriteFile(filepath.Join(filepath.Dir(config), "rates.yaml"), []byte("as_of: "+now+"\nbase: USD\nrates: {EUR: 0.50}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, patience, "the new rates are read", func() bool {
		status, body := b.ask("generic", []byte(euro))
		return status == http.StatusOK && bytes.Contains(body, []byte(`"price":1.25`)) && bytes.Contains(body, []byte(`"cur":"EUR"`))
	})
}
