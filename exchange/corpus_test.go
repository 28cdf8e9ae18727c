package exchange

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"unicode/utf8"

	"rebound/internal/conformance"
)

// corpusFile opens a file of the shared corpus in a folder next to the project or
// above it, and skips the test if there is none.
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

// testProfile returns the generic profile with a test's changes.
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

// Every request of the corpus is decoded. Those that cannot be bid on have two
// inventories, two impressions with the same id, or no format.
func TestCorpusDecodes(t *testing.T) {
	conformance.Covers(t, "V4")
	p := testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })
	refused := map[error]int{}
	lines := corpusLines(t, "requests.jsonl")
	for i, line := range lines {
		o, err := decoded(t, p, line)
		if err != nil {
			refused[err]++
		}
		if errors.Is(err, ErrMalformed) {
			t.Errorf("line %d: %v", i+1, err)
		}
		if err == nil && (len(o.ID) == 0 || len(o.Imps) == 0) {
			t.Errorf("line %d: read without id or impressions", i+1)
		}
	}
	want := map[error]int{ErrTwoInventories: 10, ErrNoUsableImp: 6, ErrDuplicateImp: 2}
	if !reflect.DeepEqual(refused, want) {
		t.Errorf("%d lines, refused %v; want %v", len(lines), refused, want)
	}
}

// A hostile body is refused exactly if it is not a JSON object in UTF-8 with an id and
// impressions, and nothing panics.
func TestHostileCorpus(t *testing.T) {
	conformance.Covers(t, "V11")
	p := testProfile(t, nil)
	for _, c := range hostileCases(t) {
		_, err := decoded(t, p, c.body)
		text := bytes.TrimPrefix(c.body, []byte("\xef\xbb\xbf"))
		valid := json.Valid(text) && utf8.Valid(text)
		var object struct {
			ID  any
			Imp []any
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		usable := valid && dec.Decode(&object) == nil && object.ID != nil && object.ID != "" && len(object.Imp) > 0
		if malformed := errors.Is(err, ErrMalformed); malformed == usable {
			t.Errorf("%s (%s; want %s): got %v", c.Name, c.Kind, c.Expect, err)
		}
	}
}

// Texts with bytes changed, removed or duplicated are refused exactly if encoding/json
// refuses them.
func TestSyntaxMutations(t *testing.T) {
	p := testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })
	rng := rand.New(rand.NewPCG(8259, 1))
	bases := [][]byte{[]byte(requestR0), benchBody(t, "app"), imp0(`"native":{"request":"{\"a\":[1e-5,\u0041]}"},"x":[[],{},-0.5e+7,true,false,null,"\ud83d\ude00é"]`)}
	const bytesOfJSON = `{}[]":,\/u0123e+-.tfn` + " \n\t\x00\x1f\x7f\xc3\xa9\xff"
	var d Decoder
	refused := 0
	for n := range 60_000 {
		body := bytes.Clone(bases[n%len(bases)])
		for range 1 + rng.IntN(2) {
			i := rng.IntN(len(body))
			switch rng.IntN(4) {
			case 0:
				body[i] = bytesOfJSON[rng.IntN(len(bytesOfJSON))]
			case 1:
				body = append(body[:i], body[i+1:]...)
			case 2:
				body = append(body[:i], append([]byte{bytesOfJSON[rng.IntN(len(bytesOfJSON))]}, body[i:]...)...)
			case 3:
				body = append(body[:i], body[min(len(body), i+rng.IntN(8)):]...)
			}
			if len(body) == 0 {
				break
			}
		}
		err, syntax := verdict(&d, p, body)
		if syntax {
			refused++
		}
		if valid := json.Valid(body) && utf8.Valid(body); valid == syntax && err != ErrNotObject {
			t.Fatalf("got %v; encoding/json says valid %v: %q", err, valid, body)
		}
	}
	if refused < 10_000 || refused > 55_000 {
		t.Errorf("%d of 60000 refused: the mutations test too little", refused)
	}
}
