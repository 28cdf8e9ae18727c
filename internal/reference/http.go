package reference

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// HTTP returns docs/http.md with its generated parts renewed: the table of routes, the
// reasons for which events are rejected, and the outcomes of notices. Each is between
// a line "<!-- begin NAME -->" and a line "<!-- end NAME -->".
func HTTP(root, doc string) (string, error) {
	s := &source{root: root, files: map[string][]*ast.File{}}
	for _, dir := range []string{"cmd/bidder", "collect", "tracking"} {
		if err := s.parse(dir); err != nil {
			return "", err
		}
	}
	routes, err := s.routes()
	if err != nil {
		return "", err
	}
	for _, part := range []struct{ name, text string }{
		{"routes", routes},
		{"rejects", s.enum("collect", "Reject", "rejectNames", "| code | meaning |\n|---|---|\n")},
		{"notices", s.enum("tracking", "Code", "codeNames", "| code | meaning |\n|---|---|\n")},
	} {
		if doc, err = replacePart(doc, part.name, part.text); err != nil {
			return "", err
		}
	}
	return doc, nil
}

func replacePart(doc, name, text string) (string, error) {
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(doc, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("cannot generate docs/http.md: got no lines %q and %q", strings.TrimSpace(begin), end)
	}
	return before + begin + text + end + after, nil
}

// listeners are the functions that register the routes of each listener.
var listeners = []struct{ name, function string }{{"bid", "bidRoutes"}, {"edge", "edgeRoutes"}, {"admin", "adminRoutes"}}

// routes lists the routes as the program registers them.
func (s *source) routes() (string, error) {
	text := "| listener | methods | path |\n|---|---|---|\n"
	for _, l := range listeners {
		fn := s.function("cmd/bidder", l.function)
		if fn == nil {
			return "", fmt.Errorf("cannot generate docs/http.md: found no function %s in cmd/bidder", l.function)
		}
		var paths []string
		methods := map[string][]string{}
		add := func(path string, names ...string) {
			if methods[path] == nil {
				paths = append(paths, path)
			}
			methods[path] = append(methods[path], names...)
		}
		calls(fn, func(name string, args []ast.Expr) {
			switch {
			case name == "Read" && len(args) == 2:
				add(s.path(args[0]), "GET", "HEAD")
			case name == "Handle" && len(args) == 3 && s.path(args[1]) != "":
				add(s.path(args[1]), strings.ToUpper(strings.TrimPrefix(expression(args[0]), "fasthttp.Method")))
			case name == "Routes" && len(args) == 0: // of the notices
				for _, path := range s.noticePaths() {
					add(path, "GET", "POST")
				}
			}
		})
		for _, path := range paths {
			text += fmt.Sprintf("| %s | %s | `%s` |\n", l.name, strings.Join(methods[path], ", "), shown(path))
		}
	}
	return text, nil
}

// path returns the path that an argument denotes: a literal, or the constant
// approvalPrefix followed by one.
func (s *source) path(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.BinaryExpr:
		return s.path(t.X) + s.path(t.Y)
	case *ast.Ident:
		return s.constant("cmd/bidder", t.Name)
	}
	return literal(e)
}

// shown returns a route as the documentation names it.
func shown(path string) string {
	switch path {
	case "/openrtb2/*":
		return "/openrtb2/{exchange}"
	case "/v1/vast/*":
		return "/v1/vast/{event}"
	case "/admin/creatives/*":
		return "/admin/creatives/{id}/approval"
	case "/v1/lists/*":
		return "/v1/lists/{id}"
	case "/v1/jobs/*":
		return "/v1/jobs/{id}"
	case "/v1/audiences/*":
		return "/v1/audiences/{id}"
	case "/admin/audiences/*":
		return "/admin/audiences/{id}/rebuild"
	}
	return path
}

// noticePaths returns the paths of tracking's handler.
func (s *source) noticePaths() (paths []string) {
	fn := s.function("tracking", "Routes")
	if fn == nil {
		return nil
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		if l, ok := n.(*ast.CompositeLit); ok && len(l.Elts) == 2 && strings.HasPrefix(literal(l.Elts[0]), "/") {
			paths = append(paths, literal(l.Elts[0]))
		}
		return true
	})
	return paths
}

func (s *source) function(dir, name string) *ast.FuncDecl {
	for _, f := range s.files[dir] {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == name && fn.Body != nil {
				return fn
			}
		}
	}
	return nil
}

// values visits the constants and variables of a folder.
func (s *source) values(dir string, visit func(*ast.GenDecl, *ast.ValueSpec)) {
	for _, f := range s.files[dir] {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || (g.Tok != token.CONST && g.Tok != token.VAR) {
				continue
			}
			for _, spec := range g.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					visit(g, v)
				}
			}
		}
	}
}

// constant returns the text of a constant.
func (s *source) constant(dir, name string) (text string) {
	s.values(dir, func(_ *ast.GenDecl, v *ast.ValueSpec) {
		if len(v.Names) == 1 && v.Names[0].Name == name && len(v.Values) == 1 {
			text = literal(v.Values[0])
		}
	})
	return text
}

// enum lists the names of an enumeration, which are in an array in the order of the
// constants, with the comments of the constants.
func (s *source) enum(dir, typ, array, head string) string {
	var comments, names []string
	s.values(dir, func(g *ast.GenDecl, v *ast.ValueSpec) {
		first, ok := g.Specs[0].(*ast.ValueSpec)
		if ok && g.Tok == token.CONST && first.Type != nil && expression(first.Type) == typ {
			comments = append(comments, v.Comment.Text())
		}
		if v.Names[0].Name == array && len(v.Values) == 1 {
			if l, ok := v.Values[0].(*ast.CompositeLit); ok {
				for _, e := range l.Elts {
					names = append(names, literal(e))
				}
			}
		}
	})
	for i, name := range names {
		if name != "" && i < len(comments) {
			head += fmt.Sprintf("| `%s` | %s |\n", name, cell(comments[i]))
		}
	}
	return head
}

// Routes returns the paths of docs/http.md's table of routes.
func Routes(doc string) (paths []string) {
	_, rest, _ := strings.Cut(doc, "<!-- begin routes -->")
	table, _, _ := strings.Cut(rest, "<!-- end routes -->")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) == 5 {
			if path := strings.Trim(strings.TrimSpace(cells[3]), "`"); strings.HasPrefix(path, "/") {
				paths = append(paths, path)
			}
		}
	}
	return paths
}
