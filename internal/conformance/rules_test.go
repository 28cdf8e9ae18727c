package conformance

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// root is the path of the repository from the folder of this package.
const root = "../.."

type section struct {
	ID      string `yaml:"section"`
	Name    string `yaml:"name"`
	Pending string `yaml:"pending"`
	Rules   []rule `yaml:"rules"`
}

type rule struct {
	ID       string `yaml:"id"`
	Priority string `yaml:"p"`
	Text     string `yaml:"rule"`
	Open     string `yaml:"open"` // why no test covers it
	Note     string `yaml:"note"`
}

func readYAML(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readRules(t testing.TB) (sections []section, byID map[string]rule) {
	t.Helper()
	readYAML(t, "rules.yaml", &sections)
	byID = map[string]rule{}
	for _, s := range sections {
		for _, r := range s.Rules {
			if _, twice := byID[r.ID]; twice {
				t.Errorf("rule %s is listed twice", r.ID)
			}
			byID[r.ID] = r
		}
	}
	return sections, byID
}

// Each section numbers its rules from 1 without gaps.
func TestRules(t *testing.T) {
	sections, byID := readRules(t)
	count := map[string]int{}
	for _, s := range sections {
		for i, r := range s.Rules {
			if want := s.ID + strconv.Itoa(i+1); r.ID != want {
				t.Errorf("section %s: got rule %s; want %s", s.ID, r.ID, want)
			}
			if r.Text == "" || strings.Contains(r.Text, "|") || strings.Contains(r.Open, "|") {
				t.Errorf("%s: want a text, and no | in it", r.ID)
			}
			count[r.Priority]++
		}
	}
	want := map[string]int{"must": 163, "should": 69, "nice": 5}
	if len(byID) != 237 || fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("got %d rules, %v; want 237, %v", len(byID), count, want)
	}
}

// place is a test or a scenario file that covers a rule.
type place struct{ file, name string }

func (p place) String() string {
	if p.name == "" {
		return p.file
	}
	return p.file + " " + p.name
}

// scenarioFolder holds the scenario files of the decision.
const scenarioFolder = "bidder/testdata/scenarios"

// placesInTree returns the tests and scenarios that cover each rule: scenario files
// that list it, and tests that pass it to Covers.
func placesInTree(t testing.TB) map[string][]place {
	t.Helper()
	found := map[string][]place{}
	add := func(rule string, p place) {
		if !slices.Contains(found[rule], p) {
			found[rule] = append(found[rule], p)
		}
	}
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); d.IsDir() && len(base) > 1 && (base[0] == '.' || base[0] == '_') {
			return fs.SkipDir
		}
		switch {
		case strings.HasSuffix(name, "_test.go"):
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			return coversOf(name, text, add)
		case path.Dir(name) == scenarioFolder && path.Ext(name) == ".yaml":
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			return rulesOfScenario(name, text, add)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func rulesOfScenario(name string, text []byte, add func(string, place)) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc struct{ Rules []string }
		switch err := d.Decode(&doc); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, r := range doc.Rules {
			if r != "ours" {
				add(r, place{file: name})
			}
		}
	}
}

// coversOf reports the calls of Covers with literal rules in a test file.
func coversOf(name string, text []byte, add func(string, place)) error {
	if !bytes.Contains(text, []byte("conformance.Covers(")) {
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Covers" {
				return true
			}
			for _, arg := range call.Args {
				if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					id, _ := strconv.Unquote(lit.Value)
					add(id, place{path.Dir(name), f.Name.Name})
				}
			}
			return true
		})
	}
	return nil
}

// Every rule that a scenario or test names exists, and every must is covered by a
// scenario or test, or states why not.
func TestEveryMustIsShown(t *testing.T) {
	sections, byID := readRules(t)
	places := placesInTree(t)
	for id, list := range places {
		if _, ok := byID[id]; !ok {
			t.Errorf("%v names rule %q, which does not exist in rules.yaml", list, id)
		}
	}
	for _, s := range sections {
		for _, r := range s.Rules {
			if len(places[r.ID]) == 0 && r.Open == "" && s.Pending == "" {
				t.Errorf("%s (%s) has no scenario, no test and no reason for lacking one: %s", r.ID, r.Priority, r.Text)
			}
		}
	}
}
