package spec

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a duration as a configuration writes it: 40ms, 90s, 30m, 12h, 7d,
// 4w. See [ParseDuration].
type Duration time.Duration

// UnmarshalText parses a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// MarshalText returns the duration as [FormatDuration] does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration as [FormatDuration] does.
func (d Duration) String() string { return FormatDuration(time.Duration(d)) }

// ParseDuration parses whole numbers with units, one after the other (90s, 30m,
// 12h, 7d, 4w, 1h30m), or anything that [time.ParseDuration] accepts. "0" needs
// no unit, and a day has 24 hours. Negative durations are errors.
func ParseDuration(s string) (time.Duration, error) {
	fail := func(cause error) (time.Duration, error) {
		if len(s) > 40 {
			s = s[:40] + "..."
		}
		if cause != nil {
			return 0, fmt.Errorf("cannot parse duration: got %q; want a duration such as 90s, 30m, 12h, 7d or 4w: %w", s, cause)
		}
		return 0, fmt.Errorf("cannot parse duration: got %q; want a duration such as 90s, 30m, 12h, 7d or 4w", s)
	}
	var days time.Duration
	rest := s
	for _, u := range [...]struct {
		unit byte
		per  time.Duration
	}{{'w', 7 * 24 * time.Hour}, {'d', 24 * time.Hour}} {
		i := strings.IndexByte(rest, u.unit)
		if i < 0 {
			continue
		}
		n, err := strconv.ParseUint(rest[:i], 10, 16)
		if err != nil {
			return fail(err)
		}
		if n > uint64((math.MaxInt64-days)/u.per) {
			return fail(errors.New("too long"))
		}
		days += time.Duration(n) * u.per
		rest = rest[i+1:]
	}
	if rest == "" && s != "" {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < 0 {
		return fail(err)
	}
	return days + d, nil
}

// FormatDuration returns the shortest text that [ParseDuration] parses as d: 7d,
// 36h, 90s.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0s"
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return d.String()
}
