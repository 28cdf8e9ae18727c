package explain

import (
	"fmt"
	"time"

	"rebound/campaigns"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Frequency is how much of one line's frequency cap a visitor has used.
type Frequency struct {
	Line  string    `json:"line"` // advertiser/campaign/line
	Count int       `json:"count"`
	Max   int       `json:"max,omitempty"` // 0: only a minimum time between impressions
	Per   string    `json:"per"`
	Last  time.Time `json:"last,omitzero"` // most recent impression
	// Reason is why the cap refuses a bid now; empty if it takes one.
	Reason rtb.NoBidReason `json:"reason,omitempty"`
	Frees  time.Time       `json:"frees,omitzero"`
	Text   string          `json:"text"`
}

// FrequencyFor lists the caps of lines of which a visitor has used something. It is never
// nil.
func FrequencyFor(m Money, lines []*campaigns.Line, v *rtb.Visitor, now time.Time) []Frequency {
	out := []Frequency{}
	for _, l := range lines {
		for _, u := range m.FrequencyOf(v, l.Frequency, now) {
			if u.Count == 0 && u.Reason == rtb.NoBidNone {
				continue
			}
			f := Frequency{Line: l.ID.String(), Count: u.Count, Per: spec.FormatDuration(u.Cap.Per), Reason: u.Reason}
			f.Text = fmt.Sprintf("%d in %s, no maximum", u.Count, f.Per)
			if u.Cap.Max < campaigns.Unlimited {
				f.Max = u.Cap.Max
				f.Text = fmt.Sprintf("%d/%d in %s", u.Count, u.Cap.Max, f.Per)
			}
			if u.Last > 0 {
				f.Last = u.Last.Time()
			}
			if u.Gap {
				f.Text += ", min_gap " + spec.FormatDuration(u.Cap.MinGap)
			}
			if u.Frees > 0 {
				f.Frees = u.Frees.Time()
				f.Text += ", frees " + clock(f.Frees, now)
			}
			out = append(out, f)
		}
	}
	return out
}
