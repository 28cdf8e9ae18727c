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
