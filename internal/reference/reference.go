package reference

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/internal/cli"
	"rebound/rtb"
)

// source holds the parsed Go files of some folders.
type source struct {
	root  string
	files map[string][]*ast.File // by folder
}

// Document returns the text of docs/reference.md for the source below root.
func Document(root string) (string, error) {
	s := &source{root: root, files: map[string][]*ast.File{}}
	for _, dir := range []string{"cmd/bidder", "cmd/replay", "cmd/loadtest", "config", "exchange", "campaigns", "audiences", "creatives", "events", "rtb"} {
		if err := s.parse(dir); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	b.WriteString("# Reference\n\nGenerated from the source by `go test ./internal/reference -update`; do not edit.\n")
	s.flags(&b)
	s.config(&b)
	s.metrics(&b)
	reasons(&b)
	s.records(&b)
	return b.String(), nil
}

func (s *source) parse(dir string) error {
	entries, err := fs.ReadDir(os.DirFS(s.root), dir)
	if err != nil {
		return fmt.Errorf("cannot read source: %w", err)
	}
	set := token.NewFileSet()
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, filepath.Join(s.root, dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("cannot parse %s: %w", path.Join(dir, e.Name()), err)
		}
		s.files[dir] = append(s.files[dir], f)
	}
	return nil
}

// calls visits every method or package function call below a node, in source order.
func calls(n ast.Node, visit func(name string, args []ast.Expr)) {
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
			visit(sel.Sel.Name, call.Args)
		}
		return true
	})
}

// flags lists the flags of every command, which it finds by the calls that define
// them and the name that the same function gives to its flag set.
func (s *source) flags(b *strings.Builder) {
	b.WriteString("\n## Flags\n")
	for _, dir := range []string{"cmd/bidder", "cmd/replay", "cmd/loadtest"} {
		for _, f := range s.files[dir] {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					commandFlags(b, path.Base(dir), fn)
				}
			}
		}
	}
}

var flagKinds = []string{"String", "Int", "Bool", "Float64", "Uint64", "Duration"}

// commandFlags writes the flags that one function defines. The name is the second
// argument of the forms that set a variable, and the first of the others.
func commandFlags(b *strings.Builder, program string, fn *ast.FuncDecl) {
	command, rows := "", ""
	calls(fn, func(name string, args []ast.Expr) {
		if (name == "flags" || name == "NewFlagSet") && len(args) > 0 && command == "" {
			command = strings.TrimPrefix(literal(args[0]), program+" ")
		}
		if !slices.Contains(flagKinds, strings.TrimSuffix(name, "Var")) {
			return
		}
		if strings.HasSuffix(name, "Var") && len(args) > 0 {
			args = args[1:]
		}
		if len(args) != 3 || literal(args[0]) == "" || literal(args[2]) == "" {
			return
		}
		rows += fmt.Sprintf("| `--%s` | %s | %s |\n", literal(args[0]), code(value(args[1])), cell(strings.ReplaceAll(literal(args[2]), "`", "")))
	})
	if rows != "" && command != "" {
		fmt.Fprintf(b, "\n### %s %s\n\n| flag | default | meaning |\n|---|---|---|\n%s", program, command, rows)
	}
}

// config documents the structs of the configuration file, starting at config.File.
func (s *source) config(b *strings.Builder) {
	b.WriteString("\n## Configuration\n\nOne YAML file; unknown fields are errors. Durations are written 90s, 30m, 12h, 7d or 4w, sizes 20GiB, and money as a decimal in major units.\n")
	s.structs(b, "config", "File", "yaml", map[string]bool{})
}

