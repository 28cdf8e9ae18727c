package arch

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// eachImport calls f for every import of a file.
func (s *source) eachImport(f func(name string, line int)) {
	for _, spec := range s.file.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil {
			f(name, s.line(spec.Pos()))
		}
	}
}

// checkImports checks the imports of a file against the table of its room. Tests may
// import any package, so that they can use the real parts; only apptest may not.
func checkImports(s *source) (found []Violation) {
	rule, known := rooms[s.room]
	if s.test && s.room != "apptest" {
		return nil
	}
	s.eachImport(func(name string, line int) {
		target, ours := strings.CutPrefix(name, Module+"/")
		if !ours || !known {
			return
		}
		to := roomOf(target)
		if to == s.room || rule.may == "*" || slices.Contains(strings.Fields(rule.may), to) {
			return
		}
		allowed := "only " + strings.Join(strings.Fields(rule.may), ", ")
		if rule.may == "" {
			allowed = "no other package of the module"
		}
		found = append(found, Violation{s.path, line, "import", name, fmt.Sprintf(
			"%s imports %s; it may import %s: %s", s.room, to, allowed, rule.why)})
	})
	return found
}

// checkFences checks that libraries are imported only where they are allowed.
func checkFences(s *source) (found []Violation) {
	if s.test {
		return nil
	}
	s.eachImport(func(name string, line int) {
		for _, f := range fences {
			if !within(name, f.library) || f.admits(s) {
				continue
			}
			places := f.places
			if places == "" {
				places = "tests"
			}
			found = append(found, Violation{s.path, line, "fence", name, fmt.Sprintf(
				"%s is imported here; it is allowed only in %s: %s", name, strings.Join(strings.Fields(places), ", "), f.why)})
		}
	})
	return found
}

// within reports whether an import is the library or one of its packages.
func within(name, library string) bool {
	rest, ok := strings.CutPrefix(name, library)
	return ok && (rest == "" || rest[0] == '/')
}

func (f *fence) admits(s *source) bool {
	for _, place := range strings.Fields(f.places) {
		if place == s.room {
			return true
		}
		if ok, err := path.Match(place, s.path); err == nil && ok {
			return true
		}
	}
	return false
}

// checkFolders finds folders with meaningless names, and rooms that are not in the
// table of import directions.
func checkFolders(t *tree) (found []Violation) {
	for _, dir := range t.dirs {
		if slices.Contains(forbiddenFolders, path.Base(dir)) {
			found = append(found, Violation{dir, 0, "folder", "", fmt.Sprintf(
				"a folder is named %q; name it after its purpose: a general name attracts unrelated code", path.Base(dir))})
		}
	}
	seen := map[string]bool{}
	for _, s := range t.sources {
		if _, known := rooms[s.room]; !known && !seen[s.room] {
			seen[s.room] = true
			found = append(found, Violation{s.path, 0, "room", s.room, fmt.Sprintf(
				"%s is not in the table of import directions (internal/arch/rules.go); add a line that states what it may import and why", s.room)})
		}
	}
	return found
}
