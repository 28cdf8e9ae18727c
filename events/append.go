package events

import (
	"encoding/base64"
	"strconv"

	"rebound/rtb"
)

// AppendBody appends the fact without its personal part, as the members of a JSON
// object: id first, no braces. It fails for a time outside the years 0 to 9999 and then
// returns dst unchanged.
func AppendBody(dst []byte, f *Fact) ([]byte, error) {
	e := encoder{b: dst}
	e.common(f)
	if f.Event != nil {
		e.event(f.Event)
	}
	if f.Link != nil {
		e.b = append(e.b, `,"key_kind":`...)
		e.b = rtb.AppendQuoted(e.b, f.Link.KeyKind)
		e.str(`,"provenance":`, f.Provenance)
	}
	if f.Notice != nil {
		e.notice(f.Notice)
	}
	if f.Grant != nil {
		e.grant(f.Grant)
	}
	if f.Config != nil {
		e.str(`,"hash":`, f.Hash)
		e.time(`,"activated_at":`, f.ActivatedAt)
		e.strs(`,"rules":`, f.Rules)
		if f.Parts > 0 {
			e.uint(`,"part":`, uint64(f.Part))
			e.uint(`,"parts":`, uint64(f.Parts))
		}
	}
	if f.Pause != nil {
		e.str(`,"scope":`, f.Scope)
		e.b = append(e.b, `,"on":`...)
		e.b = strconv.AppendBool(e.b, f.On)
		e.str(`,"by":`, f.By)
	}
	if f.Adjustment != nil {
		e.adjustment(f.Adjustment)
	}
	if f.AcceptLoss != nil {
		e.uint(`,"from_seq":`, f.AcceptLoss.From)
		e.uint(`,"to_seq":`, f.AcceptLoss.To)
	}
	if v := f.Approval; v != nil {
		e.str(`,"creative":`, v.Creative)
		e.str(`,"crid":`, v.CRID)
		e.str(`,"exchange":`, v.Exchange)
		e.str(`,"state":`, v.State)
		e.str(`,"by":`, v.By)
	}
	if v := f.List; v != nil {
		e.list(v)
	}
	if f.keepsKeys() {
		e.key(`,"visitor":`, f.Visitor)
		e.keys(f.Keys)
	}
	if e.err != nil {
		return dst, e.err
	}
	return e.b, nil
}

// keepsKeys reports whether the fact's keys belong to its body: an opt-out, an opt-in or
// an erasure must still identify its visitor after the personal part is erased.
func (f *Fact) keepsKeys() bool {
	return f.Kind == KindOptOut || f.Kind == KindOptIn || f.Kind == KindErase
}

// AppendWho appends the fact's personal part, everything that can identify a
// person, as a JSON object that ends with the salt; it appends nothing if the
// fact has none. The salt keeps the hash of an erased part from being guessed.
func AppendWho(dst []byte, f *Fact, salt [16]byte) []byte {
	e := encoder{b: dst}
	n := len(e.b)
	if !f.keepsKeys() {
		e.key(`,"visitor":`, f.Visitor)
		e.keys(f.Keys)
	}
	if f.Link != nil {
		e.key(`,"key":`, f.Link.Key)
	}
	if f.List != nil {
		e.strMap(`,"traits":`, f.List.Traits)
	}
	if f.Notice != nil {
		e.str(`,"client_net":`, f.ClientNet)
	}
	if v := f.Event; v != nil {
		e.str(`,"event_id":`, v.EventID)
		e.str(`,"order_id":`, v.OrderID)
		if v.URL != nil {
			e.b = append(e.b, `,"url":{`...)
			m := len(e.b)
			e.str(`,"host":`, v.URL.Host)
			e.str(`,"path":`, v.URL.Path)
			e.str(`,"query":`, v.URL.Query)
			e.close(m)
		}
		e.str(`,"ref_host":`, v.RefHost)
		e.strMap(`,"utm":`, v.UTM)
		e.str(`,"q":`, v.Query)
		e.strMap(`,"props":`, v.Props)
	}
	if len(e.b) == n {
		return dst
	}
	e.b[n] = '{' // replaces the first comma
	e.b = append(e.b, `,"salt":"`...)
	e.b = base64.RawURLEncoding.AppendEncode(e.b, salt[:])
	return append(e.b, '"', '}')
}

// encoder appends fields. Each name is written with the comma before it and the colon
// after it. Empty values are omitted.
type encoder struct {
	b   []byte
	err error
}

// common writes the fields that every fact has.
func (e *encoder) common(f *Fact) {
	e.b = append(e.b, `"id":`...)
	e.b = rtb.AppendQuoted(e.b, f.ID)
	e.time(`,"at":`, f.At)
	e.b = append(e.b, `,"kind":`...)
	e.b = rtb.AppendQuoted(e.b, string(f.Kind))
	e.str(`,"advertiser":`, f.Advertiser)
	e.str(`,"node":`, f.Node)
	e.currency(`,"currency":`, f.Currency)
}

