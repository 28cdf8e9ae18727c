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
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"rebound/campaigns"
	"rebound/examples"
	"rebound/internal/spec"
)

// loader reads files and collects their problems.
type loader struct {
	fsys   fs.FS
	getenv func(string) (string, bool)
	files  map[string][]byte // by name, for the hash
	feeds  []string          // names of feed files
	// secrets are the values of fields that may hold secrets, and placeholders, if not nil,
	// what such fields get in place of their values, by path.
	secrets      []secret
	placeholders map[string]string
	root         *node             // the whole configuration, in which the places of paths are looked up; nil before it is read
	top          place             // of the empty path
	table        *node             // the file of exchange rates; nil before it is read
	tables       *campaigns.Tables // lists, which may be too large to keep in files
	blocks       map[string]*node  // texts that begin on the line after their field, by path
	bytes        int               // of the files parsed so far
	// inAlias is how many aliases enclose the value being converted, and aliased how
	// many values aliases have added so far. tooBig is set once a file exceeds a limit.
	inAlias, aliased int
	tooBig           bool

	broken []string          // paths whose values do not have the type of their field
	parts  bool              // a file of the configuration could not be read: much is missing
	words  map[string]string // booleans in the file, by path
	quiet  bool              // a value is tried, not read: nothing is recorded about it

	// Report collects the problems of the sections, which get their places at
	// the end. found are the problems that have their places.
	spec.Report
	found spec.Problems
	more  int // problems beyond maxProblems
}

// add adds a problem at a known place.
func (l *loader) add(at place, path, got, want, hint string) {
	l.place(spec.Problem{File: at.file, Line: at.line, Path: path, Got: got, Want: want, Hint: hint})
}

func (l *loader) place(p spec.Problem) {
	if len(l.found) >= maxProblems {
		l.more++
		return
	}
	l.found = append(l.found, p)
}

// unread adds a problem of a value that does not have the type of its field.
func (l *loader) unread(at place, path, got, want, hint string) {
	if hint == "" {
		hint = l.wordHint(path)
	}
	l.add(at, path, got, want, hint)
	l.breaks(path)
}

// breaks records a path that has no usable value, so that problems that follow
// from that are not reported too.
func (l *loader) breaks(path string) {
	if len(l.broken) < maxProblems {
		l.broken = append(l.broken, path)
	}
}

// wordHint names the words that tools of YAML 1.1 turn into a boolean, if the value
// of a path is one.
func (l *loader) wordHint(path string) string {
	word, ok := l.words[path]
	if !ok { // a value that is shorthand for a field of its table
		word = l.words[path[:max(0, strings.LastIndexByte(path, '.'))]]
	}
	switch word {
	case "true":
		return "a tool that reads YAML 1.1 writes an unquoted on or yes as true: put the word in quotes"
	case "false":
		return "a tool that reads YAML 1.1 writes an unquoted off or no as false: put the word in quotes"
	}
	return ""
}

// placeAll gives every problem of the report, and every warning, the place of
// its path or of the closest enclosing one. It drops problems of values that
// could not be read, and of their tables: they follow from the first problem.
func (l *loader) placeAll() {
	for _, p := range l.Problems {
		if !l.follows(&p) {
			l.place(l.locate(p))
		}
	}
	for i, p := range l.Warnings {
		l.Warnings[i] = l.locate(p)
	}
}

// sections are the sections that ids refer to.
var sections = map[string]string{"an advertiser": "advertisers", "an audience": "audiences", "a creative": "creatives", "an exchange": "exchanges", "a feed": "feeds"}

// follows reports whether a problem follows from one that is known: its value, or one
// in its table, could not be read, or it refers to an id in a part that could not be
// read.
func (l *loader) follows(p *spec.Problem) bool {
	section, refers := sections[p.Ref]
	if _, given := l.find(p.Path); l.parts && (refers || !given) {
		return true // it may be in the file that could not be read
	}
	return slices.ContainsFunc(l.broken, func(b string) bool {
		if within(p.Path, b) || within(b, p.Path) {
			return true
		}
		if !refers || !within(b, section) {
			return false
		}
		item := b[len(section):] // empty, [3] or [3].id
		return item == "" || strings.HasSuffix(item, "]") && strings.Count(item, "[") == 1 && !strings.Contains(item, ".") || strings.HasSuffix(item, "].id") && strings.Count(item, ".") == 1
	})
}

