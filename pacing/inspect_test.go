package pacing

import (
	"testing"
	"time"

	"rebound/rtb"
)

// FrequencyOf says when a cap frees: a second before it refuses, and then it does not.
func TestFrequencyOfFrees(t *testing.T) {
	p := newWorld(t).start("r1", "", dayPlan(10_000))
	now := rtb.Second(1_700_000_000)
	v := &rtb.Visitor{Key: rtb.Key{1}, Frequency: []rtb.FrequencyState{{Scope: 7, Last: now - 30, Buckets: []rtb.FrequencyBucket{
		{Start: now - 60, Span: 60, Count: 3}, {Start: now - 7200, Span: 3600, Count: 4}, {Start: now - 86000, Span: 60, Count: 3}}}}}
	for name, c := range map[string]struct {
		cap   rtb.FrequencyCap
		count int
		frees rtb.Second
	}{
		"cap":   {rtb.FrequencyCap{Scope: 7, Max: 10, Per: 24 * time.Hour}, 10, now - 86000 + 60 + 86400},
		"later": {rtb.FrequencyCap{Scope: 7, Max: 5, Per: 24 * time.Hour}, 10, now - 7200 + 3600 + 86400},
		"gap":   {rtb.FrequencyCap{Scope: 7, Max: 100, Per: 24 * time.Hour, MinGap: time.Minute}, 10, now + 30},
		"free":  {rtb.FrequencyCap{Scope: 7, Max: 11, Per: 24 * time.Hour}, 10, 0},
		"other": {rtb.FrequencyCap{Scope: 8, Max: 1, Per: time.Hour}, 0, 0},
	} {
		caps := []rtb.FrequencyCap{c.cap}
		u := p.FrequencyOf(v, caps, now.Time())[0]
		if u.Count != c.count || u.Frees != c.frees || (u.Reason == rtb.NoBidNone) != (c.frees == 0) || u.Gap != (name == "gap") {
			t.Errorf("%s: got %+v; want %d, frees at %d", name, u, c.count, c.frees)
		}
		if c.frees == 0 {
			continue
		}
		if before, at := p.FrequencyOf(v, caps, (c.frees - 1).Time())[0], p.FrequencyOf(v, caps, c.frees.Time())[0]; before.Reason == rtb.NoBidNone || at.Reason != rtb.NoBidNone {
			t.Errorf("%s: got %v a second before it frees and %v then", name, before.Reason, at.Reason)
		}
	}
}

// LineBudgets lists the rows that Budgets lists for the line, and when its day ends.
func TestLineBudgets(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(10_000))
	all := p.Budgets(w.now)
	if len(all) == 0 {
		t.Fatal("got no budgets")
	}
	id := p.plan[0].Line
	rows := p.LineBudgets(id, w.now)
	if len(rows) == 0 || rtb.DayOf(rows[0].Frees, p.plan[0].Zone) != rtb.DayOf(w.now, p.plan[0].Zone)+1 {
		t.Errorf("got %+v, turning at another time than the next day", rows)
	}
	for _, r := range rows {
		found := false
		for _, x := range all {
			found = found || x == r
		}
		if !found {
			t.Errorf("got %+v, which Budgets does not list", r)
		}
	}
	if rows := p.LineBudgets(rtb.LineID{Advertiser: "nobody"}, w.now); rows != nil {
		t.Errorf("got %v for an unknown line", rows)
	}
}
