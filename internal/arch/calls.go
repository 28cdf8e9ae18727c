package arch

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// checkCalls finds calls that only the programs may make: ending the process,
// reading the wall clock and building a logger.
func checkCalls(s *source) (found []Violation) {
	program := strings.HasPrefix(s.room, "cmd/")
	clock := slices.Contains(clockRooms, s.room)
	add := func(n ast.Node, rule, name, text string) {
		found = append(found, Violation{s.path, s.line(n.Pos()), rule, name, text})
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			return !s.setsDefaultClock(n)
		case *ast.CallExpr:
			if name := s.ending(n); name != "" && !program {
				add(n, "ending", name, fmt.Sprintf("%s is called here; return an error instead: only package main may end the process", name))
			}
		case *ast.SelectorExpr:
			name := s.qualified(n)
			if slices.Contains(clockReaders, name) && !clock {
				add(n, "clock", name, fmt.Sprintf("%s is used here; accept the time as an argument or a func() time.Time: only cmd and server read the wall clock", name))
			}
			if slices.Contains(loggerMakers, name) && !program {
				add(n, "logger", name, fmt.Sprintf("%s is used here; accept a *zap.Logger from cmd: a logger that a package builds for itself cannot be configured", name))
			}
		}
		return true
	})
	return found
}

// setsDefaultClock reports whether a statement assigns time.Now, without calling it,
// to a field called Now, as the default of an option that the caller left unset.
func (s *source) setsDefaultClock(a *ast.AssignStmt) bool {
	if len(a.Lhs) != 1 || len(a.Rhs) != 1 {
		return false
	}
	to, ok := a.Lhs[0].(*ast.SelectorExpr)
	from, named := a.Rhs[0].(*ast.SelectorExpr)
	return ok && named && strings.EqualFold(to.Sel.Name, "now") && s.qualified(from) == "time.Now"
}

// ending returns the name of a call that ends the process or panics, or the empty
// string for any other call.
func (s *source) ending(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		if f.Name == "panic" {
			return "panic"
		}
	case *ast.SelectorExpr:
		name := s.qualified(f)
		if slices.Contains(endings, name) {
			return name
		}
		if name == "" && slices.Contains(loggerEndings, f.Sel.Name) {
			return "logger." + f.Sel.Name
		}
	}
	return ""
}

// qualified returns package.Name if the selector refers to an imported package,
// under whatever local name, and the empty string otherwise.
func (s *source) qualified(sel *ast.SelectorExpr) string {
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	found := ""
	for _, spec := range s.file.Imports {
		full := strings.Trim(spec.Path.Value, `"`)
		base := full[strings.LastIndexByte(full, '/')+1:]
		local := base
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == x.Name {
			found = base + "." + sel.Sel.Name
		}
	}
	return found
}
