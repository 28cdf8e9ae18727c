package events

import (
	"slices"
	"time"

	"rebound/rtb"
)

// NoticeFact returns the fact for a notice of a kind about a bid, with
// everything from the bid's claims and no price yet. A second notice of the
// same kind has the same ID and is the same fact.
func NoticeFact(kind rtb.NoticeKind, c *rtb.Claims, at time.Time) Fact {
	f := Fact{
		V: 1, ID: kind.String() + ":" + c.Bid.String(), At: at, Kind: Kind(kind.String()),
		Advertiser: c.Advertiser, Visitor: c.Visitor, Node: c.Node, Currency: c.AdvertiserCurrency,
		Notice: &Notice{
			BidID: c.Bid, Exchange: c.Exchange, Grant: c.Grant, Campaign: c.Campaign, Line: c.Line, Creative: c.Creative,
			Item: c.Item, Deal: c.Deal, Format: c.Format.String(), Day: c.Day, Caps: c.Caps, Flights: c.Flights, Hour: c.Hour, Bid: c.Price, BidCur: c.Currency,
			Reserved: c.Reserved, FirstPrice: c.FirstPrice, Issued: c.Issued, WinExpiry: c.WinExpiry, BillExpiry: c.BillExpiry,
			Value: c.Value, Expected: c.Expected,
		},
	}
	if kind == c.BillOn.Notice() || kind == rtb.NoticeClick {
		f.Notice.ClickPPM, f.Notice.ConversionPPM = c.ClickPPM, c.ConversionPPM
		if c.Features.N > 0 {
			f.Notice.Features = slices.Clone(c.Features.Hash[:c.Features.N])
		}
	}
	return f
}
