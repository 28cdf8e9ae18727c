package exchange

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"rebound/rtb"
)

// corpusFile finds a shared corpus file beside the project or above it; the
// test is skipped where there is none.
func corpusFile(t testing.TB, name string) *os.File {
	t.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		f, err := os.Open(filepath.Join(dir, "shared", "corpus", name))
		if err == nil {
			t.Cleanup(func() { f.Close() })
			return f
		}
		if abs, _ := filepath.Abs(dir); abs == "/" {
			t.Skip("no shared corpus here")
		}
	}
}

func corpusLines(t testing.TB, name string) [][]byte {
	t.Helper()
	var lines [][]byte
	sc := bufio.NewScanner(corpusFile(t, name))
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		lines = append(lines, append([]byte(nil), sc.Bytes()...))
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

type hostileCase struct {
	Name, Kind, Expect string
	Headers            map[string]string
	B64                string
	body               []byte
}

func hostileCases(t testing.TB) []hostileCase {
	t.Helper()
	var out []hostileCase
	for _, line := range corpusLines(t, "hostile.jsonl") {
		var c hostileCase
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(c.B64)
		if err != nil {
			t.Fatal(err)
		}
		c.body = b
		out = append(out, c)
	}
	return out
}

// testProfile is the generic profile with what a test asks for.
func testProfile(t testing.TB, change func(*ProfileSpec)) *Profile {
	t.Helper()
	spec := ProfileSpec{ID: "demo", Seat: "seat-1"}
	if change != nil {
		change(&spec)
	}
	p, problems := spec.Compile()
	if len(problems) > 0 {
		t.Fatalf("cannot compile profile: %v", problems)
	}
	return p
}

// Every request of the corpus is read: none of them is malformed.
func TestCorpusDecodes(t *testing.T) {
	p := testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })
	var d Decoder
	var o rtb.Opportunity
	refused := map[string]int{}
	lines := corpusLines(t, "requests.jsonl")
	for i, line := range lines {
		if err := d.Head(line, p, &o); err != nil {
			refused["head: "+err.Error()]++
			t.Logf("line %d: %v: %.200s", i+1, err, line)
			continue
		}
		if err := d.Rest(p, &o); err != nil {
			refused["rest: "+err.Error()]++
			t.Logf("line %d: %v: %.300s", i+1, err, line)
		}
	}
	t.Logf("%d lines, refused %v", len(lines), refused)
}

// Hostile bodies never panic.
func TestHostileCorpus(t *testing.T) {
	p := testProfile(t, nil)
	var d Decoder
	var o rtb.Opportunity
	for _, c := range hostileCases(t) {
		err := d.Head(c.body, p, &o)
		if err == nil {
			err = d.Rest(p, &o)
		}
		valid := json.Valid(c.body)
		if !valid && err == nil {
			t.Errorf("%s: accepted, but is no JSON", c.Name)
		}
		t.Logf("%-60s valid=%-5v %v", c.Name, valid, err)
	}
}
