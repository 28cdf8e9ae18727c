package journal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebound/events"
)

// TestLostBlindFile removes blind.json: the bidder stays blind until a command
// says that it no longer is.
func TestLostBlindFile(t *testing.T) {
	r := newRig(t)
	facts, path := r.o.dirOfFacts(), filepath.Join(r.o.Dir, blindName)
	r.open()
	r.append("a", 5)
	r.close()
	lose := func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	wantMissed := func(when string) {
		t.Helper()
		r.open()
		if why := r.l.BlindReason(); !strings.Contains(why, path+" is missing") {
			t.Errorf("%s: got %q; want that the file is missing", when, why)
		}
		r.close()
		blind, err := ReadBlind(r.o.Dir)
		if err != nil || blind == nil || !blind.Unknown {
			t.Errorf("%s: got %+v, %v; want what had been seen unknown", when, blind, err)
		}
	}
	if err := WriteBlind(r.o.Dir, facts, "restored", 5, r.o.Now()); err != nil {
		t.Fatal(err)
	}
	lose()
	wantMissed("lost before the first start")
	lose()
	wantMissed("lost after a clean stop")
	if err := ClearBlind(r.o.Dir, facts); err != nil {
		t.Fatal(err)
	}
	r.open()
	if why := r.l.BlindReason(); why != "" {
		t.Errorf("cleared: got %q; want the log not blind", why)
	}
}

// TestChangedBlindFile changes every byte of blind.json: the file is no longer
// valid, or the change does not affect its meaning.
func TestChangedBlindFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, blindName)
	file := &Blind{V: 1, Reasons: []string{"facts <1> to 7 are gone"}, Seen: 7,
		Views: []BlindView{{Name: "money", Seq: 7, H: events.Hash{1}, Witness: json.RawMessage(`{"shop/small//total":231730}`)}}}
	if err := writeBlindFile(osDisk{}, dir, file); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadBlind(dir); err != nil || got.Unknown || got.sum() != file.sum() {
		t.Fatalf("got %+v, %v; want what was written", got, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			text[i] ^= 1 << bit
			got, err := ReadBlind(dir)
			if err != nil || got == nil || !got.Unknown && got.sum() != file.sum() {
				t.Fatalf("bit %d of byte %d: got %+v, %v; want what had been seen unknown", bit, i, got, err)
			}
		}
	}
}
