package events

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// read collects ids and errors.
func read(text string) (ids, errs []string) {
	for f, err := range ReadFacts("f", strings.NewReader(text)) {
		if err != nil {
			errs = append(errs, err.Error())
			continue
		}
		ids = append(ids, f.ID)
	}
	return ids, errs
}

// chainOf returns lines of ticks with these ids, each chained to the one before it.
func chainOf(t testing.TB, ids ...string) []string {
	t.Helper()
	lines := make([]string, len(ids))
	var previous Hash
	for i, id := range ids {
		l := lineOf(t, &Fact{Seq: uint64(i + 1), ID: id, Kind: KindTick, TS: time.Unix(7, 0).UTC(), At: time.Unix(7, 0).UTC()}, previous)
		lines[i], previous = string(l.Append(nil)), l.Hash
	}
	return lines
}

// A bad line is named by its place and the rest is read; a torn last line is
// known as such.
func TestReadFacts(t *testing.T) {
	lines := chainOf(t, "a", "b")
	a, b := lines[0], lines[1]
	long := `{"v":1,"id":"` + strings.Repeat("x", MaxLine) + `"}`
	large := chainOf(t, "a", strings.Repeat("y", 1<<20))
	for name, c := range map[string]struct {
		text, ids, errs string
	}{
		"empty":          {"", "[]", ""},
		"blank lines":    {"\n" + a + "\r\n\n  \n" + b + "\n\n", "[a b]", ""},
		"header":         {string(Header{Log: "l", First: 1}.Append(nil)) + a + "\n" + b + "\n", "[a b]", ""},
		"edited number":  {a + "\n" + strings.Replace(b, `:07Z`, `:08Z`, 1) + "\n", "[a]", "f:2: cannot read fact 2: its hash does not fit"},
		"line left out":  {string(Header{Log: "l", First: 1}.Append(nil)) + b + "\n", "[]", "f:2: cannot read fact 2: its hash does not fit"},
		"no last end":    {a + "\n" + b, "[a b]", ""},
		"torn":           {a + "\n" + b[:20], "[a]", "f:2: torn last line"},
		"bad in between": {a + "\nnonsense\n" + b + "\n", "[a b]", "f:2: cannot read fact"},
		"zeros":          {a + "\n\x00\x00\x00\n" + b + "\n", "[a b]", "f:2: cannot read fact"},
		"not a fact":     {`{"v":1}` + "\n" + b + "\n", "[b]", "f:1: cannot read fact: not a line of the log"},
		"too long":       {a + "\n" + long + "\n" + b + "\n", "[a b]", "f:2: cannot read line"},
		"long and torn":  {a + "\n" + long, "[a]", "f:2: cannot read line"},
		"large line":     {large[0] + "\n" + large[1] + "\n", "[a " + strings.Repeat("y", 1<<20) + "]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ids, errs := read(c.text)
			if fmt.Sprint(ids) != c.ids || len(errs) > 1 || !strings.HasPrefix(strings.Join(errs, ""), c.errs) || c.errs == "" && errs != nil {
				t.Errorf("got %v, %.200q; want %s, %q", ids, errs, c.ids, c.errs)
			}
		})
	}
	for _, err := range ReadFacts("f", strings.NewReader(a[:9])) {
		var line *LineError
		if !errors.Is(err, ErrTorn) || !errors.As(err, &line) || line.Line != 1 {
			t.Errorf("got %v; want ErrTorn on line 1", err)
		}
	}
	for _, err := range ReadFacts("f", iotest.ErrReader(fs.ErrPermission)) {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v; want the reader's error", err)
		}
	}
}

// Files are read in the order of their names, packed or plain, each once.
func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, id string) {
		t.Helper()
		text := fmt.Sprintf(`{"id":"1","imp":[{"id":%q}]}`+"\n", id)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("x/bids-2.ndjson", "2")
	put("y/bids-1.ndjson", "1")
	put("y/bids-3.ndjson", "3")
	if err := Pack(filepath.Join(dir, "y", "bids-3.ndjson")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "x", "bids-4.ndjson.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write([]byte(`{"v":1,"ts":"2026-10-01T08:00:00Z","exchange":"demo","request":{"imp":[{"id":"4"}]}}`)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var got []string
	files, err := OpenRecordFiles(filepath.Join(dir, "*", "bids-*"), filepath.Join(dir, "x", "bids-2.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	share := -1.0
	for r, err := range files.All() {
		if err != nil {
			t.Fatal(err)
		}
		if files.Share() <= share {
			t.Errorf("a share of %g was read after %g; want more", files.Share(), share)
		}
		share = files.Share()
		got = append(got, string(r.Request[len(r.Request)-5:len(r.Request)-4]))
	}
	if !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("got %v; want 1 2 3 4", got)
	}
	if share != 1 || len(files.Names()) != 4 {
		t.Errorf("a share of %g of %v was read; want all of four files", share, files.Names())
	}
	for _, name := range []string{filepath.Join(dir, "none-*"), "[", dir} {
		if _, err := OpenRecordFiles(name); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	for _, err := range ReadFactFile(filepath.Join(dir, "none")) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v; want fs.ErrNotExist", err)
		}
	}
}

// A damaged packed file yields the intact lines and then an error.
func TestReadDamagedPack(t *testing.T) {
	name := filepath.Join(t.TempDir(), "facts.ndjson")
	ids := make([]string, 20_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%d-%x", i, i*i*7919)
	}
	text := []byte(strings.Join(chainOf(t, ids...), "\n"))
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Pack(name); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(name + PackedEnd)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name+PackedEnd, st.Size()*2/3); err != nil {
		t.Fatal(err)
	}
	n, failed := 0, false
	for _, err := range ReadFactFile(name + PackedEnd) {
		if failed = err != nil; !failed {
			n++
		}
	}
	if n == 0 || n == 20_000 || !failed {
		t.Errorf("got %d facts and failed %v; want some, then an error", n, failed)
	}
}

// A byte-order mark hides neither the first line of a file nor that of a file which was
// appended to another.
func TestReadAfterByteOrderMark(t *testing.T) {
	const record = `{"v":1,"ts":"2026-10-01T08:00:00Z","exchange":"demo","request":{"imp":[{"id":"1"}]}}`
	const bare = `{"id":"1","imp":[{"id":"1"}]}`
	for _, text := range []string{
		"\ufeff" + record + "\n" + record, "\ufeff" + bare + "\r\n" + bare, "\ufeff\n" + record + "\n" + record, "\ufeff \t" + record + "\n" + bare,
		record + "\n\ufeff" + record + "\n", "\ufeff" + bare + "\n\ufeff" + bare,
	} {
		n := 0
		for r, err := range ReadRecords("test", strings.NewReader(text)) {
			if err != nil || len(r.Request) == 0 {
				t.Errorf("%q: %v", text, err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%q: got %d records; want 2", text, n)
		}
	}
}
