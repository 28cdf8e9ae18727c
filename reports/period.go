package reports

import (
	"fmt"
	"time"

	"rebound/rtb"
)

// The dimensions of time, by the local time of the query's zone.
const (
	timeSlot  = "minute5"
	timeHour  = "hour"
	timeDay   = "day"
	timeWeek  = "week"
	timeMonth = "month"
)

// times are the dimensions of time, the finest first.
var times = []string{timeSlot, timeHour, timeDay, timeWeek, timeMonth}

// period is a part of a query's range.
type period struct {
	name     string
	from, to int64
}

// periods divides a range by a dimension of time; without one the range is one period. A
// week begins on Monday.
func periods(of string, from, to time.Time, zone *time.Location) ([]period, error) {
	if of == "" {
		return []period{{"", from.Unix(), to.Unix()}}, nil
	}
	var list []period
	for at := from; at.Before(to); {
		next, name := nextPeriod(of, at.In(zone))
		end := next
		if end.After(to) {
			end = to
		}
		if len(list) == maxPeriods {
			return nil, fmt.Errorf("cannot report by %s: got more than %d; want a shorter range", of, maxPeriods)
		}
		list = append(list, period{name, at.Unix(), end.Unix()})
		at = end
	}
	return list, nil
}

// maxPeriods bounds the periods of one query: a year of hours.
const maxPeriods = 366 * 24

// nextPeriod returns the begin of the period after the one that contains a time, and the
// name of the latter.
func nextPeriod(of string, at time.Time) (next time.Time, name string) {
	zone := at.Location()
	day := rtb.DayOf(at, zone)
	switch of {
	case timeSlot, timeHour:
		length := time.Hour
		if of == timeSlot {
			length = paceGrain * time.Second
		}
		_, offset := at.Zone() // local hours begin elsewhere in a zone such as Asia/Kolkata
		local := at.Add(time.Duration(offset) * time.Second)
		begin := local.Truncate(length).Add(-time.Duration(offset) * time.Second)
		return begin.Add(length), begin.In(zone).Format("2006-01-02T15:04Z07:00")
	case timeWeek:
		monday := day - rtb.Day((int(at.Weekday())+6)%7)
		return (monday + 7).Start(zone), monday.String()
	case timeMonth:
		first := time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		return rtb.DayOf(first, time.UTC).Start(zone), at.Format("2006-01")
	}
	return (day + 1).Start(zone), day.String()
}
