package rtb

import (
	"fmt"
	"time"
)

// Window is the time that a cap binds.
type Window uint8

// The windows.
const (
	WindowDay   Window = iota // a civil day in the advertiser's time zone
	WindowTotal               // the campaign's or line's whole life
)

// String is the window's name.
func (w Window) String() string {
	if w == WindowTotal {
		return "total"
	}
	return "day"
}

// CapSet says which caps bind a bid.
type CapSet uint8

// The caps that a line can be under.
const (
	CapLineDay CapSet = 1 << iota
	CapLineTotal
	CapCampaignDay
	CapCampaignTotal
)

// Caps are the single caps of a [CapSet], in their order.
var Caps = [...]CapSet{CapLineDay, CapLineTotal, CapCampaignDay, CapCampaignTotal}

// Day is a civil day, as days since 1970-01-01; no zone.
type Day int32

// NoDay is the day of a cap that has none.
const NoDay Day = -1 << 31

// DayOf is the civil day of t in zone.
func DayOf(t time.Time, zone *time.Location) Day {
	y, m, d := t.In(zone).Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// Start is the first instant of the day in zone.
func (d Day) Start(zone *time.Location) time.Time {
	y, m, dd := time.Unix(int64(d)*86400, 0).UTC().Date()
	return time.Date(y, m, dd, 0, 0, 0, 0, zone)
}

// String is the day as 2006-01-02; NoDay is empty.
func (d Day) String() string {
	if d == NoDay {
		return ""
	}
	return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
}

// MarshalText writes the day as String does.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Day) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = NoDay
		return nil
	}
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil {
		return fmt.Errorf("cannot read day: got %q; want a date such as 2026-10-01: %w", b, err)
	}
	*d = Day(t.Unix() / 86400)
	return nil
}

// BudgetID names one cap: of a line, or of a campaign where Line is empty; on
// one day, or for the whole life where Day is NoDay. It is comparable, and its
// parts come from the configuration.
type BudgetID struct {
	Advertiser, Campaign, Line string
	Window                     Window
	Day                        Day
}

// BudgetOf is the cap c of a line on a day.
func BudgetOf(c CapSet, advertiser, campaign, line string, day Day) BudgetID {
	id := BudgetID{Advertiser: advertiser, Campaign: campaign, Day: day}
	switch c {
	case CapLineDay:
		id.Line = line
	case CapLineTotal:
		id.Line, id.Window, id.Day = line, WindowTotal, NoDay
	case CapCampaignTotal:
		id.Window, id.Day = WindowTotal, NoDay
	}
	return id
}

// String is the text of a cap in facts and logs: shop/autumn/cart/day/2026-10-01
// or shop/autumn//total.
func (b BudgetID) String() string {
	s := b.Advertiser + "/" + b.Campaign + "/" + b.Line + "/" + b.Window.String()
	if b.Window == WindowDay {
		s += "/" + b.Day.String()
	}
	return s
}

// MarshalText writes the cap's text.
func (b BudgetID) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what String wrote.
func (b *BudgetID) UnmarshalText(t []byte) error {
	var parts [5]string
	n, from := 0, 0
	for i := 0; i <= len(t); i++ {
		if i < len(t) && t[i] != '/' {
			continue
		}
		if n == len(parts) {
			n++
			break
		}
		parts[n] = string(t[from:i])
		n, from = n+1, i+1
	}
	id := BudgetID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2], Day: NoDay}
	switch {
	case n == 4 && parts[3] == "total":
		id.Window = WindowTotal
	case n == 5 && parts[3] == "day":
		if err := id.Day.UnmarshalText([]byte(parts[4])); err != nil {
			return err
		}
	default:
		return fmt.Errorf("cannot read budget: got %q; want advertiser/campaign/line/day/2026-10-01 or advertiser/campaign/line/total", t)
	}
	*b = id
	return nil
}

// LineID names a line within its campaign and advertiser.
type LineID struct{ Advertiser, Campaign, Line string }

// String is advertiser/campaign/line.
func (l LineID) String() string { return l.Advertiser + "/" + l.Campaign + "/" + l.Line }

// FrequencyCap allows a visitor Max impressions in any Per; MinGap, where set,
// is the least time between two impressions.
type FrequencyCap struct {
	Scope  ScopeID
	Max    int
	Per    time.Duration
	MinGap time.Duration
}

// Quote is what pacing says of one possible bid.
type Quote struct {
	Multiplier float64 // lambda >= 1: what the value is divided by
	Shading    float64 // 1 where nothing is shaded
	Price      CPM     // what to bid, in the budgets' currency
	Expected   Micros  // the expected cost of that bid, its win chance included
}
