package arch

import (
	"flag"
	"fmt"
	"go/scanner"
	"go/token"
	"maps"
	"os"
	"slices"
	"testing"
)

var printLines = flag.Bool("lines", false, "print the lines of code of each room (make lines)")

// TestLines counts the lines of non-test Go that hold code: neither blank nor only
// comment. It prints them by room with -lines.
func TestLines(t *testing.T) {
	root := os.DirFS("../..")
	tree, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	rooms, total := map[string]int{}, 0
	for _, s := range tree.sources {
		if s.test {
			continue
		}
		text, err := os.ReadFile("../../" + s.path)
		if err != nil {
			t.Fatal(err)
		}
		n := codeLines(text)
		rooms[s.room] += n
		total += n
	}
	if !*printLines {
		return
	}
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		fmt.Printf("%-22s %6d\n", room, rooms[room])
	}
	fmt.Printf("%-22s %6d\n", "total", total)
}

// codeLines counts the lines that hold at least a part of a token.
func codeLines(text []byte) int {
	set := token.NewFileSet()
	file := set.AddFile("", set.Base(), len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue // inserted at the end of a line
		}
		first := file.Line(pos)
		last := file.Line(min(pos+token.Pos(max(len(lit), 1)-1), token.Pos(file.Base()+file.Size())))
		for line := first; line <= last; line++ {
			lines[line] = true
		}
	}
}

func TestCodeLines(t *testing.T) {
	for text, want := range map[string]int{
		"package a\n\n// comment\nvar x = 1 // more\n": 2,
		"package a\n/* a\nb */\n":                      1,
		"package a\nvar x = `a\n\nb`\n":                4,
		"":                                             0,
	} {
		if got := codeLines([]byte(text)); got != want {
			t.Errorf("%q: got %d lines; want %d", text, got, want)
		}
	}
}
