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

// BenchmarkAppendUint compares with the standard library on the numbers of a bid record:
// counts, seconds since 1970, and keys of segments.
func BenchmarkAppendUint(b *testing.B) {
	numbers := []uint64{1, 37, 4096, 1_795_973_125, 9_167_271_175_710_089_324}
	for name, f := range map[string]func([]byte, uint64) []byte{
		"rtb":     AppendUint,
		"strconv": func(dst []byte, v uint64) []byte { return strconv.AppendUint(dst, v, 10) },
	} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 64)
			for b.Loop() {
				for _, v := range numbers {
					dst = f(dst[:0], v)
				}
			}
		})
	}
}
