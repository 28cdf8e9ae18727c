package rtb

// digitPairs are the texts of 0 to 99, with two digits each.
var digitPairs = func() (pairs [100][2]byte) {
	for i := range pairs {
		pairs[i] = [2]byte{byte('0' + i/10), byte('0' + i%10)}
	}
	return pairs
}()

// AppendUint appends v in decimal, as [strconv.AppendUint] does, but directly to dst instead
// of through a temporary buffer: BenchmarkAppendUint compares the two.
func AppendUint(dst []byte, v uint64) []byte {
	if v < 10 {
		return append(dst, byte('0'+v))
	}
	if v < 1e8 {
		if v >= 100 {
			dst = AppendUint(dst, v/100)
		}
		last := &digitPairs[v%100]
		return append(dst, last[0], last[1])
	}
	dst = AppendUint(dst, v/1e8)
	last8 := uint32(v % 1e8)
	high, low := last8/1e4, last8%1e4
	p, q, r, s := &digitPairs[high/100], &digitPairs[high%100], &digitPairs[low/100], &digitPairs[low%100]
	return append(dst, p[0], p[1], q[0], q[1], r[0], r[1], s[0], s[1])
}

// AppendInt appends v in decimal.
func AppendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return AppendUint(append(dst, '-'), -uint64(v))
	}
	return AppendUint(dst, uint64(v))
}
