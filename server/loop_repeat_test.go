//go:build linux

package server

import (
	"strings"
	"testing"
)

func TestRepeat(t *testing.T) {
	limits := Limits{Body: 500, Header: 400}
	head := func(length string) string {
		return "POST /openrtb2/demo HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + "\r\nX-Openrtb-Version: 2.6\r\n\r\n"
	}
	first := []byte(head("4") + "body")
	rq, verdict := scan(first, limits.Header, limits.Body)
	if verdict != plain {
		t.Fatalf("got verdict %d; want a plain request", verdict)
	}
	var r repeat
	if _, ok := r.match(first, &limits); ok {
		t.Error("nothing was remembered; want no match")
	}
	r.remember(first, rq)
	for name, tc := range map[string]struct {
		text string
		body int // -1: no match
	}{
		"the same":               {head("4") + "body", 4},
		"another length":         {head("12") + "longer body!", 12},
		"no body":                {head("0"), 0},
		"more behind it":         {head("4") + "bodyPOST /", 4},
		"body incomplete":        {head("4") + "bod", -1},
		"head incomplete":        {head("4")[:60], -1},
		"no digits":              {head("") + "body", -1},
		"ten digits":             {head("0000000004") + "body", -1},
		"no number":              {head("4a") + "body", -1},
		"another header":         {strings.Replace(head("4"), "2.6", "2.5", 1) + "body", -1},
		"one header more":        {strings.Replace(head("4"), "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1) + "body", -1},
		"another path":           {strings.Replace(head("4"), "demo", "exch", 1) + "body", -1},
		"a body above the limit": {head("501") + strings.Repeat("x", 501), -1},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := r.match([]byte(tc.text), &limits)
			if ok != (tc.body >= 0) || ok && got.body != tc.body {
				t.Fatalf("got %+v, %v; want a body of %d bytes", got, ok, tc.body)
			}
			if want, verdict := scan([]byte(tc.text), limits.Header, limits.Body); ok && (verdict != plain || got != want) {
				t.Errorf("got %+v; scan reads %+v, verdict %d", got, want, verdict)
			}
		})
	}
	forwarded := []byte("POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 0\r\n\r\n")
	rq, _ = scan(forwarded, limits.Header, limits.Body)
	r.remember(forwarded, rq)
	if _, ok := r.match(forwarded, &limits); ok {
		t.Error("got a match of a head that the listener changes; want none")
	}
}
