package exchange

import (
	"bytes"
	"slices"

	"rebound/rtb"
)

// joinDeals makes one entry of those that have one id, in the place of the first.
// Their currencies must be settled.
func joinDeals(list []rtb.Deal) []rtb.Deal {
	n := 0
next:
	for i := range list {
		for k := range n {
			if bytes.Equal(list[k].ID, list[i].ID) {
				joinDeal(&list[k], &list[i])
				continue next
			}
		}
		if n != i {
			list[n] = list[i]
		}
		n++
	}
	return list[:n:n]
}

// joinDeal joins a deal's second entry to its first: the higher floor holds, and
// entries that differ in anything else void the deal, as floors in two currencies
// do, which cannot be compared here.
func joinDeal(a, b *rtb.Deal) {
	a.FloorBad = a.FloorBad || b.FloorBad || a.FloorCur != b.FloorCur || a.At != b.At || !slices.Equal(a.DurFloors, b.DurFloors)
	a.ListsBad = a.ListsBad || b.ListsBad || !sameTexts(a.WSeat, b.WSeat) || !sameTexts(a.WADomain, b.WADomain)
	a.Floor = max(a.Floor, b.Floor)
	a.MinCPMPerSec = max(a.MinCPMPerSec, b.MinCPMPerSec)
	a.Guaranteed = a.Guaranteed && b.Guaranteed
}

func sameTexts(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
