package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"rebound/rtb"
)

// Report is the result of a replay. Only Seconds and PerSecond differ between two
// replays of the same input.
type Report struct {
	Run   RunInfo      `json:"run"`
	Lines []LineReport `json:"lines"`
	// Recorded is what the records and notices say about the bids that were made.
	Recorded []Recorded     `json:"recorded,omitempty"`
	NoBids   map[string]int `json:"nobids"`
	// Against is the report of the same traffic under the old configuration, if there is
	// one, and Differences counts the decisions that differ.
	Against     *Report      `json:"against,omitempty"`
	Differences *Differences `json:"differences,omitempty"`
}

// RunInfo describes the run as a whole.
type RunInfo struct {
	Requests int `json:"requests"`
	Known    int `json:"known"` // requests whose visitor was found
	Bids     int `json:"bids"`
	Skipped  int `json:"skipped"` // lines that could not be read, or whose exchange is not configured
	// Bodiless counts records without a request, by their recorded reason: privacy or
	// a pause refused the request before it was read.
	Bodiless map[string]int `json:"bodiless,omitempty"`
	Markets  int            `json:"markets"` // requests whose record has a market
	// Market is what the notices tell about the market; nil without a log of facts.
	Market     *MarketInfo `json:"market,omitempty"`
	Broken     int         `json:"broken,omitempty"`       // lines that could not be read
	OutOfOrder int         `json:"out_of_order,omitempty"` // records more than a minute older than one before
	// Exchanges are those of the records that could be read.
	Exchanges   map[string]*ExchangeRecords `json:"exchanges,omitempty"`
	Interrupted bool                        `json:"interrupted,omitempty"` // a signal ended the run before its last record
	Seconds     float64                     `json:"seconds"`
	PerSecond   float64                     `json:"per_second"`
	Config      string                      `json:"config"`
	Seed        uint64                      `json:"seed"`
}

// ExchangeRecords are the records of one exchange.
type ExchangeRecords struct {
	Records    int  `json:"records"`
	Skipped    int  `json:"skipped,omitempty"` // because the configuration does not have the exchange
	Configured bool `json:"configured"`        // in the configuration of this report
}

// LineReport is the result of one line. Amounts are micros of the advertiser's
// currency; avg_bid and avg_clear are CPM.
type LineReport struct {
	Line           string       `json:"line"`
	Campaign       string       `json:"campaign"`
	Advertiser     string       `json:"advertiser"`
	Pacing         string       `json:"pacing"`
	Matched        int          `json:"matched"` // requests whose visitor was in the line's audience
	Bids           int          `json:"bids"`
	Wins           int          `json:"wins"`
	Spend          rtb.Micros   `json:"spend_micros"` // as charged by the ledger
	Value          rtb.Micros   `json:"value_micros"` // of the impressions won
	Cap            rtb.Micros   `json:"cap_micros"`   // the tightest of the caps over the days of the run; 0: none
	UtilisationPct float64      `json:"utilisation_pct"`
	OverCap        rtb.Micros   `json:"over_cap_micros"`
	LateSpend      rtb.Micros   `json:"late_spend_micros"`
	AvgBid         float64      `json:"avg_bid"`
	AvgClear       float64      `json:"avg_clear"`
	Clicks         int          `json:"clicks"`
	Conversions    int          `json:"conversions"`
	Currency       string       `json:"currency"`
	Interval       Intervals    `json:"interval"` // 95 %
	Auctions       Auctions     `json:"auctions"`
	Curve          []CurvePoint `json:"curve"`
}

// Auctions counts a line's bids by how well the price that they had to beat is known.
type Auctions struct {
	Known   int `json:"known"`
	Bounded int `json:"bounded"` // drawn within what the notices tell
	Unknown int `json:"unknown"` // drawn, because nothing is known
	None    int `json:"none"`    // not even the prices of such impressions are known
}

// Recorded is the result of one line as the log has it.
type Recorded struct {
	Line        string     `json:"line"`
	Campaign    string     `json:"campaign"`
	Advertiser  string     `json:"advertiser"`
	Bids        int        `json:"bids"`
	Wins        int        `json:"wins"`
	Spend       rtb.Micros `json:"spend_micros"`
	Value       rtb.Micros `json:"value_micros"`
	Clicks      int        `json:"clicks"`
	Conversions int        `json:"conversions"`
}

func recordedRows(m map[rtb.LineID]*Recorded) (out []Recorded) {
	for _, r := range m {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Recorded) int {
		return cmp.Or(cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.Line, b.Line))
	})
	return out
}

// CurvePoint is the cumulative share of spend and traffic at the end of a window.
// Spend is a share of the cap, or of the total spend where there is no cap; traffic
// is a share of the line's matched requests.
type CurvePoint struct {
	At           string  `json:"at"`
	SpendShare   float64 `json:"spend_share"`
	TrafficShare float64 `json:"traffic_share"`
	Multiplier   float64 `json:"multiplier"`
}

