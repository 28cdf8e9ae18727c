package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a number of bytes as a configuration writes it: 4096, 256KiB, 20GiB.
type Bytes int64

var byteUnits = [...]string{"KiB", "MiB", "GiB", "TiB"}

// UnmarshalText parses a number of bytes, 0 to 4 EiB.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	number, shift := s, 0
	for i, unit := range byteUnits {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number, shift = strings.TrimSpace(n), 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || n > (1<<62)>>shift {
		return fmt.Errorf("cannot parse size: got %s; want a size such as 4096, 256KiB, 512MiB or 20GiB", Quote(s))
	}
	*b = Bytes(n << shift)
	return nil
}

// String returns the number in the largest unit that divides it.
func (b Bytes) String() string {
	for i := len(byteUnits) - 1; i >= 0; i-- {
		if size := Bytes(1) << (10 * (i + 1)); b != 0 && b%size == 0 {
			return strconv.FormatInt(int64(b/size), 10) + byteUnits[i]
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
