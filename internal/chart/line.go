package chart

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Series is one line of a chart. X and Y have the same length; a NaN in Y
// interrupts the line.
type Series struct {
	Name string
	X, Y []float64
}

// Line is a line chart. XText and YText format the values on the axes; if nil, plain
// numbers are printed.
type Line struct {
	Title        string
	XLabel       string
	YLabel       string
	XText, YText func(float64) string
	Series       []Series
	// X0 and X1 are the ends of the x axis if X1 is greater; otherwise it ends with the
	// values. XStep is the distance of its ticks; 0: round numbers.
	X0, X1, XStep float64
	Height        float64 // in SVG units; 0: 300
}

// Size and margins of the chart, in SVG units.
const (
	width, usualHeight       = 760.0, 300.0
	left, right, top, bottom = 64.0, 16.0, 48.0, 46.0
)

// palette is distinguishable with color blindness (Okabe and Ito).
var palette = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// SVG renders the chart.
func (c *Line) SVG() string {
	x0, x1, y0, y1 := c.bounds()
	height := c.Height
	if height <= 0 {
		height = usualHeight
	}
	sx := func(x float64) float64 { return left + (x-x0)/(x1-x0)*(width-left-right) }
	sy := func(y float64) float64 { return height - bottom - (y-y0)/(y1-y0)*(height-top-bottom) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s" xmlns="http://www.w3.org/2000/svg">`, width, height, html.EscapeString(c.Title))
	fmt.Fprintf(&b, `<text x="%g" y="18" class="t">%s</text>`, left, html.EscapeString(c.Title))
	for _, v := range ticks(y0, y1) {
		fmt.Fprintf(&b, `<line class="g" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="a" text-anchor="end" x="%g" y="%.1f">%s</text>`,
			left, width-right, sy(v), sy(v), left-6, sy(v)+4, html.EscapeString(text(c.YText, v)))
	}
	for _, v := range c.xTicks(x0, x1) {
		fmt.Fprintf(&b, `<text class="a" text-anchor="middle" x="%.1f" y="%g">%s</text>`, sx(v), height-bottom+16, html.EscapeString(text(c.XText, v)))
	}
	fmt.Fprintf(&b, `<text class="a" text-anchor="middle" x="%g" y="%g">%s</text>`, (left+width-right)/2, height-8, html.EscapeString(c.XLabel))
	fmt.Fprintf(&b, `<text class="a" text-anchor="middle" transform="translate(14 %g) rotate(-90)">%s</text>`, (top+height-bottom)/2, html.EscapeString(c.YLabel))
	for i, s := range c.Series {
		color := palette[i%len(palette)]
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.8" d="%s"/>`, color, path(s, sx, sy))
		if len(s.X) == 1 && !math.IsNaN(s.Y[0]) {
			fmt.Fprintf(&b, `<circle fill="%s" r="3" cx="%.1f" cy="%.1f"/>`, color, sx(s.X[0]), sy(s.Y[0]))
		}
	}
	fmt.Fprintf(&b, `<text class="a" x="%g" y="36">`, left) // the legend, above the curves
	for i, s := range c.Series {
		fmt.Fprintf(&b, `<tspan dx="%d" style="fill:%s">&#9632; %s</tspan>`, 14*min(i, 1), palette[i%len(palette)], html.EscapeString(s.Name))
	}
	b.WriteString("</text>")
	b.WriteString("</svg>")
	return b.String()
}

func path(s Series, sx, sy func(float64) float64) string {
	var b strings.Builder
	pen := byte('M')
	for i := range s.X {
		if math.IsNaN(s.Y[i]) {
			pen = 'M'
			continue
		}
		b.WriteByte(pen)
		b.WriteString(strconv.FormatFloat(sx(s.X[i]), 'f', 1, 64))
		b.WriteByte(' ')
		b.WriteString(strconv.FormatFloat(sy(s.Y[i]), 'f', 1, 64))
		pen = 'L'
	}
	return b.String()
}

// xTicks returns the ticks of the x axis.
func (c *Line) xTicks(lo, hi float64) (out []float64) {
	if c.XStep <= 0 {
		return ticks(lo, hi)
	}
	for v := math.Ceil(lo/c.XStep) * c.XStep; v <= hi+c.XStep*1e-9; v += c.XStep {
		out = append(out, v)
	}
	return out
}

// bounds returns the range of all series. The y axis starts at zero unless a value is
// negative.
func (c *Line) bounds() (x0, x1, y0, y1 float64) {
	x0, x1, y1 = math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, s := range c.Series {
		for i := range s.X {
			x0, x1 = min(x0, s.X[i]), max(x1, s.X[i])
			if !math.IsNaN(s.Y[i]) {
				y0, y1 = min(y0, s.Y[i]), max(y1, s.Y[i])
			}
		}
	}
	if c.X1 > c.X0 {
		x0, x1 = c.X0, c.X1
	}
	if !(x1 > x0) {
		x0, x1 = 0, 1
	}
	if !(y1 > y0) {
		y1 = y0 + 1
	}
	return x0, x1, y0, y1
}

// ticks returns about four to nine round values within [lo, hi].
func ticks(lo, hi float64) []float64 {
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*m) <= 8 {
			step *= m
			break
		}
	}
	var out []float64
	for v := math.Ceil(lo/step) * step; v <= hi+step*1e-9; v += step {
		out = append(out, v)
	}
	return out
}

func text(format func(float64) string, v float64) string {
	if format != nil {
		return format(v)
	}
	return strconv.FormatFloat(v, 'g', 5, 64)
}
