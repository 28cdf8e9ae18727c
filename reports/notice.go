package reports

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"rebound/events"
)

// What has been counted of a bid, so that each outcome counts once.
const (
	seenWin = 1 << iota
	seenCharge
	seenImp
	seenView
	seenClick
	seenLoss
)

// notice counts what a notice adds to what has been counted of its bid, at the time of the
// bid. It returns false if the record of the bid may still be on its way.
func (t *step) notice(f *events.Fact) (counted bool, err error) {
	id, at := f.Notice.BidID, noticeTime(f)
	var b bid
	known, seen, forgotten := false, 0, at/60 < t.oldest()
	if !forgotten {
		if b, known, err = t.find(id, at, false); err != nil {
			return false, err
		}
		if !known && f.TS.After(t.complete) && !f.TS.After(t.now) {
			return false, nil
		}
	}
	if known {
		seen = b.seen()
	}
	o := &t.part
	*o = observation{kind: ofNotice, at: at}
	now := t.outcome(f, o, seen)
	if now == seen {
		return true, nil
	}
	n := f.Notice
	o.dims[dimExchange], o.dims[dimAdvertiser], o.dims[dimCampaign], o.dims[dimLine] = t.text(n.Exchange), t.text(f.Advertiser), t.text(n.Campaign), t.text(n.Line)
	o.dims[dimCreative], o.dims[dimItem], o.dims[dimDeal] = t.text(n.Creative), t.text(clean(n.Item)), t.text(clean(n.Deal))
	o.dims[dimFormat], o.dims[dimCurrency] = t.text(n.Format), t.text(f.Currency.String())
	switch {
	case forgotten:
		t.add(o)
		return true, nil
	case known:
		err = b.impression(o)
	default:
		b, err = t.orphan(id, at)
	}
	if err != nil {
		return false, err
	}
	t.setSeen(b, now)
	t.add(o)
	return true, nil
}

// outcome sets what a notice adds to what has been counted of its bid, and returns what
// has been counted then. The charge is the one that the money view books: the first notice
// that bills.
func (t *step) outcome(f *events.Fact, o *observation, seen int) int {
	n, was := f.Notice, seen
	count := func(bit int, m measure) {
		if seen&bit == 0 {
			seen |= bit
			o.sum[m]++
		}
	}
	switch f.Kind {
	case events.KindWin:
		count(seenWin, mWins)
	case events.KindImp:
		count(seenImp, mImps)
	case events.KindVideo:
		if f.ID == "video:"+n.BidID.String() { // the impression; the other events have longer ids
			count(seenImp, mImps)
		}
	case events.KindView:
		count(seenView, mViews)
	case events.KindClick:
		count(seenClick, mClicks)
	case events.KindLoss:
		if count(seenLoss, mLosses); seen != was {
			o.dims[dimLoss] = t.text(strconv.Itoa(n.LossReason))
		}
	}
	if n.Bills && seen&seenCharge == 0 {
		count(seenCharge, mBills)
		count(seenWin, mWins)
		o.sum[mSpend] = int64(max(n.Charge, 0))
		if len(n.Flags) > 0 {
			o.sum[mFlagged] = 1
		}
		if n.MinToWin > 0 && n.Bid > n.MinToWin {
			o.sum[mOverpaid] = int64(n.Reserved) - int64(n.Reserved)*int64(n.MinToWin)/int64(n.Bid)
		}
	}
	return seen
}

// noticeTime returns the time of the bid that a notice is about.
func noticeTime(f *events.Fact) int64 {
	switch {
	case !f.Notice.Issued.IsZero():
		return f.Notice.Issued.Unix()
	case !f.At.IsZero():
		return f.At.Unix()
	}
	return f.TS.Unix()
}

// order counts an order once by its message id. A purchase that only a browser reports does
// not count: anybody can send it, and the server's report of the same purchase is a fact of
// its own.
func (t *step) order(f *events.Fact) error {
	if f.Event.Name != "purchase" || f.Event.Trust != events.TrustServer {
		return nil
	}
	if _, again := t.orders[f.ID]; again {
		return nil
	}
	at := f.At.Unix()
	if f.At.IsZero() {
		at = f.TS.Unix()
	}
	err := t.s.db.QueryRowContext(context.WithoutCancel(t.ctx), "SELECT at FROM orders WHERE id = ?", f.ID).Scan(new(int64))
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	t.orders[f.ID] = at
	o := &t.part
	*o = observation{kind: ofOrder, at: at}
	o.dims[dimAdvertiser], o.dims[dimCurrency] = t.text(f.Advertiser), t.text(f.Currency.String())
	o.sum[mOrders], o.sum[mRevenue] = 1, int64(f.Event.Value)
	t.add(o)
	return nil
}
