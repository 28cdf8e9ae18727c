package spec

import (
	"math"
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

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "4096": 4096, "256KiB": 256 << 10, "20GiB": 20 << 30, "1 TiB": 1 << 40} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q: got %d, %v; want %d", text, b, err, want)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%q: got %q, which reads as %d", text, b, again)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1.5GiB", "20GB", "9999999999TiB", "1e3"} {
		if err := new(Bytes).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

func TestReport(t *testing.T) {
	var r Report
	words := []string{"even", "asap"}
	if i := r.OneOf("pacing", "asap", words); i != 1 || len(r.Problems) != 0 {
		t.Errorf("a known word: got %d, %v", i, r.Problems)
	}
	if i := r.OneOf("pacing", "evne", words); i != -1 {
		t.Errorf("an unknown word: got %d", i)
	}
	r.ID("id", "a-1")
	r.ID("id", "")
	r.Range("n", 5, 1, 5)
	r.Range("n", 6, 1, 5)
	r.Percent("pct", 100)
	r.Percent("pct", math.NaN())
	if !r.Known("feed", "main", "a feed", []string{"main"}) || r.Known("feed", "other", "a feed", []string{"main"}) {
		t.Error("got the wrong answer for a reference")
	}
	var all Report
	all.Warn("listen", "x", "y")
	all.Include(At("lines", 2), r)
	want := []string{
		`lines[2].pacing: got "evne"; want one of even, asap (did you mean even?)`,
		"lines[2].id: got nothing; want an id of a-z, 0-9, _ and -, at most 64 characters, that begins with a letter or digit",
		"lines[2].n: got 6; want 1 to 5",
		"lines[2].pct: got NaN; want a percentage from 0 to 100",
		`lines[2].feed: got "other"; want the id of a feed (one of main)`,
	}
	if len(all.Problems) != len(want) || len(all.Warnings) != 1 {
		t.Fatalf("got %v", all)
	}
	for i, p := range all.Problems {
		if p.String() != want[i] {
			t.Errorf("got %s; want %s", p, want[i])
		}
	}
	p := Problem{File: "a.yaml", Line: 3, Path: "x", Got: "1", Want: "2"}
	if got := (Problems{p}).Error(); got != "cannot load configuration: 1 problem\n  a.yaml:3: x: got 1; want 2" {
		t.Errorf("got %q", got)
	}
}

func TestJoin(t *testing.T) {
	for _, c := range [][3]string{{"", "a", "a"}, {"a", "", "a"}, {"a", "b", "a.b"}, {"a", "[0].b", "a[0].b"}, {"", "[0]", "[0]"}} {
		if got := Join(c[0], c[1]); got != c[2] {
			t.Errorf("%q and %q: got %q; want %q", c[0], c[1], got, c[2])
		}
	}
}
