package collect

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"rebound/privacy"
)

func TestTagIsSmall(t *testing.T) {
	w := newWorld(t)
	r := &serve(w.Tag, "GET", "/v1/tag.js?a=shop", nil, "Accept-Encoding", "gzip, br").Response
	if n := len(r.Body()); r.StatusCode() != 200 || n == 0 || n > 4096 {
		t.Errorf("got %d and %d bytes; want at most 4 KiB compressed", r.StatusCode(), n)
	}
	t.Logf("%d bytes compressed", len(r.Body()))
	if string(r.Header.Peek("Content-Encoding")) != "gzip" || string(r.Header.Peek("Cache-Control")) != "public, max-age=3600" {
		t.Errorf("got headers\n%s", r.Header.String())
	}
	z, err := gzip.NewReader(bytes.NewReader(r.Body()))
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	plain := &serve(w.Tag, "GET", "/v1/tag.js?a=shop", nil).Response
	if !bytes.Equal(unzipped, plain.Body()) || bytes.Contains(unzipped, []byte("VENDOR")) || !bytes.Contains(unzipped, []byte("v[42]")) {
		t.Error("want the same script both ways, with our vendor id")
	}
	etag := string(plain.Header.Peek("ETag"))
	if r := &serve(w.Tag, "GET", "/v1/tag.js?a=shop", nil, "If-None-Match", etag).Response; etag == "" || r.StatusCode() != 304 || len(r.Body()) != 0 {
		t.Errorf("with the ETag %s: got %d; want 304", etag, r.StatusCode())
	}
	other := newWorld(t)
	setup := *other.setup.Load()
	setup.Policy = &privacy.Policy{VendorID: 43}
	other.Swap(&setup)
	if r := &serve(other.Tag, "GET", "/v1/tag.js?a=shop", nil).Response; string(r.Header.Peek("ETag")) == etag {
		t.Error("another vendor id has the same ETag")
	}
	if r := &serve(w.Tag, "GET", "/v1/tag.js?a=typo", nil).Response; !bytes.Contains(r.Body(), []byte("console.error")) || string(r.Header.Peek("Cache-Control")) != "no-store" {
		t.Errorf("an unknown advertiser: got %s; want a message in the console", r.Body())
	}
}
