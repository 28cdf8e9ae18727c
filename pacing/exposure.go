package pacing

import (
	"encoding/binary"
	"errors"
	"math"

	"rebound/rtb"
)

// exposure is a billed impression or its click, until the conversions that it may earn
// are known. It holds no visitor.
type exposure struct {
	model    model // viewModel for an impression, buyModel for a click
	bid      rtb.BidID
	at       rtb.Second
	rate     float64 // the model's prediction, before it learned from the exposure
	accrued  float64 // share of rate that was learned from, see delay
	line     rtb.LineID
	currency rtb.Currency
	inputs   inputs
}

// exposureHead is the length of the fields of fixed size.
const exposureHead = 1 + 16 + 4 + 8 + 8 + 3 + 1

func (x *exposure) encode() []byte {
	b := make([]byte, 0, exposureHead+4*x.inputs.n+64)
	b = append(b, byte(x.model))
	b = append(b, x.bid[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(x.at))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(x.rate))
	b = binary.BigEndian.AppendUint64(b, math.Float64bits(x.accrued))
	b = append(b, x.currency[:]...)
	b = append(b, byte(x.inputs.n))
	for _, h := range x.inputs.list() {
		b = binary.BigEndian.AppendUint32(b, h)
	}
	for _, s := range [...]string{x.line.Advertiser, x.line.Campaign, x.line.Line} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

var errExposure = errors.New("want an exposure")

func (x *exposure) decode(b []byte) error {
	if len(b) < exposureHead || b[0] == 0 || b[0] >= byte(models) || b[exposureHead-1] > maxInputs {
		return errExposure
	}
	*x = exposure{model: model(b[0]), at: rtb.Second(binary.BigEndian.Uint32(b[17:]))}
	copy(x.bid[:], b[1:])
	x.rate = math.Float64frombits(binary.BigEndian.Uint64(b[21:]))
	x.accrued = math.Float64frombits(binary.BigEndian.Uint64(b[29:]))
	copy(x.currency[:], b[37:])
	x.inputs.n = int(b[40])
	if b = b[exposureHead:]; len(b) < 4*x.inputs.n || bad(x.rate) || bad(x.accrued) {
		return errExposure
	}
	for i := range x.inputs.n {
		x.inputs.hash[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	b = b[4*x.inputs.n:]
	for _, s := range [...]*string{&x.line.Advertiser, &x.line.Campaign, &x.line.Line} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return errExposure
		}
		*s, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	return nil
}

// touches are the latest exposures of a visitor to an advertiser, oldest first.
type touches []exposure

// touchesKept is the number of exposures that are kept of each kind. Several are kept
// because purchases may be reported after later exposures.
const touchesKept = 3

func (t *touches) add(x *exposure) {
	n, oldest := 0, -1
	for i := range *t {
		if (*t)[i].model == x.model {
			if n++; oldest < 0 {
				oldest = i
			}
		}
	}
	if n >= touchesKept {
		*t = append((*t)[:oldest], (*t)[oldest+1:]...)
	}
	*t = append(*t, *x)
}

// Windows of the exposures that a purchase is credited to.
const (
	clickWindow = 30 * 86400 // seconds
	viewWindow  = 86400
)

// credited returns the exposure that a purchase at a time is credited to, as far as it is
// known now: the last click, else the last impression; nil if there is none.
func (t touches) credited(at, now rtb.Second) *exposure {
	for _, w := range [...]struct {
		model  model
		window rtb.Second
	}{{buyModel, clickWindow}, {viewModel, viewWindow}} {
		for i := len(t) - 1; i >= 0; i-- {
			if x := &t[i]; x.model == w.model && x.at <= at && at-x.at <= w.window && !x.expired(now) {
				return x
			}
		}
	}
	return nil
}

// expired reports whether no purchase that is reported now is credited to the exposure.
func (x *exposure) expired(now rtb.Second) bool { return x.at+clickWindow+viewWindow < now }

func (t touches) expired(now rtb.Second) bool {
	for i := range t {
		if !t[i].expired(now) {
			return false
		}
	}
	return true
}

func (t touches) encode() []byte {
	var b []byte
	for i := range t {
		x := t[i].encode()
		b = append(binary.AppendUvarint(b, uint64(len(x))), x...)
	}
	return b
}

func (t *touches) decode(b []byte) error {
	*t = nil
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return errExposure
		}
		var x exposure
		if err := x.decode(b[size : size+int(n)]); err != nil {
			return err
		}
		*t, b = append(*t, x), b[size+int(n):]
	}
	return nil
}
