package pacing

import (
	"encoding/binary"
	"hash/crc32"

	"rebound/rtb"
)

// slotRecord is the content of one slot. Budgets and run are hashes of their names.
type slotRecord struct {
	state   resState
	won     bool
	n       int8 // number of scopes
	bid     rtb.BidID
	visitor rtb.Key
	scopes  [maxScopes]rtb.ScopeID
	slotCaps
	budgets [4]uint64 // hashes of the budgets' ids in a slot of the first layout; else unused
	run     uint64
	cost    rtb.Micros

	issued, winExpiry, billExpiry rtb.Second
}

// slotCaps is what the next run needs to find the budgets of a bid.
type slotCaps struct {
	owners [3]uint64 // nameHash of the first parts of the ids of the line's, campaign's and advertiser's budgets
	caps   rtb.CapSet
	at     rtb.Periods
}

// ownersOf returns the owners of a line's caps.
func ownersOf(l rtb.LineID) (h [3]uint64) {
	for o := range h {
		id := rtb.BudgetIn(rtb.CapOf(rtb.Owner(o), rtb.WindowTotal, false), l, &rtb.Periods{})
		h[o] = nameHash(id.Owner() + "/")
	}
	return h
}

// held returns what the bid of a slot holds of its budgets.
func (r *slotRecord) held() (list []heldBudget) {
	for _, h := range r.budgets {
		if h != 0 {
			list = append(list, heldBudget{h, r.cost})
		}
	}
	for _, c := range rtb.Caps {
		if r.caps&c == 0 {
			continue
		}
		x := heldBudget{moreHash(r.owners[c.Owner()], rtb.BudgetIn(c, rtb.LineID{}, &r.at).Suffix()), r.cost}
		if c.OnImps() {
			x.amount = rtb.ImpressionUnit
		}
		list = append(list, x)
	}
	return list
}

var slotTable = crc32.MakeTable(crc32.Castagnoli)

// slotSum returns the checksum of a slot in use.
func slotSum(b []byte) uint32 {
	if stateOf(b).Load()&slotLayout == 0 {
		return crc32.Checksum(b[8:slotEndFirst], slotTable)
	}
	return crc32.Checksum(b[8:slotEnd], slotTable)
}

func (r *slotRecord) encode(b []byte) {
	le := binary.LittleEndian
	copy(b[8:], r.bid[:])
	copy(b[24:], r.visitor[:])
	for i, s := range r.scopes {
		le.PutUint64(b[40+8*i:], uint64(s))
	}
	le.PutUint64(b[104:], uint64(r.cost))
	le.PutUint32(b[112:], uint32(r.issued))
	le.PutUint32(b[116:], uint32(r.winExpiry))
	le.PutUint32(b[120:], uint32(r.billExpiry))
	le.PutUint32(b[124:], uint32(r.n))
	le.PutUint64(b[128:], r.run)
	for i, h := range r.owners {
		le.PutUint64(b[136+8*i:], h)
	}
	le.PutUint32(b[160:], uint32(r.caps))
	le.PutUint32(b[164:], uint32(r.at.Day))
	le.PutUint32(b[168:], uint32(r.at.Hour))
	for i, d := range r.at.Flights {
		le.PutUint32(b[172+4*i:], uint32(d))
	}
	le.PutUint32(b[4:], crc32.Checksum(b[8:slotEnd], slotTable))
}

func (r *slotRecord) decode(b []byte) bool {
	le := binary.LittleEndian
	state := stateOf(b).Load()
	r.won = state&slotWon != 0
	r.state = resState(state&^(slotWon|slotLayout|slotQuarters) - 1)
	copy(r.bid[:], b[8:])
	copy(r.visitor[:], b[24:])
	for i := range r.scopes {
		r.scopes[i] = rtb.ScopeID(le.Uint64(b[40+8*i:]))
	}
	rest := 104 // where the cost, the times, the scopes' number and the run are
	if state&slotLayout == 0 {
		for i := range r.budgets {
			r.budgets[i] = le.Uint64(b[104+8*i:])
		}
		rest = 136
	} else {
		for i := range r.owners {
			r.owners[i] = le.Uint64(b[136+8*i:])
		}
		r.caps, r.at.Day, r.at.Hour = rtb.CapSet(le.Uint32(b[160:])), rtb.Day(le.Uint32(b[164:])), rtb.Hour(le.Uint32(b[168:]))
		if state&slotQuarters == 0 {
			r.at.Hour *= 4
		}
		for i := range r.at.Flights {
			r.at.Flights[i] = rtb.Day(le.Uint32(b[172+4*i:]))
		}
	}
	b2 := b[rest:]
	r.cost = rtb.Micros(le.Uint64(b2))
	r.issued, r.winExpiry, r.billExpiry = rtb.Second(le.Uint32(b2[8:])), rtb.Second(le.Uint32(b2[12:])), rtb.Second(le.Uint32(b2[16:]))
	n := le.Uint32(b2[20:])
	r.n, r.run = int8(n&0x7f), le.Uint64(b2[24:])
	return le.Uint32(b[4:]) == slotSum(b) && n <= maxScopes && r.state <= resDoubted && r.cost > 0
}
