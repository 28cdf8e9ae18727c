package arch

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Files that the checker reads in addition to the sources, relative to the root.
const (
	dependenciesFile = "internal/arch/dependencies.txt"
	allowancesFile   = "internal/arch/allow.txt"
)

// checkDependencies compares the direct dependencies in go.mod with the table that
// states the reason for each, and with the imports of the sources.
func checkDependencies(t *tree) (found []Violation, err error) {
	direct, err := directDependencies(t.root)
	if err != nil {
		return nil, err
	}
	reasons, err := readTable(t.root, dependenciesFile, 1)
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, r := range reasons {
		name := r.words[0]
		listed[name] = true
		if direct[name] == 0 {
			found = append(found, Violation{dependenciesFile, r.line, "dependency", name, fmt.Sprintf("%s is listed but is not a direct dependency in go.mod; remove its line", name)})
		}
	}
	used := map[string]bool{}
	for _, s := range t.sources {
		s.eachImport(func(name string, _ int) {
			for module := range direct {
				used[module] = used[module] || within(name, module)
			}
		})
	}
	for module, line := range direct {
		if !listed[module] {
			found = append(found, Violation{"go.mod", line, "dependency", module, fmt.Sprintf("%s has no line in %s; add one that justifies it", module, dependenciesFile)})
		}
		if !used[module] {
			found = append(found, Violation{"go.mod", line, "dependency", module, fmt.Sprintf("%s is required but never imported; remove it", module)})
		}
	}
	return found, nil
}

// directDependencies returns the modules that go.mod requires and does not mark as
// indirect, with their line numbers.
func directDependencies(root fs.FS) (map[string]int, error) {
	text, err := fs.ReadFile(root, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("cannot read dependencies: %w", err)
	}
	direct := map[string]int{}
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			continue
		case words[0] == "require" && len(words) > 1 && words[1] == "(":
			inside = true
			continue
		case words[0] == ")":
			inside = false
			continue
		case words[0] == "require":
			words = words[1:]
		case !inside:
			continue
		}
		if len(words) >= 2 && !strings.HasSuffix(line, "// indirect") {
			direct[words[0]] = i + 1
		}
	}
	return direct, nil
}

// row is one line of a table: its key words and the reason that follows them.
type row struct {
	line   int
	words  []string
	reason string
}

// readTable reads lines of n words and a reason. It skips empty lines and lines that
// begin with #; a missing file is an empty table.
func readTable(root fs.FS, name string, n int) (rows []row, err error) {
	text, err := fs.ReadFile(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read table: %w", err)
	}
	for i, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(words) < n+3 {
			return nil, fmt.Errorf("cannot read table: %s:%d: got %q; want %d words and a reason of at least three words", name, i+1, line, n)
		}
		rows = append(rows, row{i + 1, words[:n], strings.Join(words[n:], " ")})
	}
	return rows, nil
}

// allowances are the exceptions in allow.txt.
type allowances []row

func readAllowances(root fs.FS) (allowances, error) {
	rows, err := readTable(root, allowancesFile, 3)
	return rows, err
}

// apply removes the violations that have an exception and adds one for every
// exception that matches nothing.
func (a allowances) apply(found []Violation) (left []Violation) {
	used := make([]bool, len(a))
	for _, v := range found {
		excepted := false
		for i, r := range a {
			name := v.Name
			if name == "" {
				name = "-"
			}
			if r.words[0] == v.Rule && r.words[1] == v.Path && r.words[2] == strings.ReplaceAll(name, " ", "-") {
				used[i], excepted = true, true
			}
		}
		if !excepted {
			left = append(left, v)
		}
	}
	for i, r := range a {
		if !used[i] {
			left = append(left, Violation{allowancesFile, r.line, "allowance", "", fmt.Sprintf(
				"the exception %q matches nothing; remove it", strings.Join(r.words, " "))})
		}
	}
	return left
}
