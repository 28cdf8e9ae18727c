package longrun

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Bar shows the progress of a run on one line of a terminal. The zero value
// shows nothing; programs use it when their output is not a terminal.
type Bar struct {
	// W is the terminal; nil shows nothing.
	W io.Writer
	// Now is the clock, required with W.
	Now func() time.Time

	what         string
	began, shown time.Time
	width        int // of the line on the terminal
}

const (
	barWidth    = 20
	barInterval = 200 * time.Millisecond // between two updates
)

// Step is the state of a run.
type Step struct {
	What string // what is counted, such as "requests"
	Done int
	// Share is the part of the run that is done, from 0 to 1; 0: not known.
	Share float64
}

// Show updates the line, at most five times a second: a bar, the percentage, the
// number done, the rate and the remaining time. Another What starts a new line.
func (b *Bar) Show(s Step) {
	if b.W == nil {
		return
	}
	now := b.Now()
	if s.What != b.what {
		b.End()
		b.what, b.began = s.What, now
	}
	if now.Sub(b.shown) < barInterval && s.Share < 1 {
		return
	}
	b.shown = now
	text := s.text(now.Sub(b.began))
	fmt.Fprintf(b.W, "\r%-*s", b.width, text)
	b.width = len(text)
}

// End ends the line, so that what follows is not written over it.
func (b *Bar) End() {
	if b.W != nil && b.width > 0 {
		fmt.Fprintln(b.W)
	}
	b.what, b.width, b.shown = "", 0, time.Time{}
}

func (s *Step) text(elapsed time.Duration) string {
	var b strings.Builder
	share := min(max(s.Share, 0), 1)
	if share > 0 {
		full := int(share * barWidth)
		fmt.Fprintf(&b, "[%s%s] %3.0f %%  ", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*share)
	}
	fmt.Fprintf(&b, "%d %s", s.Done, s.What)
	if elapsed >= time.Second {
		fmt.Fprintf(&b, ", %.0f/s", float64(s.Done)/elapsed.Seconds())
		if share > 0 && share < 1 {
			fmt.Fprintf(&b, ", %s left", time.Duration(float64(elapsed)*(1-share)/share).Round(time.Second))
		}
	}
	return b.String()
}
