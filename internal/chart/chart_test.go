package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestSVGIsWellFormedAndEscaped(t *testing.T) {
	c := Line{Title: `<script>"&`, Series: []Series{{Name: "a<b", X: []float64{0, 1, 2, 3}, Y: []float64{1, math.NaN(), 3, -2}}, {Name: "flat", X: []float64{1}, Y: []float64{5}}}}
	svg := c.SVG()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
	}
	if strings.Contains(svg, "<script") || strings.Contains(svg, "NaN") {
		t.Errorf("text is not escaped: %s", svg)
	}
	if got := strings.Count(svg, "M"); got < 3 {
		t.Errorf("a missing value does not interrupt the line: got %d strokes", got)
	}
}

func TestTicksStayInside(t *testing.T) {
	for _, r := range [][2]float64{{0, 1}, {0, 24}, {-3, 7.5}, {0, 1e-6}, {0, 123456}} {
		got := ticks(r[0], r[1])
		if len(got) < 3 || len(got) > 10 {
			t.Errorf("%v: %d ticks %v", r, len(got), got)
		}
	}
}

func TestPageEscapes(t *testing.T) {
	var b strings.Builder
	err := WritePage(&b, "a<b", []Section{{Title: "x&y", Text: "<i>", Table: &Table{Head: []string{"h"}, Rows: [][]string{{"<td>"}}}}})
	if err != nil || strings.Contains(b.String(), "<i>") || !strings.Contains(b.String(), "&lt;td&gt;") {
		t.Errorf("%v: %s", err, b.String())
	}
}
