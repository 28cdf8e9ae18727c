package campaigns

import (
	"strconv"
	"strings"
	"time"

	"rebound/internal/spec"
)

// dayparts are the minutes of the week in which a line runs, by the
// advertiser's clock, the visitor's, or either.
type dayparts struct {
	zone        *time.Location
	own, theirs *week // nil: no parts by that clock
}

// week is a set of minutes, counted from the start of Sunday.
type week [(minutesOfWeek + 63) / 64]uint64

const (
	minutesOfDay  = 24 * 60
	minutesOfWeek = 7 * minutesOfDay
)

func (w *week) add(from, to int) {
	for m := from; m < to; m++ {
		n := m % minutesOfWeek
		w[n/64] |= 1 << (n % 64)
	}
}

func (w *week) has(n int) bool { return w[n/64]&(1<<(n%64)) != 0 }

// minuteOfWeek returns the minute of the week that a clock shows.
func minuteOfWeek(t time.Time) int { return int(t.Weekday())*minutesOfDay + t.Hour()*60 + t.Minute() }

// zoneClock remembers what the clocks of a time zone show. Most lines of a request are in
// one zone, and most requests are in the second of the one before.
type zoneClock struct {
	zone   *time.Location
	second int64
	minute int // of the week
}

func (c *zoneClock) at(now time.Time, zone *time.Location) int {
	if s := now.Unix(); c.zone != zone || c.second != s {
		c.zone, c.second, c.minute = zone, s, minuteOfWeek(now.In(zone))
	}
	return c.minute
}

// matches reports whether one of the parts includes now. If the request does
// not give the visitor's time zone, parts by the visitor's clock do not match.
func (d *dayparts) matches(c *zoneClock, now time.Time, offset time.Duration, known bool) bool {
	if d.own != nil && d.own.has(c.at(now, d.zone)) {
		return true
	}
	return d.theirs != nil && known && d.theirs.has(minuteOfWeek(now.UTC().Add(offset)))
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const wantDaypart = `days and hours, followed by user for the visitor's clock, such as "mon-fri 08-22", "sat,sun 10-14:30" or "mon-sun 18-02 user"`

func (c *compiler) daypart(path string, specs []string, zone *time.Location) *dayparts {
	if len(specs) == 0 {
		return nil
	}
	key := zone.String() + "\x00" + strings.Join(specs, "\x00")
	if d := c.dayparts[key]; d != nil { // most lines of an advertiser have the same
		return d
	}
	d, before := &dayparts{zone: zone}, len(c.Problems)
	for i, s := range specs {
		words := strings.Fields(strings.ToLower(s))
		set := &d.own
		if n := len(words); n > 0 && words[n-1] == "user" {
			set, words = &d.theirs, words[:n-1]
		}
		if *set == nil {
			*set = new(week)
		}
		if len(words) != 2 || !addDayparts(*set, words[0], words[1]) {
			c.Add(spec.At(path, i), spec.Quote(s), wantDaypart)
		}
	}
	if len(c.Problems) == before {
		if c.dayparts == nil {
			c.dayparts = map[string]*dayparts{}
		}
		c.dayparts[key] = d
	}
	return d
}

// addDayparts adds hours of days. Hours that end before they begin extend into
// the next day.
func addDayparts(w *week, days, hours string) bool {
	from, to, ok := parseHours(hours)
	if !ok {
		return false
	}
	if to <= from {
		to += minutesOfDay
	}
	for part := range strings.SplitSeq(days, ",") {
		first, last, ranged := strings.Cut(part, "-")
		a, okA := parseDay(first)
		b, okB := a, true
		if ranged {
			b, okB = parseDay(last)
		}
		if !okA || !okB {
			return false
		}
		for day := a; ; day = (day + 1) % 7 {
			w.add(day*minutesOfDay+from, day*minutesOfDay+to)
			if day == b {
				break
			}
		}
	}
	return true
}

func parseDay(s string) (int, bool) {
	for i, name := range dayNames {
		if s == name {
			return i, true
		}
	}
	return 0, false
}

// parseHours parses 08-22 or 8:30-14:15 as minutes of the day; 24 is midnight.
func parseHours(s string) (from, to int, ok bool) {
	a, b, cut := strings.Cut(s, "-")
	from, okA := parseClock(a)
	to, okB := parseClock(b)
	return from, to, cut && okA && okB && from != to && from < minutesOfDay
}

func parseClock(s string) (int, bool) {
	hour, minute, ok := strings.Cut(s, ":")
	if !ok {
		minute = "0"
	}
	h, err := strconv.ParseUint(hour, 10, 8)
	m, err2 := strconv.ParseUint(minute, 10, 8)
	n := int(h)*60 + int(m)
	return n, err == nil && err2 == nil && m < 60 && n <= minutesOfDay && len(hour) <= 2
}
