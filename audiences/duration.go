package audiences

import (
	"time"

	"rebound/rtb"
)

// Duration is a length of time in YAML, as [ParseDuration] reads it.
type Duration time.Duration

// ParseDuration reads 90s 30m 12h 7d 4w or any non-negative Go duration; a day
// is 24 hours. It is rtb's parser: there is one.
func ParseDuration(s string) (time.Duration, error) { return rtb.ParseDuration(s) }

// UnmarshalText reads what [ParseDuration] reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the duration in its largest whole unit: 7d, 12h.
func (d Duration) String() string { return rtb.FormatDuration(time.Duration(d)) }
