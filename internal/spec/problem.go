package spec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration, or, as a warning,
// one that works but is risky.
type Problem struct {
	File string // as given or as included, with slashes; empty until config fills it in
	Line int    // from 1; 0 if the whole file is meant
	Path string // such as campaigns[0].lines[1].bid.cpm; relative until config completes it
	Got  string
	Want string
	Hint string // what was probably meant; may be empty
	// Ref describes the thing that the value should name, with its article, if
	// nothing has that name.
	Ref string
}

// String returns the problem on one line: file:line: path: got x; want y (hint).
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString("got " + p.Got + "; want " + p.Want)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems is an error that lists every problem of a configuration.
type Problems []Problem

// Error returns all problems, one per line.
func (p Problems) Error() string {
	var b strings.Builder
	noun := "problems"
	if len(p) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "cannot load configuration: %d %s", len(p), noun)
	for i := range p {
		b.WriteString("\n  " + p[i].String())
	}
	return b.String()
}

// Report collects the problems and warnings of one specification. The zero
// value is empty and ready to use.
type Report struct {
	Problems Problems
	Warnings []Problem
}

// Add adds a problem.
func (r *Report) Add(path, got, want string) { r.AddHint(path, got, want, "") }

// AddHint adds a problem and what was probably meant.
func (r *Report) AddHint(path, got, want, hint string) {
	r.Problems = append(r.Problems, Problem{Path: path, Got: got, Want: want, Hint: hint})
}

// Warn adds a warning: the configuration can be used, at a risk.
func (r *Report) Warn(path, got, want string) {
	r.Warnings = append(r.Warnings, Problem{Path: path, Got: got, Want: want})
}

// Include adds the problems and warnings of another report, whose paths
// continue prefix.
func (r *Report) Include(prefix string, other Report) {
	for _, p := range other.Problems {
		p.Path = Join(prefix, p.Path)
		r.Problems = append(r.Problems, p)
	}
	for _, p := range other.Warnings {
		p.Path = Join(prefix, p.Path)
		r.Warnings = append(r.Warnings, p)
	}
}

// ID adds a problem unless id has the form that [ValidID] accepts.
func (r *Report) ID(path, id string) {
	if !ValidID(id) {
		r.Add(path, Quote(id), "an id of a-z, 0-9, _ and -, at most 64 characters, that begins with a letter or digit")
	}
}

// OneOf returns the index of word among words, or -1 and adds a problem.
func (r *Report) OneOf(path, word string, words []string) int {
	for i, w := range words {
		if w == word {
			return i
		}
	}
	r.AddHint(path, Quote(word), "one of "+strings.Join(words, ", "), DidYouMean(word, words))
	return -1
}

// Known reports whether ids contains id, and adds a problem if not. what
// describes the named thing, with its article.
func (r *Report) Known(path, id, what string, ids []string) bool {
	for _, known := range ids {
		if known == id {
			return true
		}
	}
	hint := DidYouMean(id, ids)
	if hint == "" && len(ids) > 0 && len(ids) <= 8 {
		hint = "one of " + strings.Join(ids, ", ")
	}
	r.Problems = append(r.Problems, Problem{Path: path, Got: Quote(id), Want: "the id of " + what, Hint: hint, Ref: what})
	return false
}

// maxHints is how many problems of a report get a hint at most: finding the nearest
// of thousands of names takes time, and nobody reads that many.
const maxHints = 200

// KnownIn is [Report.Known] for the keys of a map.
func KnownIn[V any](r *Report, path, id, what string, index map[string]V) bool {
	if _, ok := index[id]; ok {
		return true
	}
	if len(r.Problems) < maxHints {
		return r.Known(path, id, what, slices.Sorted(maps.Keys(index)))
	}
	r.Problems = append(r.Problems, Problem{Path: path, Got: Quote(id), Want: "the id of " + what, Ref: what})
	return false
}

// Range adds a problem unless low <= n <= high.
func (r *Report) Range(path string, n, low, high int) {
	if n < low || n > high {
		r.Add(path, strconv.Itoa(n), strconv.Itoa(low)+" to "+strconv.Itoa(high))
	}
}

// Percent adds a problem unless x is a percentage from 0 to 100. NaN is a problem.
func (r *Report) Percent(path string, x float64) {
	if !(x >= 0 && x <= 100) {
		r.Add(path, Float(x), "a percentage from 0 to 100")
	}
}

// At returns the path of an item of a list: path[i].
func At(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// Join returns the path of a field of a table. The field may itself be a path,
// and either may be empty.
func Join(path, field string) string {
	if path == "" || field == "" || field[0] == '[' {
		return path + field
	}
	return path + "." + field
}

// Quote returns s in quotes, cut to 80 bytes, or "nothing" if it is empty.
func Quote(s string) string {
	if s == "" {
		return "nothing"
	}
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return strconv.Quote(s)
}

// Float returns the shortest decimal text of x.
func Float(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// ValidID reports whether s is an id: [a-z0-9][a-z0-9_-]{0,63}.
func ValidID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		word := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !word && (i == 0 || c != '_' && c != '-') {
			return false
		}
	}
	return true
}
