package chart

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// Table is a table of text with a header row; cells are escaped when rendered.
type Table struct {
	Head []string
	Rows [][]string
}

// Section is a section of a page. Any of its fields may be empty.
type Section struct {
	Title  string
	Text   string
	Table  *Table
	Charts []*Line
}

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:820px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;display:block;overflow-x:auto}
td,th{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child{text-align:left}
svg{width:100%;height:auto;margin:.6rem 0}.t{font:600 14px system-ui,sans-serif}.a{font:11px system-ui,sans-serif;fill:#555}.g{stroke:#e6e6e6}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#ddd}.t{fill:#ddd}.a{fill:#aaa}.g{stroke:#333}td,th{border-color:#333}}`

// WritePage writes a complete HTML page. It returns the error of the writer.
func WritePage(w io.Writer, title string, sections []Section) error {
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>%s</title><style>%s</style>\n<h1>%s</h1>\n",
		html.EscapeString(title), style, html.EscapeString(title))
	for _, s := range sections {
		if s.Title != "" {
			fmt.Fprintf(&b, "<h2>%s</h2>\n", html.EscapeString(s.Title))
		}
		if s.Text != "" {
			fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(s.Text))
		}
		if s.Table != nil {
			s.Table.write(&b)
		}
		for _, c := range s.Charts {
			b.WriteString(c.SVG())
			b.WriteByte('\n')
		}
	}
	b.WriteString("</html>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

func (t *Table) write(b *strings.Builder) {
	row := func(tag string, cells []string) {
		b.WriteString("<tr>")
		for _, c := range cells {
			fmt.Fprintf(b, "<%s>%s</%s>", tag, html.EscapeString(c), tag)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("<table>\n")
	row("th", t.Head)
	for _, r := range t.Rows {
		row("td", r)
	}
	b.WriteString("</table>\n")
}
