package rtb

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// Window is the period over which a cap applies.
type Window uint8

// The windows.
const (
	WindowDay    Window = iota // a civil day in the advertiser's time zone
	WindowTotal                // for ever, whatever the dates of the campaign or line
	WindowHour                 // an hour that begins when the clock in the advertiser's time zone shows a full hour
	WindowFlight               // from the start of the line, campaign or advertiser to its end; another start begins another flight
)

var windowNames = [...]string{"day", "total", "hour", "flight"}

// String returns the window's name.
func (w Window) String() string {
	if int(w) >= len(windowNames) {
		return ""
	}
	return windowNames[w]
}

// CapSet is the set of caps that apply to a bid. Its bits are in tokens, facts and the
// file of reservations: they never change their meaning.
type CapSet uint32

// The caps on money that can apply to a line. [CapSet.Imps] is the cap on impressions with
// the same owner and window.
const (
	CapLineDay CapSet = 1 << iota
	CapLineTotal
	CapCampaignDay
	CapCampaignTotal
	CapAdvertiserDay
	CapAdvertiserTotal
	CapLineHour
	CapCampaignHour
	CapAdvertiserHour
	CapLineFlight
	CapCampaignFlight
	CapAdvertiserFlight
	capsOnMoney = iota
)

// Caps lists every cap that a [CapSet] can hold, in a fixed order.
var Caps = func() (all [2 * capsOnMoney]CapSet) {
	for i := range all {
		all[i] = 1 << i
	}
	return all
}()

// Owner is who has a cap.
type Owner uint8

// The owners.
const (
	OwnLine Owner = iota
	OwnCampaign
	OwnAdvertiser
)

// capKinds is the owner and the window of each cap on money.
var capKinds = [capsOnMoney]struct {
	owner  Owner
	window Window
}{
	{OwnLine, WindowDay}, {OwnLine, WindowTotal}, {OwnCampaign, WindowDay}, {OwnCampaign, WindowTotal}, {OwnAdvertiser, WindowDay}, {OwnAdvertiser, WindowTotal},
	{OwnLine, WindowHour}, {OwnCampaign, WindowHour}, {OwnAdvertiser, WindowHour}, {OwnLine, WindowFlight}, {OwnCampaign, WindowFlight}, {OwnAdvertiser, WindowFlight},
}

// CapOf returns the cap on money, or on impressions, of an owner in a window.
func CapOf(o Owner, w Window, imps bool) CapSet {
	for i, k := range capKinds {
		if k.owner == o && k.window == w {
			if imps {
				return CapSet(1 << i).Imps()
			}
			return 1 << i
		}
	}
	return 0
}

// Imps returns the caps on impressions that correspond to caps on money.
func (c CapSet) Imps() CapSet { return c << capsOnMoney }

// OnImps reports whether the only cap of the set is one on impressions.
func (c CapSet) OnImps() bool { return c >= 1<<capsOnMoney }

// index returns the index in Limits of the only cap of the set.
func (c CapSet) index() int { return bits.TrailingZeros32(uint32(c)) }

// kind returns the owner and window of the only cap of the set.
func (c CapSet) kind() (Owner, Window) {
	k := capKinds[c.index()%capsOnMoney]
	return k.owner, k.window
}

// Owner returns who has the only cap of the set.
func (c CapSet) Owner() Owner { o, _ := c.kind(); return o }

// Window returns the window of the only cap of the set.
func (c CapSet) Window() Window { _, w := c.kind(); return w }

// AnyIn reports whether one of the caps applies in a window.
func (c CapSet) AnyIn(w Window) bool {
	for i, k := range capKinds {
		if k.window == w && c&(1<<i|CapSet(1<<i).Imps()) != 0 {
			return true
		}
	}
	return false
}

// Limits are the amounts of caps: micros of money, or millionths of an impression.
type Limits [2 * capsOnMoney]Micros

