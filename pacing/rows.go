package pacing

import (
	"time"

	"rebound/rtb"
)

// BudgetsReport is the body of GET /admin/budgets.
type BudgetsReport struct {
	At      time.Time   `json:"at"`
	Budgets []BudgetRow `json:"budgets"`
}

// BudgetRow is one cap as GET /admin/budgets shows it; a campaign's own caps
// have an empty line. Amounts are micros of Currency.
type BudgetRow struct {
	Advertiser string       `json:"advertiser"`
	Campaign   string       `json:"campaign"`
	Line       string       `json:"line"`
	Window     string       `json:"window"` // day or total
	Day        rtb.Day      `json:"day"`    // empty for a total
	Currency   rtb.Currency `json:"currency"`
	Cap        rtb.Micros   `json:"cap_micros"`
	Spent      rtb.Micros   `json:"spent_micros"`    // all that was charged, late spend included
	Reserved   rtb.Micros   `json:"reserved_micros"` // by this run's bids in flight
	Granted    rtb.Micros   `json:"granted_micros"`  // what grants of all runs may still settle
	Late       rtb.Micros   `json:"late_spend_micros"`
	Multiplier float64      `json:"multiplier"` // 1 where the cap does not lower prices
	Paused     bool         `json:"paused"`
}

// LineStats are one line's figures for metrics.
type LineStats struct {
	Line       rtb.LineID
	Currency   rtb.Currency
	Spend      rtb.Micros // charged since the view began, late spend included
	Late       rtb.Micros
	Reserved   rtb.Micros // by this run's bids in flight
	Multiplier float64
}

// Stats are a Pacer's figures for metrics. Counts are since Open.
type Stats struct {
	Lines        []LineStats
	Reservations int    // in memory now
	Refused      uint64 // because MaxReservations was reached
	Unlearned    uint64 // outcomes that were not learned from, because the queue was full
	Grants       uint64 // appended
	Conflicts    uint64 // grants refused because another run was faster
	AppendErrors uint64 // grants, ticks and pauses that could not be stored
	LateBills    uint64
	Duplicates   uint64 // bills that had been charged already
	Expired      uint64 // reservations that ended without a notice
}
