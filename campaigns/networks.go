package campaigns

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// ipKey is an IPv6 address, or an IPv4 address mapped into IPv6, as two
// numbers.
type ipKey struct{ hi, lo uint64 }

func (a ipKey) compare(b ipKey) int {
	if a.hi != b.hi {
		return cmp.Compare(a.hi, b.hi)
	}
	return cmp.Compare(a.lo, b.lo)
}

func keyOf(b [16]byte) ipKey {
	return ipKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// ipRange is a range of addresses, both ends included.
type ipRange struct{ from, to ipKey }

// networkSet is a list of networks as sorted ranges that do not touch.
type networkSet struct{ ranges []ipRange }

func (n *networkSet) has(ip ipKey) bool {
	i, found := slices.BinarySearchFunc(n.ranges, ip, func(r ipRange, ip ipKey) int { return r.from.compare(ip) })
	if found {
		return true
	}
	return i > 0 && n.ranges[i-1].to.compare(ip) >= 0
}

type networkSink struct{ ranges []ipRange }

func (n *networkSink) add(row string) bool {
	p, err := netip.ParsePrefix(row)
	if err != nil {
		a, err := netip.ParseAddr(row)
		if err != nil {
			return false
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Bits() == 0 {
		return false // all addresses
	}
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	from := p.Masked().Addr().As16()
	to := from
	for i := bits; i < 128; i++ {
		to[i/8] |= 0x80 >> (i % 8)
	}
	n.ranges = append(n.ranges, ipRange{keyOf(from), keyOf(to)})
	return true
}

func (n *networkSink) set() *networkSet {
	slices.SortFunc(n.ranges, func(a, b ipRange) int { return a.from.compare(b.from) })
	var out []ipRange
	for _, r := range n.ranges {
		if last := len(out) - 1; last >= 0 && out[last].to.compare(r.from) >= 0 {
			if r.to.compare(out[last].to) > 0 {
				out[last].to = r.to
			}
			continue
		}
		out = append(out, r)
	}
	return &networkSet{slices.Clip(out)}
}

func (c *compiler) networks(path string, entries []string) []*networkSet {
	return lists(c, path, "networks", entries, new(networkSink), "a network such as 192.0.2.0/24, or file:name")
}

// parseIP parses an address without allocating. The standard library needs a
// string and keeps it in its errors.
func parseIP(b []byte) (ipKey, bool) {
	var out [16]byte
	if len(b) == 0 || len(b) > 45 {
		return ipKey{}, false
	}
	n, gap, at := 0, -1, 0
	for at < len(b) {
		if b[at] == ':' {
			if at+1 >= len(b) || b[at+1] != ':' || gap >= 0 {
				return ipKey{}, false
			}
			gap = n
			at += 2
			continue
		}
		group, end := hexGroup(b[at:])
		if end < len(b)-at && b[at+end] == '.' {
			if n > 12 || n < 12 && gap < 0 && n > 0 || !dotted(b[at:], out[n:min(n+4, 16)]) {
				return ipKey{}, false
			}
			if n == 0 && gap < 0 { // IPv4 alone
				v4 := [4]byte(out[:4])
				out = [16]byte{10: 0xff, 11: 0xff}
				copy(out[12:], v4[:])
				return keyOf(out), true
			}
			n += 4
			break
		}
		if end == 0 || n > 14 {
			return ipKey{}, false
		}
		binary.BigEndian.PutUint16(out[n:], group)
		n, at = n+2, at+end
		if at == len(b) {
			break
		}
		if b[at] != ':' || at+1 == len(b) {
			return ipKey{}, false
		}
		if b[at+1] != ':' {
			at++
		}
	}
	if gap >= 0 {
		if n == 16 {
			return ipKey{}, false // :: replaces at least one group
		}
		copy(out[16-(n-gap):], out[gap:n])
		clear(out[gap : 16-(n-gap)])
		n = 16
	}
	return keyOf(out), n == 16
}

// hexGroup parses up to four hexadecimal digits.
func hexGroup(b []byte) (group uint16, n int) {
	for n < len(b) && n < 5 {
		d := hexDigit(b[n])
		if d > 15 {
			break
		}
		group = group<<4 | uint16(d)
		n++
	}
	if n == 5 {
		return 0, 0
	}
	return group, n
}

// dotted parses four decimal numbers into dst.
func dotted(b, dst []byte) bool {
	if len(dst) < 4 {
		return false
	}
	for i := range 4 {
		n, digits := 0, 0
		for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
			if n = n*10 + int(b[digits]-'0'); n > 255 {
				return false
			}
			digits++
		}
		if digits == 0 || i < 3 && (digits == len(b) || b[digits] != '.') || i == 3 && digits != len(b) {
			return false
		}
		dst[i] = byte(n)
		if i < 3 {
			b = b[digits+1:]
		}
	}
	return true
}
