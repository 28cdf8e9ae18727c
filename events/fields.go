package events

import "rebound/rtb"

// set returns *p, allocating it first if it is nil.
func set[T any](p **T) *T {
	if *p == nil {
		*p = new(T)
	}
	return *p
}

// field reads the member of a fact named key.
func (d *decoder) field(key []byte, f *Fact) {
	switch string(key) {
	case "id":
		f.ID = d.str()
	case "at":
		f.At = d.time()
	case "kind":
		f.Kind = d.kind()
	case "advertiser":
		f.Advertiser = d.str()
	case "visitor":
		d.value(&f.Visitor)
	case "node":
		f.Node = d.str()
	case "currency":
		d.value(&f.Currency)
	case "keys":
		d.array(func() { f.Keys = append(f.Keys, d.linkKey()) })
	default:
		d.ofKind(key, f)
	}
}

// kinds maps names to the known kinds, so that decoding a fact does not allocate a string.
var kinds = func() map[string]Kind {
	m := map[string]Kind{}
	for _, k := range []Kind{KindEvent, KindLink, KindOptOut, KindOptIn, KindErase, KindConfig, KindGrant, KindTick, KindPause, KindWin, KindBill,
		KindLoss, KindImp, KindView, KindClick, KindVideo, KindList, KindConvert, KindAdjust, KindApproval, KindAcceptLoss, KindUnreadable} {
		m[string(k)] = k
	}
	return m
}()

func (d *decoder) kind() Kind {
	text := d.text()
	if k, ok := kinds[string(text)]; ok {
		return k
	}
	return Kind(text)
}

// ofKind reads a member that only some kinds of facts have.
func (d *decoder) ofKind(key []byte, f *Fact) {
	switch f.Kind {
	case KindEvent:
		d.event(key, set(&f.Event))
	case KindLink:
		d.link(key, set(&f.Link))
	case KindConfig:
		d.config(key, set(&f.Config))
	case KindGrant:
		d.grant(key, set(&f.Grant))
	case KindPause:
		d.pause(key, set(&f.Pause))
	case KindAdjust:
		d.adjustment(key, set(&f.Adjustment))
	case KindAcceptLoss:
		d.acceptLoss(key, set(&f.AcceptLoss))
	case KindApproval:
		d.approval(key, set(&f.Approval))
	case KindList:
		d.list(key, set(&f.List))
	case KindWin, KindBill, KindLoss, KindImp, KindView, KindClick, KindVideo, KindConvert:
		d.notice(key, set(&f.Notice))
	default:
		d.skip()
	}
}

func (d *decoder) event(key []byte, v *Event) {
	switch string(key) {
	case "name":
		v.Name = d.str()
	case "event_id":
		v.EventID = d.str()
	case "items":
		d.array(func() { v.Items = append(v.Items, d.item()) })
	case "value_micros":
		v.Value = d.micros()
	case "order_id":
		v.OrderID = d.str()
	case "url":
		v.URL = d.url()
	case "ref_host":
		v.RefHost = d.str()
	case "utm":
		v.UTM = d.strMap()
	case "q":
		v.Query = d.str()
	case "props":
		v.Props = d.strMap()
	case "action_source":
		v.Source = d.str()
	case "trust":
		v.Trust = Trust(d.str())
	default:
		d.skip()
	}
}

func (d *decoder) item() (v Item) {
	d.object(func(key []byte) {
		switch string(key) {
		case "id":
			v.ID = d.str()
		case "price_micros":
			v.Price = d.micros()
		case "qty":
			v.Quantity = int(d.int())
		case "category":
			v.Category = d.str()
		case "brand":
			v.Brand = d.str()
		default:
			d.skip()
		}
	})
	return v
}

func (d *decoder) url() *URL {
	v := new(URL)
	d.object(func(key []byte) {
		switch string(key) {
		case "host":
			v.Host = d.str()
		case "path":
			v.Path = d.str()
		case "query":
			v.Query = d.str()
		default:
			d.skip()
		}
	})
	return v
}

func (d *decoder) linkKey() (v LinkKey) {
	d.object(func(key []byte) {
		switch string(key) {
		case "key_kind":
			v.KeyKind = d.str()
		case "key":
			d.value(&v.Key)
		default:
			d.skip()
		}
	})
	return v
}

func (d *decoder) link(key []byte, v *Link) {
	switch string(key) {
	case "key_kind":
		v.KeyKind = d.str()
	case "key":
		d.value(&v.Key)
	case "provenance":
		v.Provenance = d.str()
	default:
		d.skip()
	}
}

func (d *decoder) config(key []byte, v *Config) {
	switch string(key) {
	case "hash":
		v.Hash = d.str()
	case "activated_at":
		v.ActivatedAt = d.time()
	case "rules":
		v.Rules = d.strs()
	case "part":
		v.Part = int(d.int())
	case "parts":
		v.Parts = int(d.int())
	default:
		d.skip()
	}
}