// structs writes a table for a struct, then one for each struct that its fields use.
func (s *source) structs(b *strings.Builder, dir, name, tag string, done map[string]bool) {
	of, doc := s.find(dir, name)
	if of == nil || done[dir+"."+name] {
		return
	}
	done[dir+"."+name] = true
	st, ok := of.(*ast.StructType)
	if list, is := of.(*ast.ArrayType); is && tag == "yaml" {
		fmt.Fprintf(b, "\n### %s.%s\n\n%s\n", dir, name, cell(doc))
		d, n := typeName(dir, list.Elt)
		s.structs(b, d, n, tag, done)
	}
	if !ok {
		return
	}
	fmt.Fprintf(b, "\n### %s.%s\n\n%s\n", dir, name, cell(doc))
	if slices.ContainsFunc(st.Fields.List, func(f *ast.Field) bool { return fieldKey(f, tag) != "" || len(f.Names) == 0 }) {
		b.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
	}
	type below struct{ dir, name string }
	var next []below
	for _, f := range st.Fields.List {
		d, n := typeName(dir, f.Type)
		key := fieldKey(f, tag)
		switch {
		case key == "-" || (key == "" && len(f.Names) > 0 && !ast.IsExported(f.Names[0].Name)):
			continue
		case key == "" && len(f.Names) == 0:
			fmt.Fprintf(b, "| *fields of %s* | | |\n", n)
		case key != "":
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, code(strings.ReplaceAll(expression(f.Type), "spec.", "")), cell(withValues(f)))
		}
		if key != "" || len(f.Names) == 0 {
			next = append(next, below{d, n})
		}
	}
	for _, n := range next {
		s.structs(b, n.dir, n.name, tag, done)
	}
}

// withValues returns the comment of a field, followed by the values that it accepts
// if the comment does not name them all.
func withValues(f *ast.Field) string {
	doc, list := strings.TrimSpace(fieldDoc(f)), fieldTag(f, "enum")
	if list == "" {
		return doc
	}
	values := strings.Split(list, ",")
	if !slices.ContainsFunc(values, func(v string) bool { return !strings.Contains(doc, v) }) {
		return doc
	}
	return strings.TrimSuffix(doc, ".") + ". Values: " + strings.Join(values, ", ")
}

// Descriptions returns the comments of the structs and fields of the configuration as
// JSON, by struct (campaigns.LineSpec) and by struct and field
// (campaigns.LineSpec.status).
func Descriptions(root string) (string, error) {
	s := &source{root: root, files: map[string][]*ast.File{}}
	texts := map[string]string{}
	for _, dir := range []string{"config", "exchange", "campaigns", "audiences", "creatives"} {
		if err := s.parse(dir); err != nil {
			return "", err
		}
		for _, f := range s.files[dir] {
			ast.Inspect(f, func(n ast.Node) bool {
				g, ok := n.(*ast.GenDecl)
				if !ok {
					return true
				}
				for _, spec := range g.Specs {
					describe(texts, dir, g, spec)
				}
				return false
			})
		}
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(texts); err != nil {
		return "", fmt.Errorf("cannot write descriptions: %w", err)
	}
	return b.String(), nil
}

// describe adds the comments of one struct that is part of the configuration.
func describe(texts map[string]string, dir string, g *ast.GenDecl, spec ast.Spec) {
	t, ok := spec.(*ast.TypeSpec)
	if !ok {
		return
	}
	st, ok := t.Type.(*ast.StructType)
	if !ok {
		return
	}
	name := dir + "." + t.Name.Name
	for _, f := range st.Fields.List {
		key := fieldKey(f, "yaml")
		if key == "" || key == "-" {
			continue
		}
		text := strings.Join(strings.Fields(fieldDoc(f)), " ")
		if text != "" {
			texts[name+"."+key] = text
		}
		doc := t.Doc.Text()
		if doc == "" {
			doc = g.Doc.Text()
		}
		texts[name] = strings.Join(strings.Fields(doc), " ")
	}
}

// find returns the type with the given name, and its comment.
func (s *source) find(dir, name string) (ast.Expr, string) {
	for _, f := range s.files[dir] {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				t, ok := spec.(*ast.TypeSpec)
				if !ok || t.Name.Name != name {
					continue
				}
				doc := t.Doc
				if doc == nil {
					doc = g.Doc
				}
				return t.Type, doc.Text()
			}
		}
	}
	return nil, ""
}

