package rtb

import (
	"fmt"
	"strings"
	"time"
)

// Day is a civil day, counted in days since 1970-01-01, without a time zone.
type Day int32

// NoDay marks a cap that is not tied to a day.
const NoDay Day = -1 << 31

// DayOf returns the civil day of t in zone.
func DayOf(t time.Time, zone *time.Location) Day {
	y, m, d := t.In(zone).Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// Start returns the first instant of the day in zone. That is not midnight where
// the clocks skip it, and the first of two midnights where they show it twice.
func (d Day) Start(zone *time.Location) time.Time {
	y, m, dd := time.Unix(int64(d)*86400, 0).UTC().Date()
	t := time.Date(y, m, dd, 0, 0, 0, 0, zone)
	begin, end := t.ZoneBounds()
	if DayOf(t, zone) < d { // the clocks skip midnight: the day begins with their change
		return end
	}
	if begin.IsZero() {
		return t
	}
	_, now := begin.Zone()
	_, was := begin.Add(-time.Nanosecond).In(zone).Zone()
	if first := t.Add(time.Duration(now-was) * time.Second); first.Before(begin) && DayOf(first, zone) == d {
		return first
	}
	if begin.Before(t) && begin.After(t.Add(-3*time.Hour)) && DayOf(begin, zone) == d {
		return begin
	}
	return t
}

// String returns the day as 2006-01-02, and an empty string for NoDay.
func (d Day) String() string {
	if d == NoDay {
		return ""
	}
	return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
}

// MarshalText returns the same text as String.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses the output of MarshalText.
func (d *Day) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = NoDay
		return nil
	}
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil {
		return fmt.Errorf("cannot read day: got %q; want a date such as 2026-10-01: %w", b, err)
	}
	*d = Day(t.Unix() / 86400)
	return nil
}

// Hour is an hour of a civil clock. It is the time at which it begins, in quarters of an
// hour since 1970-01-01T00:00Z, so that it needs no time zone.
type Hour int32

const quarter = 15 * 60 // seconds

// QuartersPerHour is the difference between two full hours of an [Hour].
const QuartersPerHour = 4

// HourOf returns the hour of t in zone. It begins when the clock there last showed a full
// hour. Where clocks change by half an hour, the hour around the change lasts longer.
func HourOf(t time.Time, zone *time.Location) Hour {
	begin, _ := t.In(zone).ZoneBounds()
	start := fullHour(t, zone)
	if !begin.IsZero() && start < begin.Unix() { // the clock has not shown a full hour since it was changed
		start = fullHour(begin.Add(-time.Nanosecond), zone)
	}
	if start%quarter < 0 {
		start -= quarter
	}
	return Hour(start / quarter)
}

// fullHour returns when a clock with the offset that zone has at t last showed a full hour.
func fullHour(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	local := t.Unix() + int64(offset)
	return t.Unix() - (local%3600+3600)%3600
}

// Start returns the first instant of the hour.
func (h Hour) Start() time.Time { return time.Unix(int64(h)*quarter, 0).UTC() }

// End returns the first instant of the next hour in zone.
func (h Hour) End(zone *time.Location) time.Time {
	t := h.Start().Add(quarter * time.Second)
	for HourOf(t, zone) <= h {
		t = t.Add(quarter * time.Second)
	}
	return t
}

// String returns the start of the hour as 2006-01-02T15 in UTC, with minutes if it is not a
// full hour there: 2006-01-02T15:30.
func (h Hour) String() string {
	if h%4 == 0 {
		return h.Start().Format(hourLayout)
	}
	return h.Start().Format(minuteLayout)
}

const (
	hourLayout   = "2006-01-02T15"
	minuteLayout = hourLayout + ":04"
)

// MarshalText returns the same text as String.
func (h Hour) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText parses the output of MarshalText.
func (h *Hour) UnmarshalText(b []byte) error {
	layout := hourLayout
	if len(b) == len(minuteLayout) {
		layout = minuteLayout
	}
	t, err := time.Parse(layout, string(b))
	if err != nil || t.Unix()%quarter != 0 {
		return fmt.Errorf("cannot read hour: got %q; want the start of an hour such as 2026-10-01T14 or 2026-10-01T14:30", b)
	}
	*h = Hour(t.Unix() / quarter)
	return nil
}

// Flights are the days on which the current flights of a line, its campaign and its
// advertiser began, in the advertiser's time zone; 0 for one without a start.
type Flights [3]Day

// String returns the days separated by commas; a flight without a start is empty.
func (f Flights) String() string {
	var parts [3]string
	for i, d := range f {
		if d != 0 {
			parts[i] = d.String()
		}
	}
	return strings.Join(parts[:], ",")
}

// MarshalText returns the same text as String.
func (f Flights) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText parses the output of MarshalText.
func (f *Flights) UnmarshalText(b []byte) error {
	parts := strings.Split(string(b), ",")
	if len(parts) != len(f) {
		return fmt.Errorf("cannot read flights: got %q; want three days separated by commas", b)
	}
	*f = Flights{}
	for i, text := range parts {
		if text == "" {
			continue
		}
		if err := f[i].UnmarshalText([]byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// Periods are the periods of its caps that a bid belongs to.
type Periods struct {
	Day     Day
	Hour    Hour
	Flights Flights
}
