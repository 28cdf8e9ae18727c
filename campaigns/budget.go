package campaigns

import (
	"strconv"
	"time"

	"rebound/rtb"
)

// maxImps is the largest cap on impressions.
const maxImps = 1_000_000_000_000

// limited reports whether a cap other than one per hour is set.
func (s *BudgetSpec) limited() bool {
	return s.Daily != nil || s.Flight != nil || s.Total != nil || s.ImpsDaily != nil || s.ImpsFlight != nil || s.ImpsTotal != nil
}

// limits compiles the caps of an owner. start is when its flight begins.
func (c *compiler) limits(path string, o rtb.Owner, s *BudgetSpec, start time.Time) (limits rtb.Limits) {
	money := [...]*rtb.Micros{s.Hourly, s.Daily, s.Flight, s.Total}
	imps := [...]*int64{s.ImpsHourly, s.ImpsDaily, s.ImpsFlight, s.ImpsTotal}
	windows := [...]rtb.Window{rtb.WindowHour, rtb.WindowDay, rtb.WindowFlight, rtb.WindowTotal}
	names := [...]string{"hourly", "daily", "flight", "total"}
	var amounts [2][len(windows)]rtb.Micros
	for i := range windows {
		path := path + ".budget."
		amounts[0][i] = c.money(path+names[i], money[i])
		amounts[1][i] = c.imps(path+"imps_"+names[i], imps[i])
		if windows[i] == rtb.WindowFlight && start.IsZero() && (money[i] != nil || imps[i] != nil) {
			name := names[i]
			if money[i] == nil {
				name = "imps_" + name
			}
			c.AddHint(path+name, "a cap per flight without a start", "start, the time at which the flight begins", "use total for a cap without dates")
		}
		limits.Set(rtb.CapOf(o, windows[i], false), amounts[0][i])
		limits.Set(rtb.CapOf(o, windows[i], true), amounts[1][i])
	}
	for unit, prefix := range []string{"", "imps_"} {
		c.ordered(path+".budget."+prefix, prefix, names[:], amounts[unit][:])
	}
	return limits
}

// ordered refuses a cap that a cap in a longer window makes meaningless.
func (c *compiler) ordered(path, prefix string, names []string, amounts []rtb.Micros) {
	for i, own := range amounts {
		for j := i + 1; j < len(amounts); j++ {
			if longer := amounts[j]; longer > 0 && own > longer {
				c.Add(path+names[i], own.String(), "at most "+prefix+names[j]+", "+longer.String())
				break
			}
		}
	}
}

// imps checks a cap on impressions and returns it in millionths.
func (c *compiler) imps(path string, n *int64) rtb.Micros {
	switch {
	case n == nil:
		return 0
	case *n <= 0:
		c.AddHint(path, strconv.FormatInt(*n, 10), "1 or more", "leave the field out to set no cap")
		return 0
	case *n > maxImps:
		c.Add(path, strconv.FormatInt(*n, 10), "at most "+strconv.FormatInt(maxImps, 10))
		return 0
	}
	return rtb.Micros(*n) * rtb.ImpressionUnit
}

// limitsOf returns the limits of a line, its campaign and its advertiser.
func limitsOf(l *Line) rtb.Limits {
	limits := l.Limits
	for i := range limits {
		limits[i] = max(limits[i], l.Campaign.Limits[i], l.Advertiser.Limits[i])
	}
	return limits
}

// flightsOf returns the days on which the flights of a line, its campaign and its
// advertiser begin.
func flightsOf(l *Line) (f rtb.Flights) {
	for i, start := range []time.Time{rtb.OwnLine: l.Start, rtb.OwnCampaign: l.Campaign.Start, rtb.OwnAdvertiser: l.Advertiser.Start} {
		if !start.IsZero() {
			f[i] = rtb.DayOf(start, l.Advertiser.Zone)
		}
	}
	return f
}

// within returns the part of a time from start to end that is within another one. Zero
// times are open.
func within(start, end, from, to time.Time) (time.Time, time.Time) {
	if start.Before(from) {
		start = from
	}
	if !to.IsZero() && (end.IsZero() || end.After(to)) {
		end = to
	}
	return start, end
}
