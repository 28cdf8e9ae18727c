package pacing

import (
	"encoding/binary"
	"encoding/json"
	"math"

	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// expose remembers an exposure of a visitor, and looks at it again as it gets older.
func (v *values) expose(m model, f *events.Fact, in *inputs, at rtb.Second) error {
	s := showingOf(f)
	x := exposure{model: m, bid: f.Notice.BidID, at: at, line: s.Line, currency: f.Currency, inputs: *in, rate: v.weights.predict(m, in)}
	r := &v.line(s.Line).returns
	r.fade(at)
	r.Pending += x.rate
	v.queue(&x, 0)
	key := touchKey(f.Visitor, f.Advertiser)
	t, err := v.touchesOf(key)
	if err != nil {
		return err
	}
	t.add(&x)
	v.pending.put(key, t.encode())
	v.sweep.added++
	return nil
}

func touchKey(visitor rtb.Key, advertiser string) []byte {
	return append(append([]byte{keyTouch}, visitor[:]...), advertiser...)
}

func (v *values) touchesOf(key []byte) (t touches, err error) {
	value, err := v.pending.get(key)
	if err == nil {
		if err = t.decode(value); err != nil {
			err = unreadable("exposures", key, err)
		}
	}
	return t, err
}

// conversionDue marks the keys of exposures that earned a conversion. They are looked at to
// count conversions by age.
const conversionDue = 0x80

// queue has an exposure looked at when it reaches the age of a stage.
func (v *values) queue(x *exposure, stage int) {
	v.queueAs(byte(x.model), x, stage)
}

// queueConversion has an exposure that earned a conversion looked at.
func (v *values) queueConversion(x *exposure, stage int) {
	v.queueAs(byte(x.model)|conversionDue, x, stage)
}

func (v *values) queueAs(kind byte, x *exposure, stage int) {
	due := max(x.at+ages[x.model][stage], v.looked) // later if the log has a gap
	v.pending.put(dueKey(due, kind, x.bid), append([]byte{byte(stage)}, x.encode()...))
}

func dueKey(at rtb.Second, kind byte, bid rtb.BidID) []byte {
	return append(append(binary.BigEndian.AppendUint32([]byte{keyDue}, uint32(at)), kind), bid[:]...)
}

// lookEvery is the log time, in seconds, between two looks at the exposures that are due.
// They are due at full multiples of it in effect, whatever the size of an Apply, so that
// every fold of the same log looks at them in the same order.
const lookEvery = 300

// look looks at the exposures that have become due at a time of the log.
func (v *values) look(now rtb.Second) error {
	now -= now % lookEvery
	if now <= v.looked {
		return nil
	}
	due, err := v.pending.list(binary.BigEndian.AppendUint32([]byte{keyDue}, uint32(v.looked)), binary.BigEndian.AppendUint32([]byte{keyDue}, uint32(now)))
	if err != nil {
		return err
	}
	v.looked = now
	for i := range due {
		if err := v.lookAt(due[i].key, due[i].value, now); err != nil {
			return err
		}
	}
	if now < v.sweep.last+dropEvery {
		return nil
	}
	return v.drop(now)
}

// lookAt handles an exposure that reached the age of a stage.
func (v *values) lookAt(key, value []byte, now rtb.Second) error {
	var x exposure
	if len(key) != 22 || len(value) == 0 {
		return unreadable("exposure", key, errExposure)
	}
	if err := x.decode(value[1:]); err != nil {
		return unreadable("exposure", key, err)
	}
	v.pending.delete(key)
	stage, last := int(value[0]), len(ages[x.model])-1
	if stage > last {
		return unreadable("exposure", key, errExposure)
	}
	if key[5]&conversionDue != 0 {
		v.delays[x.model].count(stage, false, now)
		v.line(x.line) // the delays are stored with it
		if stage < last {
			v.queueConversion(&x, stage+1)
		}
		return nil
	}
	v.accrue(&x, stage, now)
	if stage < last {
		v.queue(&x, stage+1)
	}
	return nil
}

// accrue learns from the part of an exposure whose conversions are known at the age of a
// stage. Of advertisers who never reported a purchase nothing is known.
func (v *values) accrue(x *exposure, stage int, now rtb.Second) {
	share := max(v.delays[x.model].share(x.model, stage)-x.accrued, 0)
	x.accrued += share
	r := &v.line(x.line).returns
	r.fade(now)
	r.Pending = max(r.Pending-x.rate*share*fadedReturn(now-x.at), 0)
	if !v.advertiser(x.line.Advertiser).Purchased {
		return
	}
	v.weights.step(x.model, &x.inputs, share*v.weights.predict(x.model, &x.inputs))
	v.observe(x.model, x.line, x.rate*share, 0, now)
}

// fadedReturn returns what is left of returns of an age.
func fadedReturn(age rtb.Second) float64 { return math.Exp(-float64(age) / returnMemory) }

// credit learns from a purchase that is credited to an exposure.
func (v *values) credit(x *exposure, o *order, now rtb.Second) {
	v.weights.step(x.model, &x.inputs, -1)
	v.observe(x.model, x.line, 0, 1, now)
	v.earn(x, o.valueIn(x.currency), 1, now)
	stage := x.model.stageAt(now - x.at)
	v.delays[x.model].count(stage, true, now)
	if stage < len(ages[x.model])-1 {
		v.queueConversion(x, stage+1)
	}
}

// earn adds the value of a conversion to the returns, or removes it if sign is -1. Only the
// value is removed if part of an order was refunded.
func (v *values) earn(x *exposure, value rtb.Micros, sign float64, now rtb.Second) {
	l := &v.line(x.line).returns
	l.fade(now)
	kept := fadedReturn(now - x.at)
	l.Conversions = max(l.Conversions+sign*kept, 0)
	l.Revenue = max(l.Revenue+sign*kept*float64(value), 0)
	if value > 0 {
		l.order(value, sign, now)
		v.advertiser(x.line.Advertiser).order(value, sign, now)
	}
}

// refund takes back what was learned from a purchase: all of it, or the amount that was
// refunded.
func (v *values) refund(x *exposure, o *order, amount rtb.Micros, now rtb.Second) {
	if value := o.valueIn(x.currency); amount > 0 && amount < value {
		l, a := &v.line(x.line).returns, v.advertiser(x.line.Advertiser)
		for _, r := range [...]*returns{&l.returns, &a.returns} {
			r.fade(now)
			r.Value = max(r.Value-float64(amount), 0)
		}
		l.Revenue = max(l.Revenue-float64(amount)*fadedReturn(now-x.at), 0)
		v.behind = true
		return
	}
	v.weights.step(x.model, &x.inputs, 1)
	v.observe(x.model, x.line, 0, -1, now)
	v.earn(x, o.valueIn(x.currency)-o.Refunded, -1, now)
}

// sweep drops exposures and orders that are too old to count.
type sweep struct {
	next  []byte // the key to go on from
	last  rtb.Second
	added int // exposures and orders since the last sweep
}

const (
	// dropEvery is the log time, in seconds, between two sweeps.
	dropEvery = 3600
	// leastDropped is the least number of keys that a sweep looks at.
	leastDropped = 1024
)

// orderKept is how long an order is remembered, in seconds: for refunds, and so that it
// counts once.
const orderKept = 60 * 86400

// drop drops some of the exposures and orders that are too old. Which of them are dropped
// changes no estimate.
func (v *values) drop(now rtb.Second) error {
	most := max(leastDropped, 2*v.sweep.added)
	v.sweep.added, v.sweep.last = 0, now
	n, kind := 0, byte(keyTouch)
	if len(v.sweep.next) > 0 {
		kind = v.sweep.next[0]
	} else {
		v.sweep.next = []byte{kind}
	}
	var old [][]byte
	next := []byte(nil)
	err := v.pending.db.Scan(v.sweep.next, []byte{kind + 1}, func(key, value []byte) error {
		if n++; n > most {
			next = append([]byte(nil), key...)
			return view.ErrStop
		}
		expired, err := expiredAt(kind, key, value, now)
		if expired {
			old = append(old, append([]byte(nil), key...))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, key := range old {
		if _, written := v.pending.writes[string(key)]; !written {
			v.pending.delete(key)
		}
	}
	if next == nil { // the other kind follows
		next = []byte{keyTouch ^ keyOrder ^ kind}
	}
	v.sweep.next = next
	return nil
}

func expiredAt(kind byte, key, value []byte, now rtb.Second) (bool, error) {
	if kind == keyOrder {
		var o order
		if err := json.Unmarshal(value, &o); err != nil {
			return false, unreadable("order", key, err)
		}
		return o.expired(now), nil
	}
	var t touches
	if err := t.decode(value); err != nil {
		return false, unreadable("exposures", key, err)
	}
	return t.expired(now), nil
}
