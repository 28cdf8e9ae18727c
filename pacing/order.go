package pacing

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"

	"rebound/events"
	"rebound/rtb"
)

// order is a purchase. It counts once the advertiser's server reports it: anybody can send
// the purchase of a browser. A browser's report only says who bought what the server
// reports under the same order id. It holds no visitor.
type order struct {
	At        rtb.Second   `json:"at"` // when it was first reported, in log time
	Confirmed bool         `json:"confirmed,omitempty"`
	Value     rtb.Micros   `json:"value,omitempty"`
	Currency  rtb.Currency `json:"currency,omitzero"`
	// Claim is the exposure that the browser's purchase would be credited to, and Credit
	// the one that the order is credited to.
	Claim    []byte     `json:"claim,omitempty"`
	Credit   []byte     `json:"credit,omitempty"`
	Refunded rtb.Micros `json:"refunded,omitempty"`
	Void     bool       `json:"void,omitempty"` // refunded in full
}

// valueIn returns the order's value in a currency; 0 if it is in another one.
func (o *order) valueIn(c rtb.Currency) rtb.Micros {
	if o.Currency != c {
		return 0
	}
	return max(o.Value, 0)
}

func (o *order) expired(now rtb.Second) bool { return o.At+orderKept < now }

// orderKeyOf returns the key of the order of an event; nil if it has no id. A purchase of
// a server without an order id is known by its event.
func orderKeyOf(f *events.Fact) []byte {
	id, kind := f.OrderID, "order"
	if id == "" {
		if f.Trust != events.TrustServer || f.Event.Name != purchase {
			return nil
		}
		if id, kind = f.EventID, "event"; id == "" {
			id, kind = f.ID, "fact"
		}
	}
	text := strconv.AppendQuote(strconv.AppendQuote(strconv.AppendQuote(nil, f.Advertiser), kind), id)
	hash := sha256.Sum256(text)
	return append([]byte{keyOrder}, hash[:16]...)
}

// Names of the events that orders come from.
const (
	purchase = "purchase"
	refund   = "refund"
)

// foldOrder folds a purchase or a refund.
func (p *Pacer) foldOrder(f *events.Fact) error {
	if f.Event == nil || f.Erased || f.Event.Name != purchase && f.Event.Name != refund {
		return nil
	}
	key := orderKeyOf(f)
	if key == nil {
		return nil
	}
	v := p.values
	var o order
	value, err := v.pending.get(key)
	if err != nil {
		return err
	}
	if value != nil {
		if err := json.Unmarshal(value, &o); err != nil {
			return unreadable("order", key, err)
		}
	}
	if value == nil || o.expired(rtb.SecondOf(p.now)) {
		o = order{At: rtb.SecondOf(p.now)}
	}
	server := f.Trust == events.TrustServer
	switch {
	case f.Event.Name == refund && server:
		err = v.refunded(f, &o, rtb.SecondOf(p.now))
	case f.Event.Name == purchase && server:
		err = p.confirmed(f, &o)
	case f.Event.Name == purchase:
		err = p.claimed(f, &o)
	}
	if err != nil || !o.Confirmed && o.Claim == nil {
		return err
	}
	text, err := json.Marshal(&o)
	if err != nil {
		return err
	}
	v.pending.put(key, text)
	v.sweep.added++
	return nil
}

// exposureOf returns the exposure that an event of a visitor would be credited to.
func (p *Pacer) exposureOf(f *events.Fact) (*exposure, error) {
	if f.Visitor.IsZero() {
		return nil, nil
	}
	t, err := p.values.touchesOf(touchKey(f.Visitor, f.Advertiser))
	if err != nil {
		return nil, err
	}
	now := rtb.SecondOf(p.now)
	at := now
	if !f.At.IsZero() {
		at = min(at, rtb.SecondOf(f.At))
	}
	return t.credited(at, now), nil
}

// confirmed folds a purchase that the advertiser's server reports.
func (p *Pacer) confirmed(f *events.Fact, o *order) error {
	if o.Confirmed {
		return nil
	}
	o.Confirmed, o.Value, o.Currency = true, f.Event.Value, f.Currency
	v := p.values
	v.advertiser(f.Advertiser).Purchased = true
	x, err := p.exposureOf(f)
	if err != nil {
		return err
	}
	if x == nil && o.Claim != nil {
		x = &exposure{}
		if err := x.decode(o.Claim); err != nil {
			return unreadable("order", orderKeyOf(f), err)
		}
	}
	if x != nil {
		v.credit(x, o, rtb.SecondOf(p.now))
		o.Credit = x.encode()
	}
	return nil
}

// claimed folds a purchase that a browser reports.
func (p *Pacer) claimed(f *events.Fact, o *order) error {
	if o.Credit != nil || o.Claim != nil || o.Void {
		return nil
	}
	x, err := p.exposureOf(f)
	if x == nil || err != nil {
		return err
	}
	o.Claim = x.encode()
	if o.Confirmed {
		p.values.credit(x, o, rtb.SecondOf(p.now))
		o.Credit = o.Claim
	}
	return nil
}

// refunded folds a refund that the advertiser's server reports. A refund without an
// amount is of the whole order.
func (v *values) refunded(f *events.Fact, o *order, now rtb.Second) error {
	if !o.Confirmed || o.Void {
		return nil
	}
	amount := max(f.Event.Value, 0)
	if f.Currency != o.Currency {
		amount = 0
	}
	if o.Credit != nil {
		var x exposure
		if err := x.decode(o.Credit); err != nil {
			return unreadable("order", orderKeyOf(f), err)
		}
		if amount+o.Refunded >= o.Value {
			amount = 0
		}
		v.refund(&x, o, amount, now)
	}
	o.Refunded += amount
	o.Void = amount == 0
	return nil
}