// metrics lists the calls whose first argument is the name of a metric.
func (s *source) metrics(b *strings.Builder) {
	b.WriteString("\n## Metrics\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n")
	metric := func(name string, args []ast.Expr) {
		if len(args) < 2 || !strings.HasPrefix(literal(args[0]), "rebound_") {
			return
		}
		labels := ""
		if len(args) > 2 {
			if l, ok := args[2].(*ast.CompositeLit); ok {
				for i, e := range l.Elts {
					if i > 0 {
						labels += ", "
					}
					labels += literal(e)
				}
			}
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", literal(args[0]), strings.ToLower(name), labels, cell(literal(args[1])))
	}
	for _, f := range s.files["cmd/bidder"] {
		calls(f, metric)
	}
}

// reasons lists the no-bid reasons in the order of the stages.
func reasons(b *strings.Builder) {
	b.WriteString("\n## No-bid reasons\n\nIn the order of the stages. The reason reported for a request is that of the line that got furthest; `bidder explain` shows the reason of each line.\n\n| reason | wire nbr | meaning | what to do |\n|---|---|---|---|\n")
	for r := rtb.NoBidNone + 1; r < rtb.NoBidReasons; r++ {
		nbr := ""
		if r.NBR() > 0 {
			nbr = strconv.Itoa(r.NBR())
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r, nbr, cell(r.Meaning()), cell(r.Remedy()))
	}
}

// records lists the fields of facts and bid records.
func (s *source) records(b *strings.Builder) {
	b.WriteString("\n## Records\n\nOne JSON object per line. Fields that end in `_micros` are amounts in micros; prices are CPM in major units.\n")
	done := map[string]bool{}
	s.structs(b, "events", "Fact", "json", done)
	s.structs(b, "events", "BidRecord", "json", done)
}

// typeName returns the folder and name of the struct type at the core of a field type.
func typeName(dir string, e ast.Expr) (string, string) {
	switch t := e.(type) {
	case *ast.Ident:
		return dir, t.Name
	case *ast.StarExpr:
		return typeName(dir, t.X)
	case *ast.ArrayType:
		return typeName(dir, t.Elt)
	case *ast.MapType:
		return typeName(dir, t.Value)
	case *ast.SelectorExpr:
		if x, ok := t.X.(*ast.Ident); ok {
			return x.Name, t.Sel.Name
		}
	}
	return "", ""
}

// fieldKey returns the name of a field in the file.
func fieldKey(f *ast.Field, tag string) string {
	key, _, _ := strings.Cut(fieldTag(f, tag), ",")
	return key
}

// fieldTag returns one part of the tag of a field.
func fieldTag(f *ast.Field, tag string) string {
	if f.Tag == nil {
		return ""
	}
	text, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		return ""
	}
	return reflect.StructTag(text).Get(tag)
}

func fieldDoc(f *ast.Field) string {
	if t := f.Doc.Text(); t != "" {
		return t
	}
	return f.Comment.Text()
}

func literal(e ast.Expr) string {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(l.Value)
	if err != nil {
		return ""
	}
	return s
}

// expression renders a default or a type in words.
func expression(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.BasicLit:
		return strings.Trim(t.Value, `"`)
	case *ast.Ident:
		return t.Name
	case *ast.SelectorExpr:
		return expression(t.X) + "." + t.Sel.Name
	case *ast.StarExpr:
		return expression(t.X)
	case *ast.ArrayType:
		return "list of " + expression(t.Elt)
	case *ast.MapType:
		return "map of " + expression(t.Value)
	case *ast.BinaryExpr:
		return expression(t.X) + " " + t.Op.String() + " " + expression(t.Y)
	}
	return "any"
}

// value renders the default of a flag as a user would type it.
func value(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.BasicLit:
		return strings.ReplaceAll(strings.Trim(t.Value, `"`), "_", "")
	case *ast.BinaryExpr: // 10 * time.Second
		units := map[string]time.Duration{"time.Millisecond": time.Millisecond, "time.Second": time.Second, "time.Minute": time.Minute, "time.Hour": time.Hour}
		if n, err := strconv.Atoi(value(t.X)); err == nil && units[expression(t.Y)] > 0 {
			return (time.Duration(n) * units[expression(t.Y)]).String()
		}
	case *ast.SelectorExpr:
		if expression(t) == "cli.Sample" {
			return cli.Sample
		}
	}
	return expression(e)
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// cell renders text as one cell of a Markdown table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}
