package pacing

import (
	"time"

	"rebound/rtb"
)

// Mode is how a budget is spread over its window.
type Mode uint8

// The modes.
const (
	Even  Mode = iota // spread over the day by the price multiplier
	ASAP              // at full price until it is spent
	Ahead             // as Even, but earlier: up to a quarter more at the start of the window
)

// LinePlan holds the budget settings of a line. Amounts are micros of Currency.
// Caps selects which of the four limits apply; a limit that is not in Caps is
// ignored.
type LinePlan struct {
	Line     rtb.LineID
	Currency rtb.Currency
	Zone     *time.Location // time zone of the days; UTC if nil
	Mode     Mode           // mode of the line
	// CampaignMode and AdvertiserMode are how the caps of the campaign and of the
	// advertiser are spread.
	CampaignMode, AdvertiserMode Mode

	Caps          rtb.CapSet
	LineDay       rtb.Micros
	LineTotal     rtb.Micros
	CampaignDay   rtb.Micros
	CampaignTotal rtb.Micros
	Limits        rtb.Limits // of the other caps
	// Flights are the days on which the flights of the line, campaign and advertiser
	// begin; 0 for one without a start.
	Flights rtb.Flights

	// HoldbackPct, CampaignHoldbackPct and AdvertiserHoldbackPct are the shares of the
	// caps of the line, of the campaign and of the advertiser that are never granted, 0
	// to 100; they are kept for late bills.
	HoldbackPct, CampaignHoldbackPct, AdvertiserHoldbackPct int

	// MaxCPM is the highest price that the line bids, in Currency; 0 if unknown.
	MaxCPM rtb.CPM
	// Start and End bound the line's lifetime; zero means open. End is exclusive.
	Start, End time.Time
	// Active reports whether the line bids. Grants are cut for active lines only.
	Active bool
}

// holdback is the part of one cap that is kept for late bills.
func (l *LinePlan) holdback(c rtb.CapSet) rtb.Micros {
	pct := l.HoldbackPct
	switch c.Owner() {
	case rtb.OwnCampaign:
		pct = l.CampaignHoldbackPct
	case rtb.OwnAdvertiser:
		pct = l.AdvertiserHoldbackPct
	}
	if pct <= 0 {
		return 0
	}
	limit := l.limit(c)
	return limit/100*rtb.Micros(pct) + limit%100*rtb.Micros(pct)/100
}

func (l *LinePlan) zone() *time.Location {
	if l.Zone == nil {
		return time.UTC
	}
	return l.Zone
}

// limit returns the amount of one cap.
func (l *LinePlan) limit(c rtb.CapSet) rtb.Micros {
	switch c {
	case rtb.CapLineDay:
		return l.LineDay
	case rtb.CapLineTotal:
		return l.LineTotal
	case rtb.CapCampaignDay:
		return l.CampaignDay
	case rtb.CapCampaignTotal:
		return l.CampaignTotal
	}
	return l.Limits.Of(c)
}

// mode returns how the caps of an owner are spread.
func (l *LinePlan) mode(o rtb.Owner) Mode {
	switch o {
	case rtb.OwnCampaign:
		return l.CampaignMode
	case rtb.OwnAdvertiser:
		return l.AdvertiserMode
	}
	return l.Mode
}

// periods returns the periods of the line's caps at a time.
func (l *LinePlan) periods(now time.Time) rtb.Periods {
	return rtb.Periods{Day: rtb.DayOf(now, l.zone()), Hour: rtb.HourOf(now, l.zone()), Flights: l.Flights}
}