func (l *loader) locate(p spec.Problem) spec.Problem {
	if p.Hint == "" {
		p.Hint = l.wordHint(p.Path)
	}
	if p.File == "" {
		at, _ := l.find(p.Path)
		p.File, p.Line = at.file, at.line
	}
	return p
}

// within reports whether a path is another path or inside it.
func within(path, in string) bool {
	return strings.HasPrefix(path, in) && (len(path) == len(in) || in == "" || path[len(in)] == '.' || path[len(in)] == '[')
}

// find returns the place of a path, or of the innermost table or list that encloses it,
// and whether the path itself is in the configuration.
func (l *loader) find(path string) (at place, given bool) {
	n, at := l.root, l.top
	if rest, ok := strings.CutPrefix(path, ratesPath); ok && l.table != nil {
		n, at, path = l.table, l.table.place(), rest
	}
	for n != nil {
		if path == "" {
			return at, true
		}
		var next place
		if n, next, path = n.step(path); n != nil {
			at = next
		}
	}
	return at, false
}

// step returns the part of a table or list with which a path begins, its place, and the
// rest of the path; nil if there is none. Names of fields may contain dots.
func (n *node) step(path string) (part *node, at place, rest string) {
	if n.kind == kindList {
		i, after := index(path), strings.IndexByte(path, ']')
		if path[0] != '[' || after < 0 || i < 0 || i >= len(n.values) {
			return nil, at, path
		}
		return n.values[i], n.values[i].place(), path[after+1:]
	}
	path = strings.TrimPrefix(path, ".")
	best := -1
	for i := range n.keys {
		if within(path, n.keys[i].name) && (best < 0 || len(n.keys[i].name) > len(n.keys[best].name)) {
			best = i
		}
	}
	if best < 0 {
		return nil, at, path
	}
	return n.values[best], n.keys[best].place(), path[len(n.keys[best].name):]
}

// sorted sorts problems by file and line, and removes duplicates.
func sorted(p []spec.Problem) []spec.Problem {
	slices.SortStableFunc(p, func(a, b spec.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Got, b.Got))
	})
	return slices.Compact(p)
}

var errTooLarge = errors.New("larger than " + spec.Bytes(maxFileBytes).String())

// read returns the content of a file, which is limited in size, and keeps it
// for the hash.
func (l *loader) read(name string) ([]byte, error) {
	if b, ok := l.files[name]; ok {
		return b, nil
	}
	f, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFileBytes {
		return nil, errTooLarge
	}
	l.files[name] = b
	return b, nil
}

// builtin begins the name of an exchange profile that the program contains.
const builtin = "builtin:"

// profileFile returns the name of a built-in profile in [examples.FS].
func profileFile(name string) string {
	return "exchanges/" + strings.TrimPrefix(name, builtin) + ".yaml"
}

// open opens a file, or a profile that the program contains.
func (l *loader) open(name string) (fs.File, error) {
	if l.placeholders != nil { // an archive, which has built-in profiles of its time
		return l.fsys.Open(name)
	}
	return openSource(l.fsys, name)
}

// openSource opens a file of a configuration, or a profile that the program contains.
func openSource(fsys fs.FS, name string) (fs.File, error) {
	if strings.HasPrefix(name, builtin) {
		return examples.FS.Open(profileFile(name))
	}
	return fsys.Open(name)
}

// unknownProfile adds a problem if there is no built-in profile of a name, and
// reports whether it did.
func (l *loader) unknownProfile(item *node, path string) bool {
	if !strings.HasPrefix(item.text, builtin) || l.placeholders != nil {
		return false
	}
	files, err := fs.Glob(examples.FS, profileFile("*"))
	if err != nil {
		return false
	}
	var names []string
	for _, f := range files {
		names = append(names, builtin+strings.TrimSuffix(strings.TrimPrefix(f, "exchanges/"), ".yaml"))
	}
	if slices.Contains(names, item.text) {
		return false
	}
	l.add(item.place(), path, spec.Quote(item.text), "one of "+strings.Join(names, ", "), spec.DidYouMean(item.text, names))
	return true
}

