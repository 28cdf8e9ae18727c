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
