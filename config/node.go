package config

import (
	"strconv"

	"go.yaml.in/yaml/v4"

	"rebound/internal/spec"
)

// kind is the kind of a node.
type kind uint8

const (
	kindNull kind = iota
	kindScalar
	kindList
	kindTable
)

var kindNames = [...]string{"nothing", "a value", "a list", "a mapping"}

// source is one file that was read.
type source struct {
	name string // as given or as joined from an include; slashes
	dir  string // that relative paths start from
}

// place is a position in a file.
type place struct {
	file string
	line int
}

// node is a part of a file with its place. Files become nodes before they are
// decoded, because a configuration is merged from several files.
//
// A large configuration has a million nodes, so they are kept small.
type node struct {
	kind   kind
	tag    tag  // of a scalar
	block  bool // a scalar whose text begins on the next line
	line   int32
	src    *source
	text   string  // of a scalar
	keys   []key   // of a table, in the order of the file
	values []*node // of a table, in the order of keys, or of a list
}

// tag is the YAML type of a scalar.
type tag uint8

const (
	tagOther tag = iota // text, times and types that the configuration does not have
	tagInt
	tagFloat
	tagBool
)

func tagOf(short string) tag {
	switch short {
	case "!!int":
		return tagInt
	case "!!float":
		return tagFloat
	case "!!bool":
		return tagBool
	}
	return tagOther
}

type key struct {
	name string
	src  *source
	line int32
}

func (n *node) place() place { return place{n.src.name, int(n.line)} }

func (k *key) place() place { return place{k.src.name, int(k.line)} }

// get returns the value of a key of a table, or nil.
func (n *node) get(name string) *node {
	for i := range n.keys {
		if n.keys[i].name == name {
			return n.values[i]
		}
	}
	return nil
}

// remove removes a key of a table.
func (n *node) remove(name string) {
	for i := range n.keys {
		if n.keys[i].name == name {
			n.keys = append(n.keys[:i:i], n.keys[i+1:]...)
			n.values = append(n.values[:i:i], n.values[i+1:]...)
			return
		}
	}
}

// describe returns a description of a node for problems.
func (n *node) describe() string {
	if n.kind != kindScalar {
		return kindNames[n.kind]
	}
	if n.tag != tagOther {
		return n.text
	}
	return spec.Quote(n.text)
}

// Limits of a configuration, so that a hostile or broken file causes a problem
// and does not exhaust memory. Without aliases the number of values is limited by
// the bytes; what aliases add to it is limited to aliasAllowance and one value for
// each bytesPerAliased bytes.
const (
	maxFileBytes    = 64 << 20
	maxTotalBytes   = 256 << 20 // a file counts each time it is included
	maxDepth        = 64
	maxIncludes     = 8 // depth of nested includes
	maxProblems     = 200
	aliasAllowance  = 100_000
	bytesPerAliased = 8
)

// aliasLimit returns how many values aliases may add to the files parsed so far.
func (l *loader) aliasLimit() int { return aliasAllowance + l.bytes/bytesPerAliased }

// stop reports the first limit that a file exceeds. The rest of the file is not
// converted.
func (l *loader) stop(at place, got, want string) {
	if !l.tooBig {
		l.tooBig = true
		l.add(at, "", got, want, "")
	}
}

// convert converts a parsed file into nodes, and resolves aliases and merge
// keys.
func (l *loader) convert(y *yaml.Node, src *source, depth int) *node {
	n := &node{src: src, line: int32(y.Line)}
	if l.inAlias > 0 {
		l.aliased++
	}
	switch {
	case depth > maxDepth:
		l.stop(n.place(), "values nested more than "+strconv.Itoa(maxDepth)+" levels deep", "fewer levels")
		return n
	case l.aliased > l.aliasLimit():
		l.stop(n.place(), "aliases that expand to more than "+strconv.Itoa(l.aliasLimit())+" values", "fewer or smaller aliases (*name)")
		return n
	}
	switch y.Kind {
	case yaml.DocumentNode:
		if len(y.Content) == 1 {
			return l.convert(y.Content[0], src, depth+1)
		}
	case yaml.AliasNode:
		l.inAlias++
		c := l.convert(y.Alias, src, depth+1)
		l.inAlias--
		c.line = int32(y.Line)
		return c
	case yaml.ScalarNode:
		if short := y.ShortTag(); short != "!!null" {
			n.kind, n.tag, n.text = kindScalar, tagOf(short), y.Value
			n.block = y.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
		}
	case yaml.SequenceNode:
		n.kind, n.values = kindList, make([]*node, 0, len(y.Content))
		for _, item := range y.Content {
			if l.tooBig {
				break
			}
			n.values = append(n.values, l.convert(item, src, depth+1))
		}
	case yaml.MappingNode:
		n.kind = kindTable
		l.convertTable(n, y, depth)
	}
	return n
}

func (l *loader) convertTable(n *node, y *yaml.Node, depth int) {
	n.keys, n.values = make([]key, 0, len(y.Content)/2), make([]*node, 0, len(y.Content)/2)
	seen := seenKeys{n: n}
	var merges []*node
	for i := 0; i+1 < len(y.Content) && !l.tooBig; i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merges = append(merges, l.convert(v, n.src, depth+1))
			continue
		}
		if k.Kind != yaml.ScalarNode {
			l.add(place{n.src.name, k.Line}, "", "a key that is not a scalar", "a field name", "")
			continue
		}
		if first, again := seen.line(k.Value); again {
			l.add(place{n.src.name, k.Line}, k.Value, spec.Quote(k.Value)+" again", "each field once; the first is on line "+strconv.Itoa(int(first)), "")
			continue
		}
		n.keys = append(n.keys, key{k.Value, n.src, int32(k.Line)})
		n.values = append(n.values, l.convert(v, n.src, depth+1))
	}
	for _, m := range merges {
		list := []*node{m}
		if m.kind == kindList {
			list = m.values
		}
		for _, from := range list {
			if from.kind == kindTable {
				n.merge(from, false)
			}
		}
	}
}

// seenKeys finds keys of a table that is being built. Most tables have few.
type seenKeys struct {
	n     *node
	lines map[string]int32 // of the first keys, once there are many
	count int              // keys in lines
}

// line returns the line of a key that the table already has.
func (s *seenKeys) line(name string) (int32, bool) {
	const few = 16
	if len(s.n.keys) > few && s.lines == nil {
		s.lines = map[string]int32{}
	}
	if s.lines == nil {
		for i := range s.n.keys {
			if s.n.keys[i].name == name {
				return s.n.keys[i].line, true
			}
		}
		return 0, false
	}
	for ; s.count < len(s.n.keys); s.count++ {
		s.lines[s.n.keys[s.count].name] = s.n.keys[s.count].line
	}
	line, ok := s.lines[name]
	return line, ok
}

// merge adds missing fields to n from another table. Tables in both are merged; with
// join, lists in both are concatenated.
func (n *node) merge(from *node, join bool) {
	mine := make(map[string]*node, len(n.keys))
	for i := range n.keys {
		mine[n.keys[i].name] = n.values[i]
	}
	for i, k := range from.keys {
		have := mine[k.name]
		switch {
		case have == nil:
			n.keys = append(n.keys, k)
			n.values = append(n.values, from.values[i])
		case have.kind == kindTable && from.values[i].kind == kindTable:
			have.merge(from.values[i], false)
		case join && have.kind == kindList && from.values[i].kind == kindList:
			have.values = append(have.values, from.values[i].values...)
		}
	}
}
