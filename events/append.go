package events

import (
	"strconv"

	"rebound/rtb"
)

// AppendFact appends a fact as one JSON object on one line, without the line's
// end: the same object that encoding/json writes, faster. The common fields come
// first, v, seq, id and ts in this order. It fails for a time outside the years
// 0 to 9999, and dst is then as it was.
func AppendFact(dst []byte, f *Fact) ([]byte, error) {
	e := encoder{b: dst}
	e.common(f)
	if f.Event != nil {
		e.event(f.Event)
	}
	if f.Link != nil {
		e.linkKey(',', &f.Link.LinkKey)
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
	}
	if f.Pause != nil {
		e.str(`,"scope":`, f.Scope)
		e.b = append(e.b, `,"on":`...)
		e.b = strconv.AppendBool(e.b, f.On)
		e.str(`,"by":`, f.By)
	}
	e.keys(f.Keys)
	if e.err != nil {
		return dst, e.err
	}
	return append(e.b, '}'), nil
}

// encoder appends fields; each name comes with the comma before it and the colon
// after it. Empty values are left out.
type encoder struct {
	b   []byte
	err error
}

// common writes what every fact has.
func (e *encoder) common(f *Fact) {
	e.b = append(e.b, `{"v":`...)
	e.b = strconv.AppendInt(e.b, int64(f.V), 10)
	e.uint(`,"seq":`, f.Seq)
	e.b = append(e.b, `,"id":`...)
	e.b = rtb.AppendQuoted(e.b, f.ID)
	e.time(`,"ts":`, f.TS)
	e.time(`,"at":`, f.At)
	e.b = append(e.b, `,"kind":`...)
	e.b = rtb.AppendQuoted(e.b, string(f.Kind))
	e.str(`,"advertiser":`, f.Advertiser)
	e.key(`,"visitor":`, f.Visitor)
	e.str(`,"node":`, f.Node)
	e.currency(`,"currency":`, f.Currency)
}

func (e *encoder) event(v *Event) {
	e.str(`,"name":`, v.Name)
	e.str(`,"event_id":`, v.EventID)
	for i := range v.Items {
		e.item(i, &v.Items[i])
	}
	if len(v.Items) > 0 {
		e.b = append(e.b, ']')
	}
	e.int(`,"value_micros":`, int64(v.Value))
	e.str(`,"order_id":`, v.OrderID)
	if v.URL != nil {
		e.b = append(e.b, `,"url":{`...)
		n := len(e.b)
		e.str(`,"host":`, v.URL.Host)
		e.str(`,"path":`, v.URL.Path)
		e.str(`,"query":`, v.URL.Query)
		e.close(n)
	}
	e.str(`,"ref_host":`, v.RefHost)
	e.strMap(`,"utm":`, v.UTM)
	e.str(`,"q":`, v.Query)
	e.strMap(`,"props":`, v.Props)
	e.str(`,"action_source":`, v.Source)
	e.str(`,"trust":`, string(v.Trust))
}

// close ends an object that began at n, whose first field wrote a comma.
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
	if v.Day != 0 {
		e.b = append(e.b, `,"day":`...)
		e.b = rtb.AppendQuoted(e.b, v.Day.String())
	}
	e.int(`,"caps":`, int64(v.Caps))
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
	e.int(`,"loss_reason":`, int64(v.LossReason))
	e.cpm(`,"min_to_win":`, v.MinToWin)
	e.int(`,"progress_pct":`, int64(v.Progress))
	e.int(`,"multiplier_millionths":`, v.Multiplier)
	e.cpm(`,"discount":`, v.Discount)
	e.int(`,"discount_pct_millionths":`, v.DiscountPct)
	e.str(`,"client_net":`, v.ClientNet)
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