// Differences compares the decisions of two configurations, from the old one to the new
// one.
type Differences struct {
	Compared   int            `json:"compared"`
	Same       int            `json:"same"`
	BidGained  int            `json:"bid_gained"` // only the new one bids
	BidLost    int            `json:"bid_lost"`   // only the old one bids
	OtherLine  int            `json:"other_line"`
	PriceUp    int            `json:"price_up"` // the new price is higher
	PriceDown  int            `json:"price_down"`
	ReasonMove map[string]int `json:"reason_moved,omitempty"` // "old -> new"
	// Lines are the differences of the lines' figures, new less old, and Total their sum
	// in each currency.
	Lines []LineDifference `json:"lines,omitempty"`
	Total []LineDifference `json:"total,omitempty"`
}

// windows is the number of points of a curve.
const windows = 96

// tally collects the figures of one line during the replay.
type tally struct {
	id              rtb.LineID
	matched, bids   int
	wins            int
	bidSum, paidSum rtb.CPM
	value           rtb.Micros
	clicks, conv    int
	auctions        Auctions
	estimates       estimates
	minutes         map[int64]*minute // since 1970
}

// minute holds the figures of a line for one minute.
type minute struct {
	spend      rtb.Micros
	matched    int
	multiplier float64 // at its end; 0: unknown
}

func (t *tally) at(when time.Time) *minute {
	m := t.minutes[when.Unix()/60]
	if m == nil {
		m = &minute{}
		t.minutes[when.Unix()/60] = m
	}
	return m
}

// span is the time that a curve covers: a day in the advertiser's zone if the
// records fit in one, else the time from the first record to the last.
type span struct {
	start  time.Time
	window time.Duration
}

func newSpan(first, last time.Time, zone *time.Location) span {
	day := rtb.DayOf(first, zone)
	start, end := day.Start(zone), (day + 1).Start(zone)
	if last.Before(end) {
		return span{start: start, window: end.Sub(start) / windows}
	}
	return span{start: first, window: last.Sub(first)/windows + 1}
}

func (s span) index(t time.Time) int {
	return min(max(int(t.Sub(s.start)/s.window), 0), windows-1)
}

// label returns the end of window i as a time of day; the end of the day is 24:00.
func (s span) label(i int, zone *time.Location) string {
	if i == windows-1 {
		return "24:00"
	}
	return s.start.Add(time.Duration(i+1) * s.window).In(zone).Format("15:04")
}

// line returns the report of a tally.
func (t *tally) line(s span, zone *time.Location, cap, spend, late rtb.Micros) LineReport {
	r := LineReport{Line: t.id.Line, Campaign: t.id.Campaign, Advertiser: t.id.Advertiser, Matched: t.matched, Bids: t.bids, Wins: t.wins,
		Spend: spend, Value: t.value, Cap: cap, LateSpend: late, Clicks: t.clicks, Conversions: t.conv}
	if cap > 0 {
		r.UtilisationPct = 100 * float64(spend) / float64(cap)
		r.OverCap = max(0, spend-cap)
	}
	if t.bids > 0 {
		r.AvgBid = t.bidSum.Units() / float64(t.bids)
	}
	if t.wins > 0 {
		r.AvgClear = t.paidSum.Units() / float64(t.wins)
	}
	total := cap
	if total == 0 {
		total = spend
	}
	r.Auctions = t.auctions
	at := [figures]int64{int64(t.wins), int64(spend), int64(t.value), int64(t.clicks), int64(t.conv)}
	r.Interval = t.estimates.intervals(&at, 0)
	r.Curve = t.curve(s, zone, total)
	return r
}

// curve sums the minutes up by window.
func (t *tally) curve(s span, zone *time.Location, total rtb.Micros) []CurvePoint {
	var at [windows]minute
	for _, min := range slices.Sorted(maps.Keys(t.minutes)) {
		m, w := t.minutes[min], &at[s.index(time.Unix(min*60, 0))]
		w.spend += m.spend
		w.matched += m.matched
		if m.multiplier > 0 {
			w.multiplier = m.multiplier
		}
	}
	points := make([]CurvePoint, windows)
	sum := minute{multiplier: 1}
	for i, w := range at {
		sum.spend += w.spend
		sum.matched += w.matched
		if w.multiplier > 0 {
			sum.multiplier = w.multiplier
		}
		points[i] = CurvePoint{At: s.label(i, zone), SpendShare: share(float64(sum.spend), float64(total)),
			TrafficShare: share(float64(sum.matched), float64(t.matched)), Multiplier: round6(sum.multiplier)}
	}
	return points
}

func share(part, total float64) float64 {
	if total <= 0 {
		return 0
	}
	return round6(part / total)
}

func round6(x float64) float64 { return float64(int64(x*1e6+0.5)) / 1e6 }

func sortLines(lines []LineReport) {
	slices.SortFunc(lines, func(a, b LineReport) int {
		return cmp.Or(cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.Line, b.Line))
	})
}

// WriteJSON writes the report as indented JSON with keys in a fixed order.
func (r *Report) WriteJSON(w io.Writer) error {
	return writeJSON(w, r)
}

func writeJSON(w io.Writer, report any) error {
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode report: %w", err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}
