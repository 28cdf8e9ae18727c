package pacing

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"rebound/internal/view"
	"rebound/rtb"
)

// Keys of the view: one byte for the kind, then the name.
const (
	keyBudget  = 'b' // + budget text -> budget as JSON
	keyLine    = 'l' // + line text -> lineTotal as JSON
	keyNotice  = 'n' // + bid id -> three or four times
	keyForget  = 't' // + time, bid id: when a notice is dropped
	keyPause   = 's' // + scope -> pause as JSON
	keyControl = 'c' // the controllers, which are not part of the fold
	keyHistory = 'h' // + controller -> traffic of the last days
	keyPlace   = 'p' // + currency/exchange/slot -> what was learned of its prices
	keyMarket  = 'm' // + hash of a site and size -> what was learned of its supply paths
	keyNotices = 'e' // + exchange/format -> delays of notices as JSON
	keyAdjust  = 'a' // + id of an adjustment -> when it is dropped
	keyWeight  = 'w' // + index of a weight -> its z and n
	keyValue   = 'v' // + line, or nothing for all lines -> calibrations as JSON
	keyReturns = 'r' // + line, or advertiser -> returns as JSON
	keyDelay   = 'd' // delays of the models as JSON
	keyDue     = 'q' // + time, model, bid id -> exposure that is looked at then; see conversionDue
	keyTouch   = 'x' // + visitor, advertiser -> touches
	keyOrder   = 'o' // + hash of advertiser and order -> order as JSON
)

// storeFormat is the version of these keys and their values.
const storeFormat = 3

// name is the view's name in checkpoints, metrics and messages.
const name = "money"

func openView(o *Options) (*view.DB, error) {
	return view.Open(view.Config{Name: name, Dir: o.Dir, InMemory: o.InMemory, Format: storeFormat, Logger: o.Logger})
}

// each calls fn for the keys of one kind, without the kind byte.
func each(r view.Reader, kind byte, fn func(key, value []byte) error) error {
	return eachFrom(r, kind, nil, fn)
}

// eachFrom is each, starting at a key.
func eachFrom(r view.Reader, kind byte, from []byte, fn func(key, value []byte) error) error {
	return r.Scan(append([]byte{kind}, from...), []byte{kind + 1}, func(key, value []byte) error { return fn(key[1:], value) })
}

// setJSON writes a value as JSON.
func setJSON(b *view.Batch, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode money view: %w", err)
	}
	return b.Set(key, text)
}

// unreadable wraps the error for a stored value that cannot be decoded.
func unreadable(what string, key []byte, err error) error {
	return fmt.Errorf("cannot read %s %q of the money view: %w: %w", what, key, view.ErrDamaged, err)
}

func nameKey(kind byte, name string) []byte { return append([]byte{kind}, name...) }

func noticeKey(id rtb.BidID) []byte { return append([]byte{keyNotice}, id[:]...) }

func forgetKey(at time.Time, id rtb.BidID) []byte {
	return append(appendTime([]byte{keyForget}, at), id[:]...)
}

// appendTime appends a time so that keys sort by it; the zero time is 0.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func readTime(b []byte) time.Time {
	n := int64(binary.BigEndian.Uint64(b))
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func (n *notice) encode() []byte {
	b := appendTime(appendTime(appendTime(nil, n.won), n.lost), n.charged)
	if !n.clicked.IsZero() { // earlier versions stored three times
		b = appendTime(b, n.clicked)
	}
	return b
}

func (n *notice) decode(b []byte) error {
	if len(b) != 24 && len(b) != 32 {
		return fmt.Errorf("cannot read notice: got %d bytes; want 24 or 32: %w", len(b), view.ErrDamaged)
	}
	n.won, n.lost, n.charged = readTime(b), readTime(b[8:]), readTime(b[16:])
	if len(b) == 32 {
		n.clicked = readTime(b[24:])
	}
	return nil
}
