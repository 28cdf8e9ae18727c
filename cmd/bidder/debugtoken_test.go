package main

import (
	"testing"
	"time"
)

// A debug token is valid until its expiry and never after it, and only as it was signed.
func TestDebugToken(t *testing.T) {
	key, now := []byte("key"), time.Unix(1_800_000_000, 0)
	token := debugToken(key, now.Add(10*time.Minute))
	for name, c := range map[string]struct {
		key   string
		token string
		at    time.Time
		want  bool
	}{
		"fresh":          {"key", token, now, true},
		"last second":    {"key", token, now.Add(10*time.Minute - time.Second), true},
		"expired":        {"key", token, now.Add(10 * time.Minute), false},
		"long expired":   {"key", token, now.Add(1000 * time.Hour), false},
		"another key":    {"other", token, now, false},
		"longer":         {"key", "1800009999" + token[10:], now, false},
		"rewritten":      {"key", "+" + token, now, false},
		"signature cut":  {"key", token[:len(token)-1], now, false},
		"no signature":   {"key", token[:11], now, false},
		"nothing":        {"key", "", now, false},
		"too far ahead":  {"key", debugToken(key, now.Add(25*time.Hour)), now, false},
		"almost too far": {"key", debugToken(key, now.Add(24*time.Hour)), now, true},
	} {
		if got := debugTokenValid([]byte(c.key), c.token, c.at); got != c.want {
			t.Errorf("%s: got %t; want %t", name, got, c.want)
		}
	}
}
