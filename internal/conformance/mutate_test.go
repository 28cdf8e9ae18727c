package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mutation is a rule taken out of the source: Old, which the file holds exactly
// once, becomes New. The test must fail then.
type mutation struct {
	Rule string `yaml:"rule"`
	File string `yaml:"file"`
	Old  string `yaml:"old"`
	New  string `yaml:"new"`
	Also []edit `yaml:"also"` // where a rule is guarded more than once
	// Package is the folder of the test; default: the file's.
	Package string `yaml:"package"`
	// Test is a pattern of go test -run.
	Test string `yaml:"test"`
}

type edit struct {
	File string `yaml:"file"` // default: the mutation's
	Old  string `yaml:"old"`
	New  string `yaml:"new"`
}

func (m *mutation) dir() string {
	if m.Package != "" {
		return m.Package
	}
	return filepath.Dir(m.File)
}

// sum names a mutation in disabled.txt, so that a result is not taken for
// another row's.
func (m *mutation) sum() string {
	words := []string{m.Rule, m.dir(), m.Test}
	for _, e := range m.edits() {
		words = append(words, e.File, e.Old, e.New)
	}
	h := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(h[:6])
}

func (m *mutation) edits() []edit {
	list := []edit{{m.File, m.Old, m.New}}
	for _, e := range m.Also {
		if e.File == "" {
			e.File = m.File
		}
		list = append(list, e)
	}
	return list
}

// apply gives the files with the rule taken out.
func (m *mutation) apply() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, e := range m.edits() {
		text, ok := files[e.File]
		if !ok {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, e.File)); err != nil {
				return nil, err
			}
		}
		if n := bytes.Count(text, []byte(e.Old)); n != 1 || e.Old == e.New {
			return nil, fmt.Errorf("%s: %s holds the text %d times; want once, and another text instead:\n%s", m.Rule, e.File, n, e.Old)
		}
		files[e.File] = bytes.Replace(text, []byte(e.Old), []byte(e.New), 1)
	}
	return files, nil
}

func readMutations(t testing.TB) (list []mutation) {
	t.Helper()
	readYAML(t, "mutations.yaml", &list)
	return list
}

// needsProve skips a test that only make prove and make stale run.
func needsProve(t testing.TB) {
	t.Helper()
	if os.Getenv("PROVE") == "" {
		t.Skip("runs with PROVE=1")
	}
}

// provenSections are those whose musts must fail when they are disabled.
var provenSections = []string{"P", "B", "BN", "VD", "NA", "R", "M", "G"}

// TestProveRowsFit reports the rows of mutations.yaml that no longer match the
// source, and the musts of provenSections that have no row. It runs with PROVE=1
// only (make stale, make prove): a renamed function must not fail an ordinary test.
func TestProveRowsFit(t *testing.T) {
	needsProve(t)
	sections, byID := readRules(t)
	have := map[string]bool{}
	for _, m := range readMutations(t) {
		if _, ok := byID[m.Rule]; !ok {
			t.Errorf("%s is no rule", m.Rule)
		}
		have[m.Rule] = true
		files, err := m.apply()
		if err != nil || m.Test == "" {
			t.Errorf("%s, test %q: %v", m.Rule, m.Test, err)
		}
		for name, text := range files {
			if _, err := parser.ParseFile(token.NewFileSet(), name, text, 0); err != nil {
				t.Errorf("%s: %v", m.Rule, err)
			}
		}
	}
	for _, s := range sections {
		for _, r := range s.Rules {
			if slices.Contains(provenSections, s.ID) && r.Priority == "must" && r.Open == "" && !have[r.ID] {
				t.Errorf("%s is a must of section %s without a mutation in mutations.yaml", r.ID, s.ID)
			}
		}
	}
}

const (
	disabledFile  = "disabled.txt"
	failsAsItMust = "fails"
)

// disabledRows is what disabled.txt says, by rule and row.
func disabledRows(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile(disabledFile)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	words := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.SplitN(strings.TrimSpace(line), " ", 3); len(f) == 3 && f[0] != "#" {
			words[f[0]+" "+f[1]] = f[2]
		}
	}
	return words
}

// disabledRules reads what the last proof found. A rule's word is the worst of
// its rows; a row that changed since then counts as not run.
func disabledRules(t testing.TB) map[string]string {
	t.Helper()
	words, found := disabledRows(t), map[string]string{}
	for _, m := range readMutations(t) {
		word := words[m.Rule+" "+m.sum()]
		if word == "" {
			word = "not run"
		}
		if before := found[m.Rule]; before == "" || before == failsAsItMust {
			found[m.Rule] = word
		}
	}
	return found
}

