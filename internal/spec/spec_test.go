package spec

import (
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "30m": 30 * time.Minute, "12h": 12 * time.Hour, "7d": 168 * time.Hour,
		"4w": 672 * time.Hour, "1w2d3h": 219 * time.Hour, "1h30m": 90 * time.Minute, "0": 0, "0s": 0, "40ms": 40 * time.Millisecond, "1.5h": 90 * time.Minute} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "7", "-1h", "-1d", "1d-1h", "1.5d", "2d1w", "99999d", "65535w", "1y", "7 d", strings.Repeat("9", 100) + "h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v; want an error", text, got)
		}
	}
}

func TestFormatDurationReadsBack(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 168 * time.Hour: "7d", 36 * time.Hour: "36h", 90 * time.Minute: "90m", 90 * time.Second: "1m30s", 1500 * time.Millisecond: "1.5s"} {
		got := FormatDuration(d)
		if back, err := ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%v: got %q, which reads as %v, %v; want %q", d, got, back, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	fields := []string{"bid", "edge", "admin", "public_url", "unknown_country"}
	for word, want := range map[string]string{"bdi": "bid", "edgge": "edge", "admin": "admin", "public-url": "public_url", "unknown_countries": "unknown_country",
		"x": "", "": "", "completely": "", strings.Repeat("a", 65): ""} {
		if got := Nearest(word, fields); got != want {
			t.Errorf("%q: got %q; want %q", word, got, want)
		}
	}
	if got := DidYouMean("edg", fields); got != "did you mean edge?" {
		t.Errorf("got %q", got)
	}
	if got := DidYouMean("zzz", fields); got != "" {
		t.Errorf("got %q; want nothing", got)
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d; want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{"a": true, "0-_9": true, strings.Repeat("a", 64): true, "": false, "A": false, "-a": false, "_a": false, "a b": false, "a/b": false,
		"\u00e4": false, strings.Repeat("a", 65): false} {
		if ValidID(id) != want {
			t.Errorf("%q: got %v; want %v", id, !want, want)
		}
	}
}
