package config

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/campaigns"
)

// shopWithSecrets writes the sample shop into a folder, with secrets in the file and from
// the environment, and loads it.
func shopWithSecrets(t *testing.T) (*Snapshot, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "shop", "rebound.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), "exchanges:\n")
	if !ok {
		t.Fatal("the sample shop has no exchanges")
	}
	extra := "  - {id: written, include: ../exchanges/generic.yaml, secret: 'sesame, open', seat: s, price_codec: hmac-sha1, price_unit: cpm_micros, price_keys: [{encryption: " +
		strings.Repeat("Zm9v", 10) + "Zm8=, integrity: \"${INTEGRITY}\"}]}\n  - {id: named, include: \"builtin:generic\", secret: \"${SECRET}\", seat: s}\n"
	if err := os.WriteFile(file, []byte(before+"exchanges:\n"+extra+after), 0o600); err != nil {
		t.Fatal(err)
	}
	return loadShop(t, file), file
}

func loadShop(t *testing.T, file string) *Snapshot {
	t.Helper()
	s, err := Load(file, Options{Getenv: func(name string) (string, bool) {
		v := map[string]string{"SECRET": "from the environment", "INTEGRITY": strings.Repeat("YmFy", 10) + "YmE="}[name]
		return v, v != ""
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An archived configuration is the same as the activated one, except for its secrets, of
// which the archive has none.
func TestArchive(t *testing.T) {
	s, _ := shopWithSecrets(t)
	a := &Archive{Dir: filepath.Join(t.TempDir(), "configs")}
	id, err := a.Put(s, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	back, m, err := a.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range Diff(s, back) {
		if !strings.Contains(line, "secret") && !strings.Contains(line, "price_keys") {
			t.Errorf("differs: %s", line)
		}
	}
	if m.Config != s.Hash || len(back.Index.Lines()) != len(s.Index.Lines()) || back.FeedIndex["main"].Sum != s.FeedIndex["main"].Sum {
		t.Errorf("got %+v; want the inputs of %s", m, s.Hash)
	}
	for name, text := range archivedTexts(t, a.Dir) {
		for _, secret := range []string{"sesame", "Zm9vZm9v", "YmFyYmFy", "from the environment"} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s contains the secret %q", name, secret)
			}
		}
	}
}

func archivedTexts(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	texts := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				return err
			}
		}
		texts[name], err = io.ReadAll(r)
		return err
	})
	if err != nil || len(texts) < 4 {
		t.Fatalf("got %d files, %v; want several", len(texts), err)
	}
	return texts
}

// The same inputs are stored once, an approval makes another activation out of the same
// files, and a feed that changed since it was loaded is refused.
func TestArchiveKeepsInputsApart(t *testing.T) {
	s, file := shopWithSecrets(t)
	a := &Archive{Dir: filepath.Join(t.TempDir(), "configs")}
	now := time.Now()
	first, err := a.Put(s, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.Put(loadShop(t, file), nil, now.Add(time.Minute)); err != nil || again != first {
		t.Errorf("got %s, %v; want %s again", again, err, first)
	}
	approved, err := a.Put(s, []campaigns.Approval{{Creative: s.Creatives[0].ID, Exchange: "demo", State: campaigns.ApprovalRejected}}, now)
	if err != nil || approved == first {
		t.Fatalf("got %s, %v; want another id than %s", approved, err, first)
	}
	if _, m, err := a.Load(approved); err != nil || len(m.Approvals) != 1 {
		t.Errorf("got %+v, %v; want the approval", m, err)
	}
	feed := filepath.Join(filepath.Dir(file), "products.tsv")
	text, err := os.ReadFile(feed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(feed, append(text, "\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := &Archive{Dir: filepath.Join(t.TempDir(), "configs")}
	if _, err := fresh.Put(s, nil, now); err == nil || !strings.Contains(err.Error(), "products.tsv: it has changed") {
		t.Errorf("got %v; want an error that names the feed", err)
	}
	if left, err := filepath.Glob(filepath.Join(fresh.Dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("got %v, %v; want nothing left", left, err)
	}
	if other, err := a.Put(loadShop(t, file), nil, now); err != nil || other == first {
		t.Errorf("got %s, %v; want another id for another feed", other, err)
	}
}

// Activations that were not in use since a time are removed, but not the one to keep.
func TestArchiveExpires(t *testing.T) {
	s, _ := shopWithSecrets(t)
	a := &Archive{Dir: filepath.Join(t.TempDir(), "configs")}
	now := time.Now()
	var ids []string
	for i, used := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Hour} {
		id, err := a.Put(s, []campaigns.Approval{{Creative: "c", Exchange: strings.Repeat("x", i)}}, now.Add(-used))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	left := filepath.Join(a.Dir, temporary+"1")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	old := now.Add(-3 * time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Expire(ids[0], now.Add(-90*time.Minute)); err != nil || n != 1 {
		t.Errorf("removed %d, %v; want 1", n, err)
	}
	for i, want := range []bool{true, false, true} {
		if _, err := a.Read(ids[i]); (err == nil) != want {
			t.Errorf("activation %d: %v; want it kept: %v", i, err, want)
		}
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("an incomplete activation is left")
	}
}

// Replay takes the configuration that was in use last.
func TestLastArchived(t *testing.T) {
	s, file := shopWithSecrets(t)
	a := &Archive{Dir: filepath.Join(t.TempDir(), "configs")}
	if id := a.Last(); id != "" {
		t.Errorf("got %q; want none", id)
	}
	noon := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	first, err := a.Put(s, nil, noon)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, "\n# changed\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := a.Put(loadShop(t, file), nil, noon.Add(time.Hour))
	if err != nil || second == first {
		t.Fatalf("got %q twice, error %v", second, err)
	}
	if id := a.Last(); id != second {
		t.Errorf("got %q; want the one that was activated last, %q", id, second)
	}
	if err := a.Use(first, noon.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if id := a.Last(); id != first {
		t.Errorf("got %q; want the one that was in use last, %q", id, first)
	}
}
