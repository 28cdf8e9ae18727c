package conformance

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// mutation is a row of mutations.yaml: a change that takes a rule out of the
// source, and the test that must fail then.
type mutation struct {
	Rule string `yaml:"rule"`
	edit `yaml:",inline"`
	Also []edit `yaml:"also"` // where a rule is enforced in more than one place
	// Package is the folder of the test; default: the folder of the declaration.
	Package string `yaml:"package"`
	// Test is a pattern for go test -run.
	Test string `yaml:"test"`
}

// edit replaces one expression or statement of a declaration.
type edit struct {
	In      string `yaml:"in"`      // folder.Function, folder.Type.Method or folder.variable
	At      string `yaml:"at"`      // address of the place, see find
	Becomes string `yaml:"becomes"` // $ is the original; empty removes a statement
}

func (e *edit) String() string {
	return fmt.Sprintf("%s: %s => %s", e.In, e.At, cmp.Or(e.Becomes, "nothing"))
}

// split returns the folder and the name of the declaration.
func (e *edit) split() (folder, name string) {
	dir, last := path.Split(e.In)
	first, name, _ := strings.Cut(last, ".")
	return dir + first, name
}

func (m *mutation) dir() string {
	folder, _ := m.split()
	return cmp.Or(m.Package, folder)
}

// String identifies the row in disabled.txt. It contains everything that decides
// the outcome, so that the outcome of a changed row is not known.
func (m *mutation) String() string {
	s := m.Rule
	for _, e := range m.edits() {
		s += " " + e.String()
	}
	return s + " (" + m.dir() + " " + m.Test + ")"
}

func (m *mutation) edits() []edit { return append([]edit{m.edit}, m.Also...) }

// change is the bytes of a file that an edit replaces.
type change struct {
	file       string
	start, end int
	text       string
}

// apply returns the files with the rule taken out, by path from the root.
func (m *mutation) apply() (map[string][]byte, error) {
	var changes []change
	for _, e := range m.edits() {
		c, err := e.locate()
		if err != nil {
			return nil, fmt.Errorf("cannot apply %s: %w", &e, err)
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(b.start, a.start) }) // from the end
	files := map[string][]byte{}
	for _, c := range changes {
		text := files[c.file]
		if text == nil {
			var err error
			if text, err = os.ReadFile(path.Join(root, c.file)); err != nil {
				return nil, err
			}
		}
		files[c.file] = slices.Concat(text[:c.start], []byte(c.text), text[c.end:])
	}
	for name, text := range files {
		if _, err := parser.ParseFile(token.NewFileSet(), name, text, 0); err != nil {
			return nil, fmt.Errorf("cannot parse the changed source: %w", err)
		}
	}
	return files, nil
}

// locate finds the place of an edit and renders its replacement.
func (e *edit) locate() (change, error) {
	folder, name := e.split()
	found, err := declarations(folder, name)
	if err != nil {
		return change{}, err
	}
	if len(found) != 1 {
		return change{}, fmt.Errorf("got %d declarations of %s in %s; want 1%s", len(found), name, folder, e.hint(folder))
	}
	d := found[0]
	s, err := find(spots(d.set, d.node), e.At)
	if err != nil {
		return change{}, fmt.Errorf("%w%s", err, e.hint(folder))
	}
	was, text := string(d.text[s.start:s.end]), e.Becomes
	switch {
	case s.kind == "statement":
		text = strings.ReplaceAll(text, "$", was)
	case text == "":
		return change{}, errors.New("an expression must become something")
	default:
		text = strings.ReplaceAll(text, "$", "("+was+")")
		if s.kind == "operand" || s.kind == "expression" {
			text = "(" + text + ")"
		}
	}
	return change{d.file, s.start, s.end, text}, nil
}

// hint names the other declarations of the folder in which the address matches.
func (e *edit) hint(folder string) string {
	all, err := declarations(folder, "")
	if err != nil {
		return ""
	}
	var names []string
	for _, d := range all {
		if _, err := find(spots(d.set, d.node), e.At); err == nil {
			names = append(names, d.name)
		}
	}
	if len(names) == 0 || len(names) > 5 {
		return ""
	}
	return "; it matches in " + strings.Join(names, ", ")
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

// provenSections are those whose musts must have a mutation.
var provenSections = []string{"P", "B", "BN", "VD", "NA", "R", "M", "G"}

// TestProveRowsFit reports the rows of mutations.yaml that no longer match the
// source, and the musts of provenSections that have no row. It runs with PROVE=1
// only (make stale, make prove): a renamed function must not fail an ordinary test.
func TestProveRowsFit(t *testing.T) {
	needsProve(t)
	sections, byID := readRules(t)
	have, rows := map[string]bool{}, map[string]bool{}
	for _, m := range readMutations(t) {
		if _, ok := byID[m.Rule]; !ok {
			t.Errorf("%s is not a rule", m.Rule)
		}
		if rows[m.String()] {
			t.Errorf("two rows are the same: %s", &m)
		}
		have[m.Rule], rows[m.String()] = true, true
		if _, err := m.apply(); err != nil || m.Test == "" {
			t.Errorf("%s, test %q: %v", m.Rule, m.Test, err)
		}
	}
	for _, s := range sections {
		for _, r := range s.Rules {
			if slices.Contains(provenSections, s.ID) && r.Priority == "must" && r.Open == "" && !have[r.ID] {
				t.Errorf("%s is a must of section %s and has no row in mutations.yaml", r.ID, s.ID)
			}
		}
	}
}

const (
	disabledFile  = "disabled.txt"
	failsAsItMust = "fails"
	unknown       = "not run"
)

// disabledRows returns the outcomes in disabled.txt by row.
func disabledRows(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile(disabledFile)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	outcomes := map[string]string{}
	for line := range bytes.Lines(text) {
		if outcome, row, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t"); ok {
			outcomes[row] = outcome
		}
	}
	return outcomes
}

// disabledRules returns what the last proof found, by rule: the worst outcome of
// its rows. A row that has changed since then counts as not run.
func disabledRules(t testing.TB) map[string]string {
	t.Helper()
	outcomes, found := disabledRows(t), map[string]string{}
	for _, m := range readMutations(t) {
		outcome := cmp.Or(outcomes[m.String()], unknown)
		if before := found[m.Rule]; before == "" || before == failsAsItMust {
			found[m.Rule] = outcome
		}
	}
	return found
}
