package exchange

import (
	"bytes"
	"slices"

	"rebound/rtb"
)

// dealSlots is the size of the hash table of deals: twice the maximum number of
// deals, rounded up to a power of two.
const dealSlots = 1024

// joinDeals merges the entries with the same id into the first of them. The
// currencies of their floors must be set. Its work is linear in the number of
// deals.
func joinDeals(list []rtb.Deal) []rtb.Deal {
	if len(list) < 2 {
		return list
	}
	var table [dealSlots]uint16 // places in list, from 1
	n := 0
	for i := range list {
		slot := hashText(list[i].ID) % dealSlots
		for table[slot] != 0 && !bytes.Equal(list[table[slot]-1].ID, list[i].ID) {
			slot = (slot + 1) % dealSlots
		}
		if k := table[slot]; k != 0 {
			joinDeal(&list[k-1], &list[i])
			continue
		}
		if n != i {
			list[n] = list[i]
		}
		n++
		table[slot] = uint16(n)
	}
	return list[:n:n]
}

// hashText is FNV-1a with the multiplication of splitmix64 at its end.
func hashText(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return (h ^ h>>29) * 0xbf58476d1ce4e5b9 >> 32
}

// joinDeal merges a second entry of a deal into the first. The higher floor
// applies. Entries that differ in anything else make the deal unusable, and so do
// floors in two currencies, which cannot be compared here.
func joinDeal(a, b *rtb.Deal) {
	a.FloorBad = a.FloorBad || b.FloorBad || a.FloorCur != b.FloorCur || a.At != b.At || !slices.Equal(a.DurFloors, b.DurFloors)
	a.ListsBad = a.ListsBad || b.ListsBad || !sameTexts(a.WSeat, b.WSeat) || !sameTexts(a.WADomain, b.WADomain)
	a.Floor = max(a.Floor, b.Floor)
	a.MinCPMPerSec = max(a.MinCPMPerSec, b.MinCPMPerSec)
	a.Guaranteed = a.Guaranteed && b.Guaranteed
}

func sameTexts(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
