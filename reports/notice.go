package reports

import (
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

// observeNotice returns what a notice adds to what has been seen of its bid, and the new
// state; nil if it adds nothing. It counts at the time of the bid. The charge is the one
// that the money view books: the first notice that bills.
func observeNotice(f *events.Fact, seen int) (*observation, int) {
	n, was := f.Notice, seen
	o := &observation{kind: ofNotice}
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
			o.dims[dimLoss] = strconv.Itoa(n.LossReason)
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
	if seen == was {
		return nil, was
	}
	o.at = noticeTime(f)
	o.dims[dimExchange], o.dims[dimAdvertiser], o.dims[dimCampaign], o.dims[dimLine] = n.Exchange, f.Advertiser, n.Campaign, n.Line
	o.dims[dimCreative], o.dims[dimItem], o.dims[dimDeal] = n.Creative, clean(n.Item), clean(n.Deal)
	o.dims[dimFormat], o.dims[dimCurrency] = n.Format, f.Currency.String()
	return o, seen
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

// observeOrder returns the observation of an order; nil for another event, and for a
// purchase that only a browser reports: anybody can send it, and the server's report of the
// same purchase is a fact of its own.
func observeOrder(f *events.Fact) *observation {
	if f.Event == nil || f.Event.Name != "purchase" || f.Event.Trust != events.TrustServer {
		return nil
	}
	o := &observation{kind: ofOrder, at: f.At.Unix()}
	if f.At.IsZero() {
		o.at = f.TS.Unix()
	}
	o.dims[dimAdvertiser], o.dims[dimCurrency] = f.Advertiser, f.Currency.String()
	o.sum[mOrders], o.sum[mRevenue] = 1, int64(f.Event.Value)
	return o
}