func (d *decoder) grant(key []byte, v *Grant) {
	switch string(key) {
	case "run":
		v.Run = d.str()
	case "budget":
		d.value(&v.Budget)
	case "amount_micros":
		v.Amount = d.micros()
	case "cap_micros":
		v.Cap = d.micros()
	case "settled_micros":
		v.Settled = d.micros()
	case "until":
		v.Until = d.time()
	case "held_until":
		v.HeldUntil = d.time()
	default:
		d.skip()
	}
}

func (d *decoder) pause(key []byte, v *Pause) {
	switch string(key) {
	case "scope":
		v.Scope = d.str()
	case "on":
		v.On = d.bool()
	case "by":
		v.By = d.str()
	default:
		d.skip()
	}
}

func (d *decoder) adjustment(key []byte, v *Adjustment) {
	switch string(key) {
	case "budget":
		d.value(&v.Budget)
	case "exchange":
		v.Exchange = d.str()
	case "day":
		d.value(&v.Day)
	case "amount_micros":
		v.Amount = d.micros()
	case "late_spend_micros":
		v.LateSpend = d.micros()
	case "reason":
		v.Reason = d.str()
	default:
		d.skip()
	}
}

func (d *decoder) acceptLoss(key []byte, v *AcceptLoss) {
	switch string(key) {
	case "from_seq":
		v.From = d.uint()
	case "to_seq":
		v.To = d.uint()
	default:
		d.skip()
	}
}

func (d *decoder) approval(key []byte, v *Approval) {
	switch string(key) {
	case "creative":
		v.Creative = d.str()
	case "crid":
		v.CRID = d.str()
	case "exchange":
		v.Exchange = d.str()
	case "state":
		v.State = d.str()
	case "by":
		v.By = d.str()
	default:
		d.skip()
	}
}

func (d *decoder) list(key []byte, v *List) {
	switch string(key) {
	case "list":
		v.List = d.str()
	case "job":
		v.Job = d.str()
	case "mode":
		v.Mode = d.str()
	case "action":
		v.Action = d.str()
	case "norm":
		v.Norm = d.str()
	case "purpose":
		v.Purpose = d.str()
	case "ttl_s":
		v.TTL = d.int()
	case "rows":
		v.Rows = d.int()
	case "accepted":
		v.Accepted = d.int()
	case "traits":
		v.Traits = d.strMap()
	default:
		d.skip()
	}
}

func (d *decoder) notice(key []byte, v *Notice) {
	switch string(key) {
	case "bid_id":
		d.value(&v.BidID)
	case "exchange":
		v.Exchange = d.str()
	case "grant":
		v.Grant = d.str()
	case "campaign":
		v.Campaign = d.str()
	case "line":
		v.Line = d.str()
	case "creative":
		v.Creative = d.str()
	case "item":
		v.Item = d.str()
	case "deal":
		v.Deal = d.str()
	case "format":
		v.Format = d.str()
	case "day":
		d.value(&v.Day)
	case "caps":
		v.Caps = rtb.CapSet(d.uint())
	case "flights":
		d.value(&v.Flights)
	case "hour":
		d.value(&v.Hour)
	default:
		d.noticeMoney(key, v)
	}
}

func (d *decoder) noticeMoney(key []byte, v *Notice) {
	switch string(key) {
	case "bid":
		v.Bid = d.cpm()
	case "price":
		v.Price = d.cpm()
	case "price_told":
		v.PriceTold = d.bool()
	case "price_micros":
		v.Charge = d.micros()
	case "bid_currency":
		d.value(&v.BidCur)
	case "reserved_micros":
		v.Reserved = d.micros()
	case "bills":
		v.Bills = d.bool()
	case "first_price":
		v.FirstPrice = d.bool()
	case "issued":
		v.Issued = d.time()
	case "win_expiry":
		v.WinExpiry = d.time()
	case "bill_expiry":
		v.BillExpiry = d.time()
	case "bid_value_micros":
		v.Value = d.micros()
	case "expected_micros":
		v.Expected = d.micros()
	case "click_ppm":
		v.ClickPPM = uint32(d.uint())
	case "conversion_ppm":
		v.ConversionPPM = uint32(d.uint())
	case "features":
		v.Features = d.hashes()
	default:
		d.noticeReport(key, v)
	}
}

func (d *decoder) noticeReport(key []byte, v *Notice) {
	switch string(key) {
	case "loss_reason":
		v.LossReason = int(d.int())
	case "min_to_win":
		v.MinToWin = d.cpm()
	case "progress_pct":
		v.Progress = int(d.int())
	case "multiplier_millionths":
		v.Multiplier = d.int()
	case "discount":
		v.Discount = d.cpm()
	case "discount_pct_millionths":
		v.DiscountPct = d.int()
	case "client_net":
		v.ClientNet = d.str()
	case "flags":
		v.Flags = d.strs()
	default:
		d.skip()
	}
}
