package audiences

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time in YAML: 90s 30m 12h 7d 4w or any Go duration;
// never negative. A day is 24 hours.
type Duration time.Duration

// ParseDuration reads 90s 30m 12h 7d 4w or any non-negative Go duration.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	d, ok := parseDays(s)
	if !ok {
		var err error
		if d, err = time.ParseDuration(s); err != nil || d < 0 {
			return 0, fmt.Errorf("cannot read duration: got %q; want a number and a unit such as 90s, 30m, 12h, 7d or 4w", s)
		}
	}
	return d, nil
}

// parseDays reads a number of days or weeks.
func parseDays(s string) (time.Duration, bool) {
	unit := 24 * time.Hour
	number, ok := strings.CutSuffix(s, "d")
	if !ok {
		if number, ok = strings.CutSuffix(s, "w"); !ok {
			return 0, false
		}
		unit *= 7
	}
	if strings.Trim(number, "0123456789.") != "" {
		return 0, false
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || x*float64(unit) >= math.MaxInt64 {
		return 0, false
	}
	return time.Duration(x * float64(unit)), true
}

// UnmarshalText reads what [ParseDuration] reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the duration in its largest whole unit.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the duration in its largest whole unit: 7d, 90s.
func (d Duration) String() string {
	t := time.Duration(d)
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if t != 0 && t%u.size == 0 {
			return strconv.FormatInt(int64(t/u.size), 10) + u.name
		}
	}
	return t.String()
}
