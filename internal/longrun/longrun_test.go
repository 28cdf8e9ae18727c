package longrun

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file that cannot be written, or that is named twice, is refused before the run, and
// nothing is left behind.
func TestCheckOutputs(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "day.ndjson")
	if err := os.WriteFile(in, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(in, link); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		name string
		out  [][2]string
		want string // in the error; empty: none
	}{
		{"two new files", [][2]string{{"report", at("r.json")}, {"html", at("r.html")}}, ""},
		{"not given", [][2]string{{"report", ""}}, ""},
		{"a device twice", [][2]string{{"report", os.DevNull}, {"html", os.DevNull}}, ""},
		{"missing folder", [][2]string{{"report", at("none/r.json")}}, "--report"},
		{"a folder", [][2]string{{"html", dir}}, "--html"},
		{"below a file", [][2]string{{"diff", at("day.ndjson/x")}}, "--diff"},
		{"twice", [][2]string{{"report", at("r")}, {"html", at("r")}}, "want two files"},
		{"twice by another spelling", [][2]string{{"report", at("r")}, {"html", at("./x/../r")}}, "--html"},
		{"the input", [][2]string{{"report", in}}, "input"},
		{"a link to the input", [][2]string{{"report", link}}, "input"},
		{"one good, one bad", [][2]string{{"report", at("good")}, {"html", at("none/bad")}}, "--html"},
	} {
		var o Outputs
		for _, f := range c.out {
			o.Add(f[0], f[1])
		}
		err := o.Check(in)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v; want %q", c.name, err, c.want)
		}
		if err := o.Discard(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("got %v, %v; want the input and the link only", left, err)
	}
	if b, err := os.ReadFile(in); err != nil || string(b) != "{}\n" {
		t.Errorf("the input was changed: %q, %v", b, err)
	}
}

// Discard keeps what was written and what existed before.
func TestDiscardKeepsWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	written, empty := filepath.Join(dir, "written"), filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var o Outputs
	o.Add("report", written)
	o.Add("html", empty)
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(written, func(w io.Writer) error { _, err := io.WriteString(w, "x"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := o.Discard(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{written, empty} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestBar(t *testing.T) {
	var out strings.Builder
	now := time.Unix(1000, 0)
	b := Bar{W: &out, Now: func() time.Time { return now }}
	b.Show(Step{What: "requests", Done: 0, Share: 0})
	now = now.Add(10 * time.Second)
	b.Show(Step{What: "requests", Done: 2000, Share: 0.25})
	b.Show(Step{What: "requests", Done: 2001, Share: 0.251}) // too soon
	now = now.Add(time.Second)
	b.Show(Step{What: "requests", Done: 2200}) // the share is not known
	b.End()
	b.End()
	for _, want := range []string{"[#####...............]  25 %  2000 requests, 200/s, 30s left", "\r2200 requests, 200/s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %q; want %q in it", out.String(), want)
		}
	}
	if strings.Contains(out.String(), "2001") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("got %q; want no update within 200 ms and one end of line", out.String())
	}
	var none Bar
	none.Show(Step{What: "requests", Done: 1})
	none.End()
}
