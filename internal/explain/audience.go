package explain

import (
	"fmt"
	"strings"
	"time"

	"rebound/audiences"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Audience is one audience and why a visitor is in it or not.
type Audience struct {
	Audience   string `json:"audience"`
	Advertiser string `json:"advertiser"`
	In         bool   `json:"in"`
	// Excluded is set if only the exclusion keeps the visitor out.
	Excluded bool      `json:"excluded,omitempty"`
	Last     time.Time `json:"last,omitzero"` // latest event that counts
	Count    uint32    `json:"count,omitempty"`
	// Conditions are those of the rule, in its order.
	Conditions []Condition `json:"conditions"`
}

// Condition is one condition of a rule.
type Condition struct {
	Met      bool   `json:"met"`
	Excludes bool   `json:"excludes,omitempty"`
	Audience string `json:"audience,omitempty"` // that the rule refers to
	Rule     string `json:"rule"`
	Have     string `json:"have"`
}

// AudienceFor explains whether a visitor is in an audience outside of a request.
func AudienceFor(set *audiences.Set, p *audiences.Program, v *rtb.Visitor, now time.Time) Audience {
	return audienceOf(set, p, p.Eval(v, now, audiences.Window{}), p.Conditions(v, nil, now))
}

func audienceOf(set *audiences.Set, p *audiences.Program, r audiences.Verdict, list []audiences.Met) Audience {
	a := Audience{Audience: p.ID(), Advertiser: p.Advertiser(), In: r.In, Excluded: r.Excluded, Count: r.Count, Conditions: []Condition{}}
	if r.Last > 0 {
		a.Last = r.Last.Time()
	}
	for i := range list {
		m := &list[i]
		c := Condition{Met: m.OK, Excludes: m.Excludes, Audience: m.Audience, Rule: "a condition on the request", Have: "the request does not meet it"}
		if m.OK {
			c.Have = "the request meets it"
		}
		if m.Segment != 0 {
			c.Rule, c.Have = ruleText(set, p.Advertiser(), m), haveText(m)
		}
		a.Conditions = append(a.Conditions, c)
	}
	return a
}

// ruleText describes what a condition asks for.
func ruleText(set *audiences.Set, advertiser string, m *audiences.Met) string {
	text := ""
	if set != nil {
		text = strings.TrimPrefix(set.Text(m.Segment), advertiser+" ")
	}
	if text == "" {
		text = m.Event
	}
	if m.MinCount > 1 {
		text += fmt.Sprintf(" at least %d times", m.MinCount)
	}
	if m.MinValue > 0 {
		text += " worth at least " + m.MinValue.String()
	}
	if m.Within > 0 {
		text += " within " + spec.FormatDuration(m.Within)
	}
	if m.NotWithin > 0 {
		text += " and not within " + spec.FormatDuration(m.NotWithin)
	}
	return text
}

// haveText describes what the profile has.
func haveText(m *audiences.Met) string {
	switch m.Count {
	case 0:
		return "never"
	case 1:
		return "once, at " + m.Last.Time().Format(time.RFC3339)
	}
	return fmt.Sprintf("%d times, last at %s", m.Count, m.Last.Time().Format(time.RFC3339))
}

// Text describes the audience in one line: the conditions that put the visitor there, or
// what is missing.
func (a *Audience) Text() string {
	var parts []string
	for i := range a.Conditions {
		c := &a.Conditions[i]
		if c.Excludes && !c.Met || a.In && !c.Met {
			continue
		}
		mark := ""
		switch {
		case c.Excludes:
			mark = "excluded by "
		case !c.Met:
			mark = "missing "
		}
		if c.Audience != "" {
			mark += c.Audience + ": "
		}
		parts = append(parts, mark+c.Rule+": "+c.Have)
	}
	state := "out"
	if a.In {
		state = "in"
	}
	return fmt.Sprintf("%s %s: %s", state, a.Audience, orNone(strings.Join(parts, "; ")))
}
