package rtb

import (
	"testing"
	"time"
	_ "time/tzdata"
)

// A day begins at its first instant, whatever the clocks do around midnight: in
// Santiago, Havana, Cairo, Beirut and Asuncion they skip it, in Havana and Azores
// they show it twice, in Apia a whole day is missing.
func TestDayStart(t *testing.T) {
	zones := []string{
		"America/Santiago", "America/Havana", "Africa/Cairo", "Asia/Beirut", "America/Asuncion", "Asia/Tehran", "Asia/Amman", "Asia/Damascus", "Asia/Gaza",
		"America/Toronto", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe", "Atlantic/Azores", "America/Sao_Paulo", "America/St_Johns", "Pacific/Chatham", "UTC",
	}
	for _, name := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		from := DayOf(time.Date(1985, 1, 1, 12, 0, 0, 0, time.UTC), time.UTC)
		for d := from; d < from+55*365; d++ {
			start := d.Start(zone)
			if before := DayOf(start.Add(-time.Second), zone); before >= d {
				t.Fatalf("%s: day %s starts at %s, and the second before is on %s", name, d, start, before)
			}
			if got := DayOf(start, zone); got != d && DayOf(start.Add(-time.Second), zone) != d-1 {
				t.Fatalf("%s: day %s starts at %s, which is on %s", name, d, start, got)
			}
		}
	}
	santiago, _ := time.LoadLocation("America/Santiago")
	var d Day
	if err := d.UnmarshalText([]byte("2026-09-06")); err != nil {
		t.Fatal(err)
	}
	if got := d.Start(santiago).UTC().Format(time.RFC3339); got != "2026-09-06T04:00:00Z" {
		t.Errorf("2026-09-06 in Santiago starts at %s; want 04:00:00Z", got)
	}
}

// hourZones are zones with offsets of whole hours, of halves and of quarters, and zones
// whose clocks change by an hour, by half an hour, and by days.
var hourZones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Chatham", "Pacific/Apia", "America/St_Johns", "America/Caracas", "Asia/Pyongyang",
}

// Every instant is in exactly one hour, hours follow each other without gaps, and each
// begins when the clock in the zone shows a full hour.
func TestHours(t *testing.T) {
	for _, name := range hourZones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []time.Time{
			time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 2, 0, 0, 0, 0, time.UTC),
			time.Date(2011, 12, 29, 0, 0, 0, 0, time.UTC), time.Date(2016, 4, 30, 0, 0, 0, 0, time.UTC), time.Date(2015, 8, 13, 0, 0, 0, 0, time.UTC),
		} {
			checkHours(t, zone, from, 3*24*time.Hour)
		}
	}
}

func checkHours(t *testing.T, zone *time.Location, from time.Time, d time.Duration) {
	t.Helper()
	h := HourOf(from, zone)
	for at := from; at.Before(from.Add(d)); at = at.Add(15 * time.Minute) {
		next := HourOf(at, zone)
		start, end := next.Start(), next.End(zone)
		if next != h {
			if next < h || h.End(zone) != start {
				t.Fatalf("%s: %s begins after %s, which ends at %s", zone, next, h, h.End(zone))
			}
			h = next
		}
		if start.After(at) || !end.After(at) || HourOf(start, zone) != next || HourOf(end.Add(-time.Nanosecond), zone) != next {
			t.Fatalf("%s: %s is in the hour %s, from %s to %s", zone, at, next, start, end)
		}
		if minute := start.In(zone).Minute(); minute != 0 {
			t.Fatalf("%s: the hour %s begins at minute %d", zone, next, minute)
		}
		if long := end.Sub(start); long != time.Hour && long != 90*time.Minute && long != 30*time.Minute {
			t.Fatalf("%s: the hour %s lasts %s", zone, next, long)
		}
		var read Hour
		if text, err := next.MarshalText(); err != nil || read.UnmarshalText(text) != nil || read != next {
			t.Fatalf("%s: read %s as %s: %v", zone, next, read, err)
		}
	}
}

// Hours that begin with one in UTC keep their name in the log, others show the minute.
func TestHourText(t *testing.T) {
	at := time.Date(2026, 10, 1, 14, 45, 0, 0, time.UTC)
	for offset, want := range map[int]string{0: "2026-10-01T14", 7200: "2026-10-01T14", 19800: "2026-10-01T14:30", 20700: "2026-10-01T14:15", -12600: "2026-10-01T14:30"} {
		h := HourOf(at, time.FixedZone("", offset))
		id := BudgetID{Advertiser: "shop", Window: WindowHour, Day: NoDay, Hour: h}
		var read BudgetID
		if err := read.UnmarshalText([]byte(id.String())); err != nil || read != id || h.String() != want {
			t.Errorf("offset %d: %s, read as %s: %v; want %s", offset, id, read, err, want)
		}
	}
	for _, bad := range []string{"", "2026-10-01", "2026-10-01T14:07", "2026-10-01T25", "2026-10-01T14:30:00"} {
		var h Hour
		if h.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is read as %s", bad, h)
		}
	}
}