// parse parses one file into a table, or returns nil if it cannot.
func (l *loader) parse(name string, from place, fromPath string) *node {
	b, err := l.read(name)
	if err != nil {
		want := "a file that can be read"
		if errors.Is(err, errTooLarge) {
			want = "smaller files, which this one includes"
		}
		l.add(from, fromPath, "file "+spec.Quote(name)+": "+reason(err), want, "")
		return nil
	}
	if l.bytes += len(b); l.bytes > maxTotalBytes {
		l.stop(from, "files of more than "+spec.Bytes(maxTotalBytes).String()+" in total", "a smaller configuration")
		return nil
	}
	src := &source{name: name, dir: path.Dir(name)}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		line, text := yamlError(b, err)
		l.add(place{name, line}, "", "a syntax error: "+text, "valid YAML", "")
		return nil
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		l.add(place{name, second.Line}, "", "a second document", "one document per file", "")
	}
	n := l.convert(&doc, src, 0)
	if l.tooBig {
		return nil
	}
	if n.kind != kindTable {
		l.add(n.place(), "", n.describe(), "a mapping", "")
		return nil
	}
	return n
}

// reason returns why a file could not be read, without the name of the file.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// yamlError returns the line and the message of a syntax error. For a quoted
// text or a key that does not end, the line is where it begins: the parser
// notices only much later.
func yamlError(b []byte, err error) (line int, message string) {
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		return 0, err.Error()
	}
	line, message = e.Mark.Line, e.Message
	switch {
	case line == 0 && !utf8.Valid(b):
		line = 1 + bytes.Count(b[:invalidAt(b)], []byte("\n"))
	case e.ContextMark.Line > 0 && e.Stage == yaml.ScannerStage:
		line = e.ContextMark.Line
	case e.ContextMark.Line > 0:
		message += " " + e.ContextMsg + " that begins on line " + strconv.Itoa(e.ContextMark.Line)
	}
	return line, message
}

// invalidAt returns the index of the first byte of b that is not part of valid
// UTF-8.
func invalidAt(b []byte) int {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

// expand merges the files that a table includes into it. With join, lists of
// the same name are concatenated, as for the sections of the whole
// configuration.
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
			l.add(item.place(), spec.Join(path, "include"), item.describe(), "the name of a file", "")
			continue
		}
		if l.unknownProfile(item, spec.Join(path, "include")) {
			if l.breaks(path); join {
				l.parts = true
			}
			continue
		}
		name := resolve(item.src.dir, item.text)
		self := append(slices.Clone(stack), item.src.name)
		switch {
		case slices.Contains(self, name):
			l.add(item.place(), spec.Join(path, "include"), spec.Quote(name)+" again", "a file that does not include itself", "")
			continue
		case len(self) > maxIncludes:
			l.add(item.place(), spec.Join(path, "include"), "more than "+strconv.Itoa(maxIncludes)+" nested includes", "fewer", "")
			continue
		}
		from := l.parse(name, item.place(), spec.Join(path, "include"))
		switch {
		case from != nil:
			l.expand(from, path, join, self)
			n.merge(from, join)
		case join:
			l.parts = true
		default:
			l.breaks(path)
		}
	}
}

// resolve returns the path of a file that is relative to the file that names
// it.
func resolve(dir, name string) string {
	if strings.HasPrefix(name, builtin) {
		return name
	}
	name = filepath.ToSlash(name)
	if path.IsAbs(name) || filepath.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}

// osFS is the file system of the machine. Unlike that of [os.DirFS], names may
// be absolute and may lead to parent folders.
type osFS struct{}

// Open opens a file.
func (osFS) Open(name string) (fs.File, error) { return os.Open(filepath.FromSlash(name)) }