// Of returns the limit of the only cap of the set.
func (l *Limits) Of(c CapSet) Micros { return l[c.index()] }

// Set sets the limit of the only cap of the set.
func (l *Limits) Set(c CapSet, limit Micros) { l[c.index()] = limit }

// Caps returns the caps whose limit is above zero.
func (l *Limits) Caps() (set CapSet) {
	for i, limit := range l {
		if limit > 0 {
			set |= 1 << i
		}
	}
	return set
}

// ImpressionUnit is one impression in a budget of impressions. A bid counts as one,
// whatever its quantity.
const ImpressionUnit Micros = 1_000_000

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

// Hour is an hour of a civil clock. It is the time at which it begins, in quarters of an
// hour since 1970-01-01T00:00Z, so that it needs no time zone.
type Hour int32

const quarter = 15 * 60 // seconds

// QuartersPerHour is the difference between two full hours of an [Hour].
const QuartersPerHour = 4

// HourOf returns the hour of t in zone. It begins when the clock there last showed a full
// hour. Where clocks change by half an hour, the hour around the change lasts longer.
func HourOf(t time.Time, zone *time.Location) Hour {
	begin, _ := t.In(zone).ZoneBounds()
	start := fullHour(t, zone)
	if !begin.IsZero() && start < begin.Unix() { // the clock has not shown a full hour since it was changed
		start = fullHour(begin.Add(-time.Nanosecond), zone)
	}
	if start%quarter < 0 {
		start -= quarter
	}
	return Hour(start / quarter)
}

// fullHour returns when a clock with the offset that zone has at t last showed a full hour.
func fullHour(t time.Time, zone *time.Location) int64 {
	_, offset := t.In(zone).Zone()
	local := t.Unix() + int64(offset)
	return t.Unix() - (local%3600+3600)%3600
}

// Start returns the first instant of the hour.
func (h Hour) Start() time.Time { return time.Unix(int64(h)*quarter, 0).UTC() }

// End returns the first instant of the next hour in zone.
func (h Hour) End(zone *time.Location) time.Time {
	t := h.Start().Add(quarter * time.Second)
	for HourOf(t, zone) <= h {
		t = t.Add(quarter * time.Second)
	}
	return t
}

// String returns the start of the hour as 2006-01-02T15 in UTC, with minutes if it is not a
// full hour there: 2006-01-02T15:30.
func (h Hour) String() string {
	if h%4 == 0 {
		return h.Start().Format(hourLayout)
	}
	return h.Start().Format(minuteLayout)
}

const (
	hourLayout   = "2006-01-02T15"
	minuteLayout = hourLayout + ":04"
)

// MarshalText returns the same text as String.
func (h Hour) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText parses the output of MarshalText.
func (h *Hour) UnmarshalText(b []byte) error {
	layout := hourLayout
	if len(b) == len(minuteLayout) {
		layout = minuteLayout
	}
	t, err := time.Parse(layout, string(b))
	if err != nil || t.Unix()%quarter != 0 {
		return fmt.Errorf("cannot read hour: got %q; want the start of an hour such as 2026-10-01T14 or 2026-10-01T14:30", b)
	}
	*h = Hour(t.Unix() / quarter)
	return nil
}

// Flights are the days on which the current flights of a line, its campaign and its
// advertiser began, in the advertiser's time zone; 0 for one without a start.
type Flights [3]Day

// String returns the days separated by commas; a flight without a start is empty.
func (f Flights) String() string {
	var parts [3]string
	for i, d := range f {
		if d != 0 {
			parts[i] = d.String()
		}
	}
	return strings.Join(parts[:], ",")
}

