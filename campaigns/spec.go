package campaigns

import (
	"fmt"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// AdvertiserSpec is an advertiser as the configuration writes it.
type AdvertiserSpec struct {
	ID        string       `yaml:"id"`        // [a-z0-9][a-z0-9_-]{0,63}; required
	Name      string       `yaml:"name"`      // a label; default the id
	Domains   []string     `yaml:"domains"`   // hosts of landing pages, with their subdomains; the first is the bid's adomain; required
	Currency  rtb.Currency `yaml:"currency"`  // ISO 4217; of prices and budgets; default USD
	Timezone  string       `yaml:"timezone"`  // IANA name; decides when a budget's day begins; default UTC
	IABCat    []string     `yaml:"iab_cat"`   // IAB content categories 1.0, sent as bid.cat
	Keys      []KeySpec    `yaml:"keys"`      // authenticate its servers; several may be active
	Feed      string       `yaml:"feed"`      // id under feeds; none: no products
	Start     time.Time    `yaml:"start"`     // RFC 3339; none of its campaigns bids before; default no start
	End       time.Time    `yaml:"end"`       // RFC 3339, exclusive; none of its campaigns bids from then on; default no end
	Budget    BudgetSpec   `yaml:"budget"`    // caps over all of its campaigns; default none
	Frequency Frequency    `yaml:"frequency"` // caps over all of its campaigns; default none
	Safety    SafetySpec   `yaml:"safety"`    // where none of its lines is shown
	DSA       DSASpec      `yaml:"dsa"`       // disclosure under the EU's Digital Services Act
}

// KeySpec is one key of an advertiser. The configuration has its hash only.
type KeySpec struct {
	SHA256 string   `yaml:"sha256"`                                                                      // SHA-256 of the key, 64 hex digits; required
	Scopes []string `yaml:"scopes" enum:"events,lists,feeds,audiences,privacy,events_consented,reports"` // events, events_consented (events without privacy signals, whose sender checks consent itself), lists, feeds, audiences, privacy, reports; default [events]
}

// CampaignSpec is a campaign as the configuration writes it.
type CampaignSpec struct {
	ID         string     `yaml:"id"`                                         // [a-z0-9][a-z0-9_-]{0,63}, unique for its advertiser; required
	Advertiser string     `yaml:"advertiser"`                                 // id under advertisers; required
	Status     string     `yaml:"status" enum:"active,paused,draft,archived"` // active, paused, draft or archived; default draft
	Start      time.Time  `yaml:"start"`                                      // RFC 3339; default no start
	End        time.Time  `yaml:"end"`                                        // RFC 3339, exclusive; default no end
	Budget     BudgetSpec `yaml:"budget"`                                     // a cap per day, per flight or in total is required
	Frequency  Frequency  `yaml:"frequency"`                                  // caps over all of its lines; default none
	Safety     SafetySpec `yaml:"safety"`                                     // added to the advertiser's
	DSA        DSASpec    `yaml:"dsa"`                                        // default the advertiser's
	Lines      []LineSpec `yaml:"lines"`                                      // at least one
}

// BudgetSpec is how much may be spent, and how many impressions may be bought. Amounts
// are in the advertiser's currency; a field that is left out sets no cap.
type BudgetSpec struct {
	Hourly     *rtb.Micros `yaml:"hourly"`      // most per hour, which begins when the clock in the advertiser's time zone shows a full hour
	Daily      *rtb.Micros `yaml:"daily"`       // most per civil day of the advertiser's time zone
	Flight     *rtb.Micros `yaml:"flight"`      // most from start to end; needs start, and another day of start begins a new flight
	Total      *rtb.Micros `yaml:"total"`       // most in total, whatever the dates
	ImpsHourly *int64      `yaml:"imps_hourly"` // impressions per hour; a bid counts as one, whatever its quantity
	ImpsDaily  *int64      `yaml:"imps_daily"`  // impressions per civil day
	ImpsFlight *int64      `yaml:"imps_flight"` // impressions from start to end
	ImpsTotal  *int64      `yaml:"imps_total"`  // impressions in total

	Pacing string `yaml:"pacing" enum:"even,asap,ahead"` // even: spread over the day; ahead: the same, with up to a quarter more at its beginning; asap: as fast as possible; default even, for a campaign that of its advertiser, for a line that of its campaign
	// percentage of each cap that is held back for late bills; 0 to 90, default
	// 0, for a campaign that of its advertiser, for a line that of its campaign
	HoldbackPct *int `yaml:"holdback_pct"`
}

// LineSpec is a line as the configuration writes it.
type LineSpec struct {
	ID                string       `yaml:"id"`                                         // [a-z0-9][a-z0-9_-]{0,63}, unique in its campaign; required
	Status            string       `yaml:"status" enum:"active,paused,draft,archived"` // as for the campaign, whose status is the default; the more restrictive of the two counts
	Priority          *int         `yaml:"priority"`                                   // 0 to 100, highest first; default 50
	Start             time.Time    `yaml:"start"`                                      // default the campaign's
	End               time.Time    `yaml:"end"`                                        // default the campaign's
	Budget            BudgetSpec   `yaml:"budget"`                                     // the line's own caps, in addition to the campaign's
	Audience          AudienceSpec `yaml:"audience"`                                   // include or any_of is required, except for contextual lines
	Contextual        bool         `yaml:"contextual"`                                 // bids without an audience, also if the visitor is unknown or may not be identified
	ChildSafe         bool         `yaml:"child_safe"`                                 // the line, which must be contextual, may be shown to children
	ExcludeConverters OffDuration  `yaml:"exclude_converters"`                         // excludes visitors who bought within this time; off: excludes no one; default 30d, off for lines whose audience is buyers
	Bid               BidSpec      `yaml:"bid"`                                        // required
	Frequency         Frequency    `yaml:"frequency"`                                  // default 10 per 24h; or none
	MinGap            OffDuration  `yaml:"min_gap"`                                    // minimum time between two impressions; or off; default 1m; with it, at most three unanswered bids per visitor within 30s
	// MaxPerRequest is how many slots of one request the line bids on; default as many
	// as the frequency cap leaves.
	MaxPerRequest int           `yaml:"max_per_request"`
	Exchanges     []string      `yaml:"exchanges"`                           // ids under exchanges; default all
	Creatives     []CreativeRef `yaml:"creatives"`                           // ids under creatives, or tables; required
	Rotation      string        `yaml:"rotation" enum:"first,even,weighted"` // how one of several creatives that fit is chosen: first, even or weighted; default first
	App           AppSpec       `yaml:"app"`                                 // the app that the line advertises
	TargetSpec    `yaml:",inline"`
}

// AudienceSpec is the visitors that a line is for. Windows apply to the
// included audiences.
type AudienceSpec struct {
	Include   []string      `yaml:"include"`    // the visitor is in all of these
	AnyOf     []string      `yaml:"any_of"`     // and in at least one of these
	Exclude   []string      `yaml:"exclude"`    // and in none of these
	Within    time.Duration `yaml:"within"`     // greatest age of the last qualifying event; default the window of the audience
	NotWithin time.Duration `yaml:"not_within"` // minimum age of the last qualifying event; default 0
}

// BidSpec is the price of an impression: its value x recency x intensity, at most
// max_cpm. Without max_cpm the value is the highest price.
type BidSpec struct {
	Strategy  string          `yaml:"strategy" enum:"fixed,cpc,cpa,roas"` // what an impression is worth: cpm (fixed), or what is estimated of its clicks (cpc), its conversions (cpa) or their revenue (roas); default fixed
	Target    rtb.Micros      `yaml:"target"`                             // the worth of a click (cpc) or of a conversion (cpa), in the advertiser's currency, or the least revenue per unit of spend (roas); required unless fixed
	CPM       rtb.CPM         `yaml:"cpm"`                                // base price, in the advertiser's currency; of the other strategies, the value of an impression until the log knows better, optional except for roas
	MaxCPM    rtb.CPM         `yaml:"max_cpm"`                            // the highest price, whatever the value; at least cpm; default none
	Recency   []RecencyStep   `yaml:"recency"`                            // the first step whose window includes the last event counts; default factor 1
	Intensity []IntensityStep `yaml:"intensity"`                          // the step with the highest min_count that is reached counts; default factor 1
	Adjust    AdjustSpec      `yaml:"adjust"`                             // factors that depend on the request
}

// RecencyStep multiplies the price for visitors with a recent last event.
type RecencyStep struct {
	Within time.Duration `yaml:"within"` // required
	X      float64       `yaml:"x"`      // factor, 0 to 100; 0: no bid; required
}

// IntensityStep multiplies the price for visitors with many events.
type IntensityStep struct {
	MinCount int     `yaml:"min_count"` // 1 or more; required
	X        float64 `yaml:"x"`         // factor, 0 to 100; required
}

// FrequencySpec allows at most max impressions per visitor in any period of
// length per.
type FrequencySpec struct {
	Max int           `yaml:"max"` // 1 or more; required
	Per time.Duration `yaml:"per"` // 1m to 90d; required
}

// Frequency is a list of caps that all apply, or the word none. Nil is the
// default.
type Frequency []FrequencySpec

// UnmarshalText accepts the words none and off.
func (f *Frequency) UnmarshalText(b []byte) error {
	if string(b) != "none" && string(b) != "off" {
		return fmt.Errorf("cannot parse frequency: got %q; want none or a list such as [{max: 10, per: 24h}]", b)
	}
	*f = Frequency{}
	return nil
}

// OffDuration is a duration or the word off. The zero value is the default.
type OffDuration struct {
	Set bool          // the configuration sets it
	D   time.Duration // 0 when off
}

// UnmarshalText parses a duration or the word off.
func (o *OffDuration) UnmarshalText(b []byte) error {
	if string(b) == "off" || string(b) == "none" {
		*o = OffDuration{Set: true}
		return nil
	}
	d, err := spec.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("cannot parse duration: got %s; want a duration such as 90s, 30m, 12h, 7d or 4w, or off", spec.Quote(string(b)))
	}
	*o = OffDuration{Set: true, D: d}
	return nil
}

// String returns the duration as the configuration writes it; empty for the
// default.
func (o OffDuration) String() string {
	switch {
	case !o.Set:
		return ""
	case o.D == 0:
		return "off"
	}
	return spec.FormatDuration(o.D)
}