// TestProveDisabled disables each rule in turn, in an overlay of the source, and
// expects its test to fail. It takes minutes: PROVE=1 runs it, PROVE_RULES with a
// list of rules runs those, and with the word missing those without a result.
func TestProveDisabled(t *testing.T) {
	needsProve(t)
	list := readMutations(t)
	if only := os.Getenv("PROVE_RULES"); only == "missing" {
		words := disabledRows(t)
		list = slices.DeleteFunc(list, func(m mutation) bool { return words[m.Rule+" "+m.sum()] == failsAsItMust })
	} else if only != "" {
		list = slices.DeleteFunc(list, func(m mutation) bool { return !slices.Contains(strings.Split(only, ","), m.Rule) })
	}
	p := prover{t: t, dir: t.TempDir(), table: readMutations(t), words: map[string]string{}}
	p.proveSound(list)
	work := make(chan mutation)
	var group sync.WaitGroup
	for worker := range 2 {
		group.Go(func() {
			for m := range work {
				word, err := p.disable(worker, &m)
				if err != nil {
					word = "cannot say"
					t.Errorf("%s: %v", m.Rule, err)
				} else if word != failsAsItMust {
					t.Errorf("%s: %s passes although %s lacks:\n%s", m.Rule, m.Test, m.File, m.Old)
				}
				p.note(&m, word)
			}
		})
	}
	for _, m := range list {
		work <- m
	}
	close(work)
	group.Wait()
}

type prover struct {
	t     *testing.T
	dir   string
	table []mutation // all rows, in their order
	mu    sync.Mutex
	words map[string]string
}

func (p *prover) note(m *mutation, word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.words[m.Rule+" "+m.sum()] = word
	p.write() // at once: a proof that is stopped has shown what it has
}

// proveSound runs every test with the source as it is: what fails then says
// nothing.
func (p *prover) proveSound(list []mutation) {
	tests := map[string]map[string]bool{}
	for _, m := range list {
		if tests[m.dir()] == nil {
			tests[m.dir()] = map[string]bool{}
		}
		tests[m.dir()][m.Test] = true
	}
	for _, dir := range slices.Sorted(maps.Keys(tests)) {
		binary := filepath.Join(p.dir, "sound.test")
		if err := p.build(binary, dir, ""); err != nil {
			p.t.Fatal(err)
		}
		for _, test := range slices.Sorted(maps.Keys(tests[dir])) {
			out, err := p.run(binary, dir, test)
			if err != nil || !bytes.Contains(out, []byte("--- PASS")) {
				p.t.Fatalf("%s %s does not pass, or does not run, with the source as it is: %v\n%.3000s", dir, test, err, out)
			}
		}
	}
}

// disable runs a rule's test without the rule.
func (p *prover) disable(worker int, m *mutation) (string, error) {
	base := filepath.Join(p.dir, fmt.Sprintf("w%d", worker))
	if err := overlay(base, m); err != nil {
		return "", err
	}
	if err := p.build(base+".test", m.dir(), base+".json"); err != nil {
		return "", err
	}
	out, err := p.run(base+".test", m.dir(), m.Test)
	switch {
	case bytes.Contains(out, []byte("\npanic:")):
		return "", fmt.Errorf("the test panics or hangs:\n%.3000s", out)
	case err == nil:
		return "still passes", nil
	case !bytes.Contains(out, []byte("--- FAIL")):
		return "", fmt.Errorf("the test did not run: %v\n%.3000s", err, out)
	}
	return failsAsItMust, nil
}

// overlay writes what go build -overlay wants: base.json, and the changed files
// beside it.
func overlay(base string, m *mutation) error {
	files, err := m.apply()
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(files)) {
		file, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			return err
		}
		replace[file] = fmt.Sprintf("%s-%d.go", base, i)
		if err := os.WriteFile(replace[file], files[name], 0o600); err != nil {
			return err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(base+".json", text, 0o600)
}

func (p *prover) build(binary, dir, overlay string) error {
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary} // linking is most of the time
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "go", append(args, "./"+filepath.ToSlash(dir))...)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the test: %w\n%s", err, out)
	}
	return nil
}

func (p *prover) run(binary, dir, test string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binary, "-test.v", "-test.run", test, "-test.timeout", "2m")
	c.Dir = filepath.Join(root, dir)
	c.Env = append(os.Environ(), "PROVE=", ResultsEnv+"=")
	return c.CombinedOutput()
}

// write writes what is known, in the order of the table; results of rows that
// were not run now are kept.
func (p *prover) write() {
	for key, word := range disabledRows(p.t) {
		if p.words[key] == "" {
			p.words[key] = word
		}
	}
	out := "# rule, row of mutations.yaml, what its test did; written by TestProveDisabled\n"
	for _, m := range p.table {
		if word := p.words[m.Rule+" "+m.sum()]; word != "" {
			out += m.Rule + " " + m.sum() + " " + word + "\n"
		}
	}
	if err := os.WriteFile(disabledFile, []byte(out), 0o644); err != nil {
		p.t.Errorf("cannot write what was found: %v", err)
	}
}
