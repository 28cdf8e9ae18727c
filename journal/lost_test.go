package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rebound/events"
)

// TestLostEndIsNotProven removes the newest file of a log that no view has read. The
// bidder that starts there is blind, and its new facts continue above the lost
// ones: a high last sequence does not make the log complete.
func TestLostEndIsNotProven(t *testing.T) {
	r := newRig(t)
	r.open()
	r.append("kept", 5)
	r.close()
	r.open()
	r.append("lost", 5)
	whole := filepath.Join(r.o.Dir, "whole")
	r.close()
	if err := os.CopyFS(whole, os.DirFS(r.o.dirOfFacts())); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.newest()); err != nil {
		t.Fatal(err)
	}
	r.open()
	if r.l.BlindReason() == "" {
		t.Fatal("the end of the log is gone; want the log to say so")
	}
	r.append("new", 20)
	r.close()

	proven := func(dir string) bool {
		t.Helper()
		blind, err := ReadBlind(r.o.Dir)
		if err != nil || blind == nil {
			t.Fatalf("got %v, %v; want blind.json", blind, err)
		}
		ok, err := Proven(dir, blind)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if proven(r.o.dirOfFacts()) {
		t.Error("the log leaves out facts that had been seen; want it not proven")
	}
	if !proven(whole) {
		t.Error("the whole log holds everything that had been seen; want it proven")
	}
	if _, err := AcceptDamage(r.o.dirOfFacts()); err != nil {
		t.Fatal(err)
	}
	if !proven(r.o.dirOfFacts()) {
		t.Error("the loss was accepted; want the log proven")
	}
}

// TestRepeatsAfterManyStarts appends a fact again after starts that each began a
// file: it is still written once.
func TestRepeatsAfterManyStarts(t *testing.T) {
	r := newRig(t)
	r.open()
	r.append("first", 3)
	for range 5 {
		r.close()
		r.open()
		r.append("more", 2)
	}
	r.close()
	r.open()
	r.append("first", 3)
	v := newTape("tape")
	r.follow(v)
	v.want(t, "first:3", "more:2")
}

// dirOfFacts is the folder of facts of a rig's options.
func (o *Options) dirOfFacts() string { return filepath.Join(o.Dir, "log", "facts") }

// newest returns the newest file of the log that holds facts.
func (r *rig) newest() string {
	r.t.Helper()
	c, err := openCatalog(osDisk{}, r.o.dirOfFacts())
	if err != nil {
		r.t.Fatal(err)
	}
	files, _ := c.snapshot()
	for _, f := range slices.Backward(files) {
		if e, err := c.readEnd(&f, 0, nil); err == nil && e.good != (events.Position{Seq: f.header.After, Hash: f.header.Previous, Time: f.header.At}) {
			return c.path(f.name())
		}
	}
	r.t.Fatal("got no file with facts")
	return ""
}
