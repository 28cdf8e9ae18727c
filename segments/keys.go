package segments

import (
	"crypto/sha256"
	"encoding/binary"

	"rebound/events"
	"rebound/rtb"
)

// Kinds of keys, by their first byte. Numbers are big-endian, so that keys sort by them.
const (
	metaSpace    = 'm' // name -> value
	profileSpace = 'p' // visitor -> profile
	edgeSpace    = 'e' // external identifier -> edge
	reverseSpace = 'r' // visitor, external identifier -> kind
	tombSpace    = 't' // visitor or external identifier -> when it opted out
	seenSpace    = 'd' // digest of an event or a bid -> when it may be deleted
	rowSpace     = 'k' // external identifier -> rows of lists
	listSpace    = 'l' // segment of a list's members -> its state
	dueSpace     = 'x' // time, space, key -> nothing: keys to check for expiry at that time
)

// Names in the meta space.
const (
	metaNow       = "mnow"
	metaRules     = "mrules"
	metaParts     = "mparts" // of configurations in several facts, as JSON
	metaVisitors  = "mvisitors"
	metaSwept     = "mswept"
	metaDict      = "mdict"
	metaPatrolled = "mpatrol"  // minute of the log up to which expired keys were looked for
	metaPending   = "mpending" // rules that lack the events before their activation
)

// storeFormat is the version of these keys and their values. Values of olderFormat are
// read as well, and written again when they change.
const (
	storeFormat = 5
	olderFormat = 4
)

func spaceKey(space byte, k rtb.Key) [17]byte {
	var b [17]byte
	b[0] = space
	copy(b[1:], k[:])
	return b
}

func reverseKey(visitor, k rtb.Key) [33]byte {
	var b [33]byte
	b[0] = reverseSpace
	copy(b[1:], visitor[:])
	copy(b[17:], k[:])
	return b
}

func dueKey(at rtb.Second, space byte, k rtb.Key) [22]byte {
	var b [22]byte
	b[0] = dueSpace
	binary.BigEndian.PutUint32(b[1:], uint32(at))
	b[5] = space
	copy(b[6:], k[:])
	return b
}

func secondBytes(at rtb.Second) []byte { return binary.BigEndian.AppendUint32(nil, uint32(at)) }

// digest identifies an event or a bid that must count once.
func digest(parts ...string) rtb.Key {
	var stack [256]byte
	b := stack[:0]
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	return rtb.Key(sum[:16])
}

// factTime returns the time of the log at a fact.
func factTime(f *events.Fact) rtb.Second {
	if f.TS.IsZero() {
		return rtb.SecondOf(f.At)
	}
	return rtb.SecondOf(f.TS)
}

// aheadLimit is how far an event's own clock may be ahead of the log's.
const aheadLimit = 600

// happened returns the time of the fact's event: by its own clock, unless that
// is missing or too far ahead.
func happened(f *events.Fact) rtb.Second {
	ts := factTime(f)
	if f.At.IsZero() {
		return ts
	}
	at := rtb.SecondOf(f.At)
	if !f.TS.IsZero() && at > ts+aheadLimit {
		return ts
	}
	return at
}