// MarshalText returns the same text as String.
func (f Flights) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText parses the output of MarshalText.
func (f *Flights) UnmarshalText(b []byte) error {
	parts := strings.Split(string(b), ",")
	if len(parts) != len(f) {
		return fmt.Errorf("cannot read flights: got %q; want three days separated by commas", b)
	}
	*f = Flights{}
	for i, text := range parts {
		if text == "" {
			continue
		}
		if err := f[i].UnmarshalText([]byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// Periods are the periods of its caps that a bid belongs to.
type Periods struct {
	Day     Day
	Hour    Hour
	Flights Flights
}

// BudgetID identifies one cap: of a line, of a campaign where Line is empty, or of an
// advertiser where Campaign is empty too; for one day, hour or flight, or for ever. It is
// comparable. Its parts are ids from the configuration.
type BudgetID struct {
	Advertiser, Campaign, Line string
	Window                     Window
	Day                        Day  // of WindowDay; the first one of WindowFlight; else NoDay
	Hour                       Hour // of WindowHour; else 0
	Imps                       bool // amounts are millionths of an impression, not money
}

// BudgetOf returns the id of cap c of a line on a day. The cap's window is a day or a
// total.
func BudgetOf(c CapSet, advertiser, campaign, line string, day Day) BudgetID {
	return BudgetIn(c, LineID{Advertiser: advertiser, Campaign: campaign, Line: line}, &Periods{Day: day})
}

// BudgetIn returns the id of cap c of a line in the periods of a bid.
func BudgetIn(c CapSet, l LineID, at *Periods) BudgetID {
	owner, window := c.kind()
	id := BudgetID{Advertiser: l.Advertiser, Campaign: l.Campaign, Line: l.Line, Window: window, Day: NoDay, Imps: c.OnImps()}
	switch owner {
	case OwnCampaign:
		id.Line = ""
	case OwnAdvertiser:
		id.Campaign, id.Line = "", ""
	}
	switch window {
	case WindowDay:
		id.Day = at.Day
	case WindowFlight:
		id.Day = at.Flights[owner]
	case WindowHour:
		id.Hour = at.Hour
	}
	return id
}

const impsPrefix = "imps_"

// String returns the id as facts and logs show it: shop/autumn/cart/day/2026-10-01,
// shop/autumn//total, shop///imps_hour/2026-10-01T14 or shop/autumn//flight/2026-10-01.
func (b BudgetID) String() string { return b.Owner() + "/" + b.Suffix() }

// Owner returns the part of the id that names the owner of the cap.
func (b BudgetID) Owner() string { return b.Advertiser + "/" + b.Campaign + "/" + b.Line }

// Suffix returns the part of the id that names the window and its period.
func (b BudgetID) Suffix() string {
	s := b.Window.String()
	if b.Imps {
		s = impsPrefix + s
	}
	switch b.Window {
	case WindowDay, WindowFlight:
		s += "/" + b.Day.String()
	case WindowHour:
		s += "/" + b.Hour.String()
	}
	return s
}

// MarshalText returns the same text as String.
func (b BudgetID) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText parses the output of String.
func (b *BudgetID) UnmarshalText(t []byte) error {
	parts := strings.Split(string(t), "/")
	if len(parts) < 4 {
		return badBudget(t)
	}
	id := BudgetID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2], Day: NoDay}
	window := parts[3]
	window, id.Imps = strings.CutPrefix(window, impsPrefix)
	i := slices.Index(windowNames[:], window)
	if id.Window = Window(i); i < 0 || (id.Window == WindowTotal) != (len(parts) == 4) || len(parts) > 5 {
		return badBudget(t)
	}
	switch id.Window {
	case WindowDay, WindowFlight:
		if err := id.Day.UnmarshalText([]byte(parts[4])); err != nil {
			return err
		}
	case WindowHour:
		if id.Hour.UnmarshalText([]byte(parts[4])) != nil {
			return badBudget(t)
		}
	}
	*b = id
	return nil
}

func badBudget(t []byte) error {
	return fmt.Errorf("cannot read budget: got %q; want advertiser/campaign/line/window, followed by /2026-10-01 for a day or flight, or by /2026-10-01T14 for an hour", t)
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
