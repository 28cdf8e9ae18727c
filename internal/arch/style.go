package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"strings"
)

// checkSizes checks the lengths of the file and its functions.
func checkSizes(s *source) (found []Violation) {
	if s.lines > maxFileLines {
		found = append(found, Violation{s.path, 0, "file-size", "", fmt.Sprintf(
			"the file has %d lines; want at most %d: split it by subject", s.lines, maxFileLines)})
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunctionLines {
			found = append(found, Violation{s.path, s.line(f.Pos()), "function-size", f.Name.Name, fmt.Sprintf(
				"function %s has %d lines; want at most %d: split it into named steps", f.Name.Name, n, maxFunctionLines)})
		}
	}
	return found
}

// checkPackages checks that every package has exactly one package comment.
func checkPackages(t *tree) (found []Violation) {
	type pkg struct {
		name, file string
		comments   []string
	}
	packages := map[string]*pkg{}
	var order []string
	for _, s := range t.sources {
		if s.test {
			continue
		}
		p := packages[s.dir]
		if p == nil {
			p = &pkg{name: s.file.Name.Name, file: s.path}
			packages[s.dir] = p
			order = append(order, s.dir)
		}
		if s.file.Doc != nil {
			p.comments = append(p.comments, s.file.Doc.Text())
		}
	}
	for _, dir := range order {
		p := packages[dir]
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + path.Base(dir) + " "
		}
		switch {
		case len(p.comments) == 0:
			found = append(found, Violation{p.file, 0, "package-comment", dir, fmt.Sprintf(
				"package %s has no comment; want one in doc.go that begins %q and states what it guarantees, its units and its callers", dir, want)})
		case len(p.comments) > 1:
			found = append(found, Violation{p.file, 0, "package-comment", dir, fmt.Sprintf(
				"package %s has %d comments; want one, in doc.go", dir, len(p.comments))})
		case !strings.HasPrefix(p.comments[0], want):
			found = append(found, Violation{p.file, 0, "package-comment", dir, fmt.Sprintf(
				"the comment of package %s begins %.40q; want %q", dir, p.comments[0], want)})
		}
	}
	return found
}

// checkNames checks that every exported name of an importable package has a comment.
// The comment of a group covers its constants and variables; fields need none.
func checkNames(s *source) (found []Violation) {
	if s.file.Name.Name == "main" {
		return nil
	}
	bare := func(name *ast.Ident, kind string) {
		found = append(found, Violation{s.path, s.line(name.Pos()), "undocumented", name.Name, fmt.Sprintf(
			"exported %s %s has no comment; document its purpose, units and errors", kind, name.Name)})
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && ast.IsExported(receiver(d)) {
				bare(d.Name, "function")
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				checkSpec(d, spec, bare)
			}
		}
	}
	return found
}

func checkSpec(d *ast.GenDecl, spec ast.Spec, bare func(*ast.Ident, string)) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && spec.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			bare(spec.Name, "type")
		}
	case *ast.ValueSpec:
		if d.Doc != nil || spec.Doc != nil || spec.Comment != nil {
			return
		}
		for _, name := range spec.Names {
			if name.IsExported() {
				bare(name, map[token.Token]string{token.CONST: "constant", token.VAR: "variable"}[d.Tok])
			}
		}
	}
}

// receiver returns the name of the type of a method, and an exported name for a
// function without receiver.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return "Function"
	}
	t := f.Recv.List[0].Type
	for {
		switch of := t.(type) {
		case *ast.StarExpr:
			t = of.X
		case *ast.IndexExpr:
			t = of.X
		case *ast.IndexListExpr:
			t = of.X
		case *ast.Ident:
			return of.Name
		default:
			return ""
		}
	}
}
