package rtb

import (
	"math"
	"strconv"
	"testing"
)

// Numbers have the same text as those of the standard library, at every number of digits.
func TestAppendInt(t *testing.T) {
	check := func(v uint64) {
		t.Helper()
		if got, want := string(AppendUint([]byte("x"), v)), "x"+strconv.FormatUint(v, 10); got != want {
			t.Errorf("got %s; want %s", got, want)
		}
		if got, want := string(AppendInt([]byte("x"), int64(v))), "x"+strconv.FormatInt(int64(v), 10); got != want {
			t.Errorf("got %s; want %s", got, want)
		}
	}
	for v := range uint64(12_000) {
		check(v)
		check(-v)
	}
	for power := uint64(10); ; power *= 10 {
		for _, v := range []uint64{power - 1, power, power + 1, power/2 + 7, power / 9 * 8} {
			check(v)
			check(-v)
		}
		if power == 1e19 {
			break
		}
	}
	for _, v := range []uint64{math.MaxUint64, 1 << 63, 1<<63 - 1, 6311932515685176802} {
		check(v)
	}
}
