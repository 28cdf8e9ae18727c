package arch

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the path of the module, with which the imports of its packages begin.
const Module = "rebound"

// Violation is one broken rule.
type Violation struct {
	Path string // of the file or folder, relative to the root of the repository
	Line int    // 0 if the violation concerns the whole file or folder
	Rule string // short name of the rule, as used in allow.txt
	Name string // of the function or import; may be empty
	Text string // the violation, the expectation and its reason
}

// String returns "file:line: text [rule]".
func (v Violation) String() string {
	at := v.Path
	if v.Line > 0 {
		at = fmt.Sprintf("%s:%d", v.Path, v.Line)
	}
	return fmt.Sprintf("%s: %s [%s]", at, v.Text, v.Rule)
}

// source is one parsed Go file.
type source struct {
	path      string
	dir       string
	room      string // the room, e.g. exchange or cmd/bidder
	test      bool
	generated bool
	lines     int
	set       *token.FileSet
	file      *ast.File
}

func (s *source) line(p token.Pos) int { return s.set.Position(p).Line }

// tree holds the folders and parsed sources of the module.
type tree struct {
	root    fs.FS
	dirs    []string
	sources []*source
}

// load reads and parses every Go file of the module. Like the go command, it skips
// testdata, folders that begin with a dot or an underscore, and other modules.
func load(root fs.FS) (*tree, error) {
	t := &tree{root: root}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := path.Base(name)
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil && name != "." {
				return fs.SkipDir
			}
			t.dirs = append(t.dirs, name)
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		return t.add(name)
	})
	return t, err
}

func (t *tree) add(name string) error {
	text, err := fs.ReadFile(t.root, name)
	if err != nil {
		return fmt.Errorf("cannot read source: %w", err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("cannot parse source: %w", err)
	}
	t.sources = append(t.sources, &source{
		path: name, dir: path.Dir(name), room: roomOf(path.Dir(name)),
		test: strings.HasSuffix(name, "_test.go"), generated: ast.IsGenerated(file),
		lines: strings.Count(string(text), "\n"), set: set, file: file,
	})
	return nil
}

// roomOf returns the room of a folder: the first element of its path, or the first
// two below cmd and internal.
func roomOf(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) > 1 && (parts[0] == "cmd" || parts[0] == "internal") {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}

// Check reads the repository and returns all violations, ordered by file and line.
func Check(root fs.FS) ([]Violation, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	var found []Violation
	for _, s := range t.sources {
		found = append(found, checkImports(s)...)
		found = append(found, checkFences(s)...)
		if !s.test && !s.generated {
			found = append(found, checkSizes(s)...)
			found = append(found, checkNames(s)...)
			found = append(found, checkCalls(s)...)
		}
	}
	found = append(found, checkPackages(t)...)
	found = append(found, checkFolders(t)...)
	deps, err := checkDependencies(t)
	if err != nil {
		return nil, err
	}
	found = append(found, deps...)
	allowed, err := readAllowances(root)
	if err != nil {
		return nil, err
	}
	found = allowed.apply(found)
	slices.SortFunc(found, func(a, b Violation) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), strings.Compare(a.Text, b.Text))
	})
	return found, nil
}
