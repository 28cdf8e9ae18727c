package collect

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestCookiesAreOurs(t *testing.T) {
	c := NewCookies([32]byte{1}, rand.Reader)
	seen := map[string]bool{}
	for range 100 {
		v, err := c.Mint()
		if err != nil {
			t.Fatal(err)
		}
		if len(v) != CookieTextLen || !c.Valid([]byte(v)) || seen[v] {
			t.Fatalf("got %q; want a new valid id of %d characters", v, CookieTextLen)
		}
		seen[v] = true
	}
	v, _ := c.Mint()
	if NewCookies([32]byte{2}, rand.Reader).Valid([]byte(v)) {
		t.Error("an id minted with another secret is valid; want it rejected")
	}
}

func TestEveryChangedCharacterIsForged(t *testing.T) {
	c := NewCookies([32]byte{1}, rand.Reader)
	v, err := c.Mint()
	if err != nil {
		t.Fatal(err)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range v {
		for _, r := range []byte(alphabet) {
			b := []byte(v)
			if b[i] == r {
				continue
			}
			b[i] = r
			if c.Valid(b) {
				t.Fatalf("character %d changed to %c: still valid", i, r)
			}
		}
	}
	for _, s := range []string{"", "x", v[1:], v + "A", v + "=", strings.Repeat("A", CookieTextLen), "\x00" + v[1:]} {
		if c.Valid([]byte(s)) {
			t.Errorf("%q is valid; want it rejected", s)
		}
	}
}

func TestMintNeedsRandomness(t *testing.T) {
	c := NewCookies([32]byte{1}, iotest.ErrReader(errors.New("no entropy")))
	if v, err := c.Mint(); err == nil || v != "" {
		t.Errorf("got %q, %v; want no id", v, err)
	}
}

func TestSetCookie(t *testing.T) {
	tests := []struct {
		name, host string
		https      bool
		third      bool
		want, not  []string
	}{
		{"our host on https", "edge.example", true, true, []string{"SameSite=None", "; Secure", "Domain=edge.example"}, []string{"Lax"}},
		{"an advertiser's host", "t.shop.co.uk", true, false, []string{"SameSite=Lax", "; Secure", "Domain=shop.co.uk"}, []string{"None"}},
		{"a desk", "127.0.0.1:8081", false, true, []string{"SameSite=Lax"}, []string{"Secure", "Domain", "None"}},
		{"a name without a dot", "localhost:8081", false, false, nil, []string{"Secure", "Domain"}},
		{"IPv6", "[::1]:8081", false, false, nil, []string{"Domain"}},
		{"a public suffix", "co.uk", true, false, nil, []string{"Domain"}},
		{"a host with tricks", "shop.example;evil", true, false, nil, []string{"Domain", "evil"}},
	}
	for _, tt := range tests {
		got := setCookie(CookieName, "v", tt.host, CookieLife, tt.https, tt.third)
		for _, w := range append(tt.want, "rt_uid=v; ", "Path=/", "HttpOnly", "Max-Age=33696000") {
			if !strings.Contains(got, w) {
				t.Errorf("%s: got %q; want %s in it", tt.name, got, w)
			}
		}
		for _, n := range tt.not {
			if strings.Contains(got, n) {
				t.Errorf("%s: got %q; want no %s", tt.name, got, n)
			}
		}
	}
}
