package replay

import (
	"time"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/pacing"
	"rebound/rtb"
)

// book collects the figures of a run. It counts by the minute; the report divides
// the minutes into the windows of the curve once the run's span is known.
type book struct {
	requests, known, bids int
	first, last           time.Time
	nobids                map[string]int
	lines                 map[rtb.LineID]*tally
}

func (b *book) line(id rtb.LineID) *tally {
	t := b.lines[id]
	if t == nil {
		t = &tally{id: id, minutes: map[int64]*minute{}}
		b.lines[id] = t
	}
	return t
}

// request counts one response. A line counts as matched when the visitor was in its
// audience, even if a later stage dropped it.
func (b *book) request(at time.Time, rs bidder.Response, known bool, d *events.Decision) {
	if b.requests == 0 {
		b.first = at
	}
	b.last = at
	b.requests++
	if known {
		b.known++
	}
	if rs.Offers == 0 {
		b.nobids[rs.Reason.String()]++
	} else {
		b.bids++
	}
	if d == nil {
		return
	}
	seen := map[rtb.LineID]bool{}
	match := func(advertiser, campaign, line string) {
		id := rtb.LineID{Advertiser: advertiser, Campaign: campaign, Line: line}
		if !seen[id] {
			seen[id] = true
			t := b.line(id)
			t.matched++
			t.at(at).matched++
		}
	}
	for i := range d.Bids {
		bid := &d.Bids[i]
		match(bid.Advertiser, bid.Campaign, bid.Line)
		t := b.line(rtb.LineID{Advertiser: bid.Advertiser, Campaign: bid.Campaign, Line: bid.Line})
		t.bids++
		t.bidSum += bid.Price
	}
	for i := range d.Dropped {
		if drop := &d.Dropped[i]; drop.Reason > rtb.NoBidAudienceExcluded || drop.Reason == rtb.NoBidNone {
			match(drop.Advertiser, drop.Campaign, drop.Line)
		}
	}
}

// auction counts how well the price to beat of a bid is known.
func (b *book) auction(c *rtb.Claims, s *settlement) {
	t := b.line(rtb.LineID{Advertiser: c.Advertiser, Campaign: c.Campaign, Line: c.Line})
	switch {
	case !s.held:
		t.auctions.None++
	case s.certainty == exact || s.certainty == unwinnable:
		t.auctions.Known++
	case s.certainty == unknown:
		t.auctions.Unknown++
	default:
		t.auctions.Bounded++
	}
}

// win counts a won impression.
func (b *book) win(c *rtb.Claims, bid *events.DecisionBid, s *settlement) {
	t := b.line(rtb.LineID{Advertiser: c.Advertiser, Campaign: c.Campaign, Line: c.Line})
	t.wins++
	t.paidSum += s.paid
	t.value += bid.Value.Cost()
	t.clicks += count(s.clicked)
	t.conv += count(s.converted)
}

// estimate adds an auction to its line's intervals.
func (b *book) estimate(x *sale) {
	t := b.line(x.line)
	t.estimates.add(&x.amounts)
	t.estimates.shift(&x.auction, x.perCPM, x.value, 1)
}

// paid counts a line's spend at the time of its notice.
func (b *book) paid(d *due) {
	t := b.line(rtb.LineID{Advertiser: d.claims.Advertiser, Campaign: d.claims.Campaign, Line: d.claims.Line})
	t.at(d.at).spend += d.claims.Charge(d.paid)
}

func (b *book) multipliers(at time.Time, lines []pacing.LineStats) {
	for i := range lines {
		if t := b.lines[lines[i].Line]; t != nil {
			t.at(at).multiplier = lines[i].Multiplier
		}
	}
}

// report returns the report of the run. Spend is the amount that the ledger
// charged, so that it can be compared with the amounts in the notices.
func (b *book) report(s *config.Snapshot, stats []pacing.LineStats, seed uint64) *Report {
	r := &Report{Run: RunInfo{Requests: b.requests, Known: b.known, Bids: b.bids, Config: s.Hash, Seed: seed}, NoBids: b.nobids, Lines: []LineReport{}}
	ledger := map[rtb.LineID]pacing.LineStats{}
	for _, l := range stats {
		ledger[l.Line] = l
	}
	for _, l := range s.Index.Lines() {
		t := b.line(l.ID)
		zone := l.Advertiser.Zone
		days := rtb.Micros(rtb.DayOf(b.last, zone) - rtb.DayOf(b.first, zone) + 1)
		cap := tightest(l.Daily*days, l.Total, l.Campaign.Daily*days, l.Campaign.Total)
		row := t.line(newSpan(b.first, b.last, zone), zone, cap, ledger[l.ID].Spend, ledger[l.ID].Late)
		row.Pacing, row.Currency = l.Pacing.String(), l.Advertiser.Currency.String()
		r.Lines = append(r.Lines, row)
	}
	sortLines(r.Lines)
	return r
}

// tightest returns the smallest cap above zero; 0 when there is none.
func tightest(caps ...rtb.Micros) rtb.Micros {
	var least rtb.Micros
	for _, c := range caps {
		if c > 0 && (least == 0 || c < least) {
			least = c
		}
	}
	return least
}