func (e *encoder) event(v *Event) {
	e.str(`,"name":`, v.Name)
	for i := range v.Items {
		e.item(i, &v.Items[i])
	}
	if len(v.Items) > 0 {
		e.b = append(e.b, ']')
	}
	e.int(`,"value_micros":`, int64(v.Value))
	e.str(`,"action_source":`, v.Source)
	e.str(`,"trust":`, string(v.Trust))
}

// close ends an object that began at n and whose first field wrote a comma.
func (e *encoder) close(n int) {
	if len(e.b) > n {
		e.b = append(e.b[:n], e.b[n+1:]...)
	}
	e.b = append(e.b, '}')
}

func (e *encoder) item(i int, v *Item) {
	if i == 0 {
		e.b = append(e.b, `,"items":[{"id":`...)
	} else {
		e.b = append(e.b, `,{"id":`...)
	}
	e.b = rtb.AppendQuoted(e.b, v.ID)
	e.int(`,"price_micros":`, int64(v.Price))
	e.int(`,"qty":`, int64(v.Quantity))
	e.str(`,"category":`, v.Category)
	e.str(`,"brand":`, v.Brand)
	e.b = append(e.b, '}')
}

func (e *encoder) notice(v *Notice) {
	e.key(`,"bid_id":`, rtb.Key(v.BidID))
	e.str(`,"exchange":`, v.Exchange)
	e.str(`,"grant":`, v.Grant)
	e.str(`,"campaign":`, v.Campaign)
	e.str(`,"line":`, v.Line)
	e.str(`,"creative":`, v.Creative)
	e.str(`,"item":`, v.Item)
	e.str(`,"deal":`, v.Deal)
	e.str(`,"format":`, v.Format)
	e.day(v.Day)
	e.int(`,"caps":`, int64(v.Caps))
	if v.Flights != (rtb.Flights{}) {
		e.str(`,"flights":`, v.Flights.String())
	}
	if v.Hour != 0 {
		e.str(`,"hour":`, v.Hour.String())
	}
	e.cpm(`,"bid":`, v.Bid)
	e.cpm(`,"price":`, v.Price)
	e.bool(`,"price_told":`, v.PriceTold)
	e.int(`,"price_micros":`, int64(v.Charge))
	e.currency(`,"bid_currency":`, v.BidCur)
	e.int(`,"reserved_micros":`, int64(v.Reserved))
	e.bool(`,"bills":`, v.Bills)
	e.bool(`,"first_price":`, v.FirstPrice)
	e.time(`,"issued":`, v.Issued)
	e.time(`,"win_expiry":`, v.WinExpiry)
	e.time(`,"bill_expiry":`, v.BillExpiry)
	e.int(`,"bid_value_micros":`, int64(v.Value))
	e.int(`,"expected_micros":`, int64(v.Expected))
	e.int(`,"click_ppm":`, int64(v.ClickPPM))
	e.int(`,"conversion_ppm":`, int64(v.ConversionPPM))
	e.hashes(`,"features":`, v.Features)
	e.int(`,"loss_reason":`, int64(v.LossReason))
	e.cpm(`,"min_to_win":`, v.MinToWin)
	e.int(`,"progress_pct":`, int64(v.Progress))
	e.int(`,"multiplier_millionths":`, v.Multiplier)
	e.cpm(`,"discount":`, v.Discount)
	e.int(`,"discount_pct_millionths":`, v.DiscountPct)
	e.strs(`,"flags":`, v.Flags)
}

func (e *encoder) grant(v *Grant) {
	e.str(`,"run":`, v.Run)
	if v.Budget != (rtb.BudgetID{}) {
		e.b = append(e.b, `,"budget":`...)
		e.b = rtb.AppendQuoted(e.b, v.Budget.String())
	}
	e.int(`,"amount_micros":`, int64(v.Amount))
	e.int(`,"cap_micros":`, int64(v.Cap))
	e.time(`,"until":`, v.Until)
	e.time(`,"held_until":`, v.HeldUntil)
	e.int(`,"settled_micros":`, int64(v.Settled))
}

func (e *encoder) adjustment(v *Adjustment) {
	if v.Budget != (rtb.BudgetID{}) {
		e.b = append(e.b, `,"budget":`...)
		e.b = rtb.AppendQuoted(e.b, v.Budget.String())
	}
	e.str(`,"exchange":`, v.Exchange)
	e.day(v.Day)
	e.int(`,"amount_micros":`, int64(v.Amount))
	e.int(`,"late_spend_micros":`, int64(v.LateSpend))
	e.str(`,"reason":`, v.Reason)
}

func (e *encoder) linkKey(open byte, k *LinkKey) {
	e.b = append(e.b, open)
	e.b = append(e.b, `"key_kind":`...)
	e.b = rtb.AppendQuoted(e.b, k.KeyKind)
	e.b = append(e.b, `,"key":"`...)
	if !k.Key.IsZero() {
		e.b, _ = k.Key.AppendText(e.b) // never fails
	}
	e.b = append(e.b, '"')
}

func (e *encoder) keys(keys []LinkKey) {
	if len(keys) == 0 {
		return
	}
	e.b = append(e.b, `,"keys":[`...)
	for i := range keys {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.linkKey('{', &keys[i])
		e.b = append(e.b, '}')
	}
	e.b = append(e.b, ']')
}
