package config

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"rebound/campaigns"
)

// loader reads files and gathers what is wrong with them.
type loader struct {
	fsys     fs.FS
	getenv   func(string) (string, bool)
	files    map[string][]byte // by name; what the hash is made of
	feeds    []string          // names of feed files
	places   map[string]place  // by path
	tables   *campaigns.Tables // lists, which may be too large for files
	blocks   map[string]*node  // texts that begin on the line after their field, by path
	problems Problems
	warnings []Problem
	nodes    int
	tooBig   bool
	more     int      // problems beyond maxProblems
	broken   []string // paths that could not be read
	quiet    bool     // places are not recorded: a value is tried, not read
}

func (l *loader) add(at place, path, got, want, hint string) {
	if len(l.problems) >= maxProblems {
		l.more++
		return
	}
	l.problems = append(l.problems, Problem{at.file, at.line, path, got, want, hint})
}

// unread adds a problem of reading: what stands at the path is not what its
// field takes.
func (l *loader) unread(at place, path, got, want, hint string) {
	l.add(at, path, got, want, hint)
	if len(l.broken) < maxProblems {
		l.broken = append(l.broken, path)
	}
}

// addAt adds a problem of meaning at the place of its path, or of the nearest
// path above. What could not be read, and what it stands in, has no meaning to
// complain about.
func (l *loader) addAt(path, got, want, hint string) {
	for _, b := range l.broken {
		if within(path, b) || within(b, path) {
			return
		}
	}
	l.add(l.find(path), path, got, want, hint)
}

// within tells whether a path is another or stands in it.
func within(path, in string) bool {
	return strings.HasPrefix(path, in) && (len(path) == len(in) || in == "" || path[len(in)] == '.' || path[len(in)] == '[')
}

func (l *loader) warnAt(path, got, want, hint string) {
	at := l.find(path)
	l.warnings = append(l.warnings, Problem{at.file, at.line, path, got, want, hint})
}

// find is where a path stands; a field that is missing stands where its table
// does.
func (l *loader) find(path string) place {
	for {
		if at, ok := l.places[path]; ok {
			return at
		}
		if path == "" {
			return place{}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// sorted puts problems in the order of files and lines.
func sorted(p []Problem) []Problem {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Got, b.Got))
	})
	return slices.Compact(p)
}

// read is a file's content, bounded; it is remembered for the hash.
func (l *loader) read(name string) ([]byte, error) {
	if b, ok := l.files[name]; ok {
		return b, nil
	}
	f, err := l.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFileBytes {
		return nil, errors.New("larger than " + Bytes(maxFileBytes).String())
	}
	l.files[name] = b
	return b, nil
}

// parse reads one file into a table; nil when it cannot.
func (l *loader) parse(name string, from place, fromPath string) *node {
	b, err := l.read(name)
	if err != nil {
		l.add(from, fromPath, "file "+quote(name)+": "+reason(err), "a file that can be read", "")
		return nil
	}
	src := &source{name: name, dir: path.Dir(name)}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		line, text := yamlError(err)
		l.add(place{name, line}, "", text, "YAML", "")
		return nil
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		l.add(place{name, second.Line}, "", "a second document", "one document in a file", "")
	}
	n := l.convert(&doc, src, 0)
	if n.kind != kindTable {
		l.add(place{name, n.line}, "", n.describe(), "a table of fields", "")
		return nil
	}
	return n
}

// reason is why a file could not be read, without repeating its name.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlError takes the line out of an error of the YAML library.
func yamlError(err error) (line int, text string) {
	text = err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	if line > 0 && parserError.MatchString(text) {
		line++ // the library counts these from 0
	}
	return line, text
}

var parserError = regexp.MustCompile(`^did not find expected ('|key|node content|<document start>)`)

// expand merges the files that a table includes into it. With join, lists of the
// same name are joined, as the sections of the whole configuration are.
func (l *loader) expand(n *node, path string, join bool, stack []string) {
	inc := n.get("include")
	if inc == nil {
		return
	}
	n.remove("include")
	list := []*node{inc}
	if inc.kind == kindList {
		list = inc.values
	}
	for _, item := range list {
		if item.kind != kindScalar {
			l.add(item.place(), join2(path, "include"), item.describe(), "the name of a file", "")
			continue
		}
		name := resolve(item.src.dir, item.text)
		self := append(slices.Clone(stack), item.src.name)
		switch {
		case slices.Contains(self, name):
			l.add(item.place(), join2(path, "include"), quote(name)+" again", "no file that includes itself", "")
			continue
		case len(self) > maxIncludes:
			l.add(item.place(), join2(path, "include"), "includes nested deeper than "+strconv.Itoa(maxIncludes), "fewer", "")
			continue
		}
		if from := l.parse(name, item.place(), join2(path, "include")); from != nil {
			l.expand(from, path, join, self)
			n.merge(from, join)
		}
	}
}

// resolve is a path of a file, relative to the file that names it.
func resolve(dir, name string) string {
	name = filepath.ToSlash(name)
	if path.IsAbs(name) || filepath.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}

func join2(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// osFS is the file system of the machine; unlike that of [os.DirFS], names may
// be absolute and lead upwards.
type osFS struct{}

// Open opens a file for reading.
func (osFS) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }
