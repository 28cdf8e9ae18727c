package rtb

import (
	"fmt"
	"time"
)

// Window is the period over which a cap applies.
type Window uint8

// The windows.
const (
	WindowDay   Window = iota // a civil day in the advertiser's time zone
	WindowTotal               // the lifetime of the campaign or line
)

// String returns the window's name.
func (w Window) String() string {
	if w == WindowTotal {
		return "total"
	}
	return "day"
}

// CapSet is the set of caps that apply to a bid.
type CapSet uint8

// The caps that can apply to a line.
const (
	CapLineDay CapSet = 1 << iota
	CapLineTotal
	CapCampaignDay
	CapCampaignTotal
)

// Caps lists every cap that a [CapSet] can hold, in a fixed order.
var Caps = [...]CapSet{CapLineDay, CapLineTotal, CapCampaignDay, CapCampaignTotal}

// Day is a civil day, counted in days since 1970-01-01, without a time zone.
type Day int32

// NoDay marks a cap that is not tied to a day.
const NoDay Day = -1 << 31

// DayOf returns the civil day of t in zone.
func DayOf(t time.Time, zone *time.Location) Day {
	y, m, d := t.In(zone).Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// Start returns the first instant of the day in zone. That is not midnight where
// the clocks skip it, and the first of two midnights where they show it twice.
func (d Day) Start(zone *time.Location) time.Time {
	y, m, dd := time.Unix(int64(d)*86400, 0).UTC().Date()
	t := time.Date(y, m, dd, 0, 0, 0, 0, zone)
	begin, end := t.ZoneBounds()
	if DayOf(t, zone) < d { // the clocks skip midnight: the day begins with their change
		return end
	}
	if begin.IsZero() {
		return t
	}
	_, now := begin.Zone()
	_, was := begin.Add(-time.Nanosecond).In(zone).Zone()
	if first := t.Add(time.Duration(now-was) * time.Second); first.Before(begin) && DayOf(first, zone) == d {
		return first
	}
	if begin.Before(t) && begin.After(t.Add(-3*time.Hour)) && DayOf(begin, zone) == d {
		return begin
	}
	return t
}

// String returns the day as 2006-01-02, and an empty string for NoDay.
func (d Day) String() string {
	if d == NoDay {
		return ""
	}
	return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
}

// MarshalText returns the same text as String.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses the output of MarshalText.
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

// BudgetID identifies one cap: of a line, or of a whole campaign when Line is
// empty; for one day, or for the lifetime when Day is NoDay. It is comparable.
// Its parts are ids from the configuration.
type BudgetID struct {
	Advertiser, Campaign, Line string
	Window                     Window
	Day                        Day
}

// BudgetOf returns the id of cap c of a line on a day.
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

// String returns the id as facts and logs show it:
// shop/autumn/cart/day/2026-10-01 or shop/autumn//total.
func (b BudgetID) String() string {
	s := b.Advertiser + "/" + b.Campaign + "/" + b.Line + "/" + b.Window.String()
	if b.Window == WindowDay {
		s += "/" + b.Day.String()
	}
	return s
}

// MarshalText returns the same text as String.
func (b BudgetID) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText parses the output of String.
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

// LineID identifies a line within its campaign and advertiser.
type LineID struct{ Advertiser, Campaign, Line string }

// String returns the id as advertiser/campaign/line.
func (l LineID) String() string { return l.Advertiser + "/" + l.Campaign + "/" + l.Line }

// FrequencyCap allows a visitor at most Max impressions in any period of length
// Per. A MinGap above 0 is the minimum time between two impressions.
type FrequencyCap struct {
	Scope  ScopeID
	Max    int
	Per    time.Duration
	MinGap time.Duration
}

// Slot is a kind of place for an ad whose prices are alike, for instance banners of about
// the same size. Its numbers are stored: they never change their meaning.
type Slot uint8

// The kinds of slots.
const (
	SlotOther Slot = iota
	SlotBannerMobile
	SlotBannerRectangle
	SlotBannerLeaderboard
	SlotBannerTall
	SlotBannerLarge
	SlotVideo
	SlotNative
	SlotAudio
)

// Ask is what a price is asked for.
type Ask struct {
	Value    CPM // in the currency of the budgets
	Floor    CPM // the same
	Auction  int // AuctionFirstPrice, AuctionSecondPrice or AuctionFixedPrice; only first-price bids are shaded
	Exchange string
	Slot     Slot
	// Multiplier is the least number by which the value is divided, whatever the budgets
	// allow; below 1 it has no effect.
	Multiplier float64
	Draw       float64 // the request's draw in [0, 1); it decides whether the price is randomised
}

// Quote is the price that pacing sets for one possible bid.
type Quote struct {
	Multiplier float64 // the value is divided by it; at least 1
	Shading    float64 // share of the price that is bid; 1 means no shading
	Price      CPM     // bid price, in the currency of the budgets
	Learned    bool    // the price is shaded on what was learned of such slots
	Explored   bool    // the price is randomised, to learn
	Chance     float64 // estimated chance that the bid wins
	Expected   Micros  // expected cost: the cost of the bid times its chance to win
	Full       Micros  // the expected cost at full price, with a multiplier of 1
}

// LineHandle is a line's number at pacing, which is never given to another line
// while the process runs. 0 is no line.
type LineHandle int32

// Observation tells pacing about one request on which a line could have bid. A request
// that stands for others, because not every line is priced on every request, has their
// number as its weight, and Quotes and Full are multiplied by it.
type Observation struct {
	Requests int64  // the weight
	Expected Micros // expected cost of the line's bids; 0 if it did not bid
	Quotes   int64  // how often the line was priced
	Full     Micros // sum of the expected costs at full price
}
