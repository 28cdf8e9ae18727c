package bidder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"rebound/rtb"
)

// read reads the items.
func (r *Recorded) read(b []byte) error {
	in := inputReader{b: b}
	version := in.byte()
	if version == 0 || version > inputsVersion {
		return fmt.Errorf("got version %d; want 1 to %d", version, inputsVersion)
	}
	for len(in.b) > 0 && in.err == nil {
		switch kind := in.byte(); kind {
		case inputStopped, inputFound, inputPlace, inputPath, inputReserve, inputBuilt:
			r.verdicts[kind] = append(r.verdicts[kind], verdictAfter{in.uint(), in.reason()})
		case inputPaused:
			r.verdicts[kind] = append(r.verdicts[kind], verdictAfter{in.uint(), rtb.NoBidPaused})
		case inputTraffic:
			in.uint()
			r.traffic, r.trafficCode = in.reason(), int(in.uint())
		case inputTooLarge:
			r.tooLarge = int(in.uint())
		case inputLate:
			r.late = int(in.uint())
		case inputQuote:
			q := lineQuote{handle: handleOf(in.uint())}
			q.quote, q.reason = in.quote()
			r.quotes = append(r.quotes, q)
		case inputEstimate:
			r.estimates = append(r.estimates, in.estimate(version))
		case inputMultiplier:
			h := handleOf(in.uint())
			r.multipliers[h] = in.float()
		case inputEvaluated:
			r.evaluated = map[rtb.LineHandle]bool{}
			for n := in.uint(); n > 0 && in.err == nil; n-- {
				r.evaluated[handleOf(in.uint())] = true
			}
		default:
			return fmt.Errorf("got an item of kind %d; want 1 to %d", kind, inputKinds-1)
		}
	}
	return in.err
}

// handleOf returns the handle that [Recorded.Handle] gives to the line with an ordinal.
func handleOf(ordinal uint64) rtb.LineHandle {
	return rtb.LineHandle(min(ordinal, math.MaxInt32-1)) + 1
}

// inputReader reads the encoding of inputs. After an error it returns zeros.
type inputReader struct {
	b   []byte
	err error
}

var errShortInputs = errors.New("got an item that ends early")

func (in *inputReader) fail() { in.b, in.err = nil, errShortInputs }

func (in *inputReader) byte() byte {
	if len(in.b) == 0 {
		in.fail()
		return 0
	}
	c := in.b[0]
	in.b = in.b[1:]
	return c
}

func (in *inputReader) uint() uint64 {
	v, n := binary.Uvarint(in.b)
	if n <= 0 {
		in.fail()
		return 0
	}
	in.b = in.b[n:]
	return v
}

func (in *inputReader) int() int64 {
	v, n := binary.Varint(in.b)
	if n <= 0 {
		in.fail()
		return 0
	}
	in.b = in.b[n:]
	return v
}

func (in *inputReader) float() float64 {
	if len(in.b) < 8 {
		in.fail()
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(in.b))
	in.b = in.b[8:]
	return f
}

func (in *inputReader) estimate(version byte) rtb.Estimate {
	e := rtb.Estimate{Value: rtb.CPM(in.int())}
	if version > 1 {
		e.Worth = rtb.Micros(in.int())
	}
	e.Click, e.Conversion, e.Deviation, e.Draw, e.Data = in.float(), in.float(), in.float(), in.float(), in.float()
	if version > 1 {
		e.Multiplier = in.float()
	}
	return e
}

func (in *inputReader) reason() (r rtb.NoBidReason) {
	code := int(in.byte())
	if code > 0 {
		if code > len(inputReasons) {
			in.err = fmt.Errorf("got the reason %d; want 1 to %d", code, len(inputReasons))
			return r
		}
		return inputReasons[code-1]
	}
	n := int(in.byte())
	if n > len(in.b) {
		in.fail()
		return r
	}
	if err := r.UnmarshalText(in.b[:n]); err != nil && in.err == nil {
		in.err = err
	}
	in.b = in.b[n:]
	return r
}

func (in *inputReader) quote() (q rtb.Quote, r rtb.NoBidReason) {
	q.Multiplier, q.Shading = 1, 1
	flags := in.byte()
	if flags&quoteRefused != 0 {
		r = in.reason()
	}
	q.Learned, q.Explored = flags&quoteLearned != 0, flags&quoteExplored != 0
	if flags&quoteMultiplier != 0 {
		q.Multiplier = in.float()
	}
	if flags&quoteShading != 0 {
		q.Shading = in.float()
	}
	if flags&quoteChance != 0 {
		q.Chance = in.float()
	}
	if flags&quotePrice != 0 {
		q.Price = rtb.CPM(in.int())
	}
	if flags&quoteCosts != 0 {
		q.Expected, q.Full = rtb.Micros(in.int()), rtb.Micros(in.int())
	}
	return q, r
}
