package config

import (
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"rebound/internal/spec"
	"rebound/loadtest/scale"
)

// sized returns the files of a configuration with a number of lines.
func sized(t testing.TB, lines int) fstest.MapFS {
	t.Helper()
	files, err := scale.Files(scale.Options{Lines: lines})
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: text}
	}
	return fsys
}

// TestManyLines loads 10,000 lines with their audiences and creatives.
func TestManyLines(t *testing.T) {
	s, err := LoadFS(sized(t, 10_000), scale.Main, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Index.Lines()); n != 10_000 || s.Index.Live() != n {
		t.Errorf("got %d lines, %d of them live; want 10000", n, s.Index.Live())
	}
	if len(s.Audiences) != 2000 || len(s.Creatives) != 6000 {
		t.Errorf("got %d audiences and %d creatives; want 2000 and 6000", len(s.Audiences), len(s.Creatives))
	}
}

// TestManyRules loads audiences whose rules are several times larger than one fact of
// the log.
func TestManyRules(t *testing.T) {
	files, err := scale.Files(scale.Options{Lines: 2000, Audiences: 900, Products: 1000, Candidates: 350})
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: text}
	}
	s, err := LoadFS(fsys, scale.Main, Options{})
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, r := range s.AudienceSet.Rules() {
		size += len(r)
	}
	if size < 1<<20 {
		t.Errorf("%d bytes of rules; want more than a fact holds", size)
	}
}

// TestTooLargeFiles checks that the problems of the limits name the remedy, and that
// nothing follows from the part that was not read.
func TestTooLargeFiles(t *testing.T) {
	small := "version: 1\ninclude: large.yaml\n"
	for name, c := range map[string]struct{ text, want string }{
		"one file": {"# " + strings.Repeat("x", maxFileBytes), "larger than 64MiB; want smaller files"},
		"depth":    {"version: 1\nadvertisers: " + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), "more than 64 levels"},
	} {
		fsys := fstest.MapFS{"c.yaml": {Data: []byte(small)}, "large.yaml": {Data: []byte(c.text)}}
		_, err := LoadFS(fsys, "c.yaml", Options{})
		problems, _ := err.(spec.Problems)
		if len(problems) != 1 || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: got %v; want one problem with %q", name, err, c.want)
		}
	}
}

// BenchmarkLoad loads configurations of realistic lines. live-MB is the memory that
// a loaded configuration keeps, and heap-MB what loading it needs in addition to its
// files.
func BenchmarkLoad(b *testing.B) {
	for name, lines := range map[string]int{"1k": 1000, "10k": 10_000} {
		b.Run(name, func(b *testing.B) {
			fsys := sized(b, lines)
			var before, after, live runtime.MemStats
			var s *Snapshot
			for b.Loop() {
				s = nil
				runtime.GC()
				runtime.ReadMemStats(&before)
				var err error
				if s, err = LoadFS(fsys, scale.Main, Options{}); err != nil {
					b.Fatal(err)
				}
				runtime.ReadMemStats(&after)
				runtime.GC()
				runtime.ReadMemStats(&live)
			}
			b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/1e6, "heap-MB")
			b.ReportMetric(float64(live.HeapAlloc-before.HeapAlloc)/1e6, "live-MB")
			runtime.KeepAlive(s)
		})
	}
}
