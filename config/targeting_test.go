package config

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebound/examples"
)

// The sample of targeting is good, names every list file, and its hash is of their
// content too.
func TestTargetingSample(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	s, err := LoadFS(examples.FS, "targeting/rebound.yaml", Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if s.Supply == nil || len(s.Index.Lines()) != 5 || len(s.Lists()) != 8 || len(s.Approvals) != 2 {
		t.Errorf("got supply %v, %d lines, lists %v, approvals %v", s.Supply != nil, len(s.Index.Lines()), s.Lists(), s.Approvals)
	}
	for _, w := range s.Warnings {
		if !strings.Contains(w.Path, "secret") && w.Path != "privacy.unknown_country" {
			t.Errorf("got a warning: %v", w)
		}
	}
	for _, l := range s.Index.Lines() {
		if asks := l.Targeting != nil; !asks {
			t.Errorf("line %s: got nothing asked; the advertiser's safety holds for all", l.ID.Line)
		}
	}
}

// A list that changes makes another configuration of it, and the diff says so; one
// that does not is taken over.
func TestListsReload(t *testing.T) {
	mod := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	files := fstest.MapFS{
		"c.yaml":       {Data: []byte("version: 1\nsupply: {block_domains: [\"file:lists/a.txt\"]}\nexchanges: [{id: demo, seat: s}]\n")},
		"lists/a.txt":  {Data: []byte("one.example\n"), ModTime: mod},
		"lists/unused": {Data: []byte("two.example\n"), ModTime: mod},
	}
	load := func(previous *Snapshot) *Snapshot {
		t.Helper()
		s, err := LoadFS(files, "c.yaml", Options{Previous: previous})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := load(nil)
	if got := a.Lists(); len(got) != 1 || got[0] != "lists/a.txt" {
		t.Fatalf("got lists %v", got)
	}
	if b := load(a); b.Hash != a.Hash || len(Diff(a, b)) != 0 {
		t.Errorf("nothing changed: got hash %s, was %s; %v", b.Hash, a.Hash, Diff(a, b))
	}
	files["lists/a.txt"] = &fstest.MapFile{Data: []byte("one.example\ntwo.example\n"), ModTime: mod.Add(time.Second)}
	c := load(a)
	if d := Diff(a, c); c.Hash == a.Hash || len(d) != 1 || d[0] != "list lists/a.txt: 1 rows -> 2 rows" {
		t.Errorf("got hash %s, was %s; %v", c.Hash, a.Hash, d)
	}
}
