package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration, or, among the
// warnings of a [Snapshot], one that is risky.
type Problem struct {
	File string // as given to Load, or as included; slashes
	Line int    // from 1; 0 when the whole file is meant
	Path string // e.g. campaigns[0].lines[1].bid.cpm
	Got  string
	Want string
	Hint string // what was probably meant; may be empty
}

// String is the problem on one line: file:line: path: got x; want y (hint).
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString("got " + p.Got + "; want " + p.Want)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// Problems are all that is wrong, in the order of files and lines. It is the
// error of [Load].
type Problems []Problem

// Error lists every problem, one per line.
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
