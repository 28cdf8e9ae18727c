package conformance

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A spot is an expression or statement that a mutation can address: its kind, the
// names and literals that it is known by, and its bytes in the file.
//
//	if, for      the condition of the statement
//	case         one expression of a case clause
//	return       one returned expression
//	set          the value of an assignment or declaration; the target's names count
//	field        a value in a composite literal; its key counts
//	operand      one operand of a chain of && or ||
//	argument     one argument of a call; the function's names count
//	call         a call
//	literal      a string or number
//	expression   any other expression
//	statement    a whole statement
type spot struct {
	kind       string
	words      []string
	start, end int
}

// spots lists what is below a declaration.
func spots(set *token.FileSet, decl ast.Node) (list []spot) {
	add := func(kind string, n ast.Node, named ...ast.Node) {
		s := spot{kind: kind, start: set.Position(n.Pos()).Offset, end: set.Position(n.End()).Offset}
		for _, of := range append(named, n) {
			s.words = append(s.words, words(of)...)
		}
		list = append(list, s)
	}
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			add("if", n.Cond)
		case *ast.ForStmt:
			if n.Cond != nil {
				add("for", n.Cond)
			}
		case *ast.CaseClause:
			for _, e := range n.List {
				add("case", e)
			}
		case *ast.ReturnStmt:
			for _, e := range n.Results {
				add("return", e)
			}
		case *ast.AssignStmt:
			for i, e := range n.Rhs {
				if len(n.Rhs) == len(n.Lhs) {
					add("set", e, n.Lhs[i])
				} else {
					add("set", e, nodes(n.Lhs)...)
				}
			}
		case *ast.ValueSpec:
			for _, e := range n.Values {
				add("set", e, nodes(n.Names)...)
			}
		case *ast.KeyValueExpr:
			add("field", n.Value, n.Key)
		case *ast.CallExpr:
			add("call", n)
			for _, e := range n.Args {
				add("argument", e, n.Fun)
			}
		case *ast.BinaryExpr:
			if n.Op == token.LAND || n.Op == token.LOR {
				add("operand", n.X)
				add("operand", n.Y)
			}
			add("expression", n)
		case *ast.BasicLit:
			add("literal", n)
		case *ast.Ident, *ast.BlockStmt:
		case ast.Expr:
			add("expression", n)
		}
		switch n := n.(type) {
		case *ast.BlockStmt, *ast.CaseClause:
		case ast.Stmt:
			add("statement", n)
		}
		return true
	})
	return list
}

func nodes[N ast.Node](list []N) (out []ast.Node) {
	for _, n := range list {
		out = append(out, n)
	}
	return out
}

// words are the identifiers below a node and the values of its literals.
func words(n ast.Node) (list []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			list = append(list, n.Name)
		case *ast.BasicLit:
			value, err := strconv.Unquote(n.Value)
			if err != nil {
				value = n.Value
			}
			list = append(list, value)
		}
		return true
	})
	return list
}

// find returns the spot at an address: a kind, the words that it must hold, and
// "#n" for the n-th of several. Of spots within each other the innermost counts.
func find(list []spot, at string) (spot, error) {
	address := strings.Fields(at)
	if len(address) == 0 {
		return spot{}, fmt.Errorf("no address")
	}
	which := 0
	if last := address[len(address)-1]; strings.HasPrefix(last, "#") {
		n, err := strconv.Atoi(last[1:])
		if err != nil || n < 1 {
			return spot{}, fmt.Errorf("got number %q; want #1 or above", last)
		}
		which, address = n, address[:len(address)-1]
	}
	var found []spot
	for _, s := range list {
		if s.kind == address[0] && !slices.ContainsFunc(address[1:], func(w string) bool { return !slices.Contains(s.words, w) }) {
			found = append(found, s)
		}
	}
	all := slices.Clone(found)
	found = slices.DeleteFunc(found, func(s spot) bool {
		return slices.ContainsFunc(all, func(in spot) bool {
			return in.start >= s.start && in.end <= s.end && in.end-in.start < s.end-s.start
		})
	})
	slices.SortFunc(found, func(a, b spot) int { return cmp.Compare(a.start, b.start) })
	switch {
	case which > len(found) || len(found) == 0:
		return spot{}, fmt.Errorf("%d places match %q", len(found), at)
	case which == 0 && len(found) > 1:
		return spot{}, fmt.Errorf("%d places match %q; add a word or #1 to #%[1]d", len(found), at)
	}
	return found[max(which, 1)-1], nil
}

// declaration is a function, method or package variable in a file of the tree.
type declaration struct {
	name string
	file string // from the repository's root
	text []byte
	set  *token.FileSet
	node ast.Node
}

// declarations returns those of a folder with the given name, F, T.F for a method,
// or the name of a variable or constant; all of them where name is empty.
func declarations(folder, name string) (found []declaration, err error) {
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		eachDeclaration(parsed, func(n string, node ast.Node) {
			if name == "" || n == name {
				found = append(found, declaration{n, path.Join(folder, filepath.Base(file)), text, set, node})
			}
		})
	}
	return found, nil
}

func eachDeclaration(file *ast.File, f func(name string, n ast.Node)) {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			f(functionName(d), d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					f(v.Names[0].Name, v)
				}
			}
		}
	}
}

// functionName is F, or T.F for a method of T or *T.
func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if of, ok := t.(*ast.IndexExpr); ok {
		t = of.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + f.Name.Name
	}
	return f.Name.Name
}
