package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Flags that make no sense are refused with the flag's name or its subject, before
// anything is sent or written.
func TestFlagsAreRefused(t *testing.T) {
	for _, c := range []struct{ flags, want string }{
		{"--rate -1", "rate"}, {"--rate 0", "rate"}, {"--rate 99999999", "rate"},
		{"--rate 10 --duration -1s", "duration"}, {"--duration 0s", "duration"}, {"--duration 9000h", "duration"},
		{"--rate 1 --duration 10ms", "less than one request"}, {"--rate 1000000 --duration 1h", "at most"},
		{"--known-pct 150", "known"}, {"--known-pct -5", "known"}, {"--known-pct NaN", "known"}, {"--known-pct Inf", "known"},
		{"--products -1", "--products"}, {"--products 0", "--products"}, {"--products 999999999", "--products"},
		{"--visitors -1", "--visitors"}, {"--visitors 0", "--visitors"}, {"--visitors 999999999", "visitors"},
		{"--deadline -1s", "deadline"}, {"--deadline 0s", "deadline"}, {"--deadline 10us", "deadline"}, {"--deadline 2h", "deadline"},
		{"--min-in-time-pct 101", "--min-in-time-pct"}, {"--min-in-time-pct -1", "--min-in-time-pct"}, {"--min-in-time-pct NaN", "--min-in-time-pct"},
		{"--target nonsense", "URL"}, {"--target http://", "URL"}, {"--remote --target ftp://127.0.0.1/", "URL"},
		{"--target http://203.0.113.1/", "--remote"}, {"--edge http://203.0.113.1/", "--remote"}, {"--edge nonsense", "URL"},
		{"--secret-env REBOUND_TEST_UNSET", "REBOUND_TEST_UNSET"}, {"--key-env REBOUND_TEST_UNSET", "REBOUND_TEST_UNSET"},
		{"extra", "extra"},
	} {
		var out, errs bytes.Buffer
		status := run(context.Background(), append([]string{"attack"}, strings.Fields(c.flags)...), &out, &errs)
		if status != exitUsage || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: got status %d and %q; want %d and %q", c.flags, status, errs.String(), exitUsage, c.want)
		}
	}
}

// Causes are named before the attack begins, and a file that cannot be written before
// anything is sent.
func TestCausesAreNamedAtOnce(t *testing.T) {
	sent := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent++
		switch {
		case strings.HasPrefix(r.URL.Path, "/openrtb2/demo"):
			w.WriteHeader(http.StatusNoContent)
		case r.URL.Path == "/v1/events":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	dir := t.TempDir()
	requests := filepath.Join(dir, "requests.ndjson")
	if err := os.WriteFile(requests, []byte("\ufeff{\"id\":\"1\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := func(want string, wantSent bool, args ...string) {
		t.Helper()
		sent = 0
		var out, errs bytes.Buffer
		status := run(context.Background(), append([]string{"attack"}, args...), &out, &errs)
		if status != exitFailed || !strings.Contains(errs.String(), want) || wantSent != (sent > 0) {
			t.Errorf("%q: got status %d, %d requests and %q; want %d and %q", args, status, sent, errs.String(), exitFailed, want)
		}
	}
	f("status 404", true, "--target", s.URL+"/openrtb2/other", "--edge", s.URL)
	f("status 404", true, "--target", s.URL+"/openrtb2/other", "--requests", requests)
	f("status 404", true, "--target", s.URL+"/openrtb2/other", "--known-pct", "0")
	f("connection refused", false, "--target", gone.URL+"/openrtb2/demo", "--edge", s.URL)
	f("--edge", true, "--target", s.URL+"/openrtb2/demo", "--edge", gone.URL)
	f("--key", true, "--target", s.URL+"/openrtb2/demo", "--edge", s.URL)
	f("--report", false, "--target", s.URL+"/openrtb2/demo", "--edge", s.URL, "--report", filepath.Join(dir, "none", "r.json"))
	f("--html", false, "--target", s.URL+"/openrtb2/demo", "--edge", s.URL, "--html", dir)
	f("--results", false, "--target", s.URL+"/openrtb2/demo", "--edge", s.URL, "--results", filepath.Join(requests, "r"))
	f("input", false, "--target", s.URL+"/openrtb2/demo", "--requests", requests, "--report", requests)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("got %v, %v; want the requests only", left, err)
	}
}
