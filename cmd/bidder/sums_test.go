package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSums holds approvals.json to its sum, byte by byte.
func TestSums(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := func(when string) {
		t.Helper()
		if err := checkSums(dir); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	good("an empty folder")
	write("approvals.json", `[]`)
	good("no sums yet")
	if err := noteSums(dir); err != nil {
		t.Fatal(err)
	}
	good("noted")
	if err := replaceSummed(dir, "approvals.json", []byte(`[{"creative":"card"}]`)); err != nil {
		t.Fatal(err)
	}
	good("replaced")

	for _, name := range []string{"approvals.json", sumsName} {
		text := read(name)
		for i := range text {
			changed := bytes.Clone(text)
			changed[i] ^= 1
			write(name, string(changed))
			if err := checkSums(dir); err == nil || !strings.Contains(err.Error(), sumsName) {
				t.Errorf("%s with another byte %d: got %v; want it refused", name, i, err)
			}
		}
		write(name, string(text))
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := checkSums(dir); (err == nil) != (name == sumsName) {
			t.Errorf("%s is missing: got %v", name, err)
		}
		write(name, string(text))
	}
}

// TestSumsWhileReplacing leaves a folder as a crash does before and after the file
// is in place: both can be used.
func TestSumsWhileReplacing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "approvals.json")
	sums := fileSums{"approvals.json": {sumOf([]byte("old")), sumOf([]byte("new"))}}
	if err := writeSums(dir, sums); err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{"old": true, "new": true, "other": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkSums(dir); (err == nil) != good {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
