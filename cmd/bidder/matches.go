package main

import (
	"math"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/bidder"
	"rebound/collect"
	"rebound/server"
)

// matchRow is one exchange in the report of GET /admin/matches.
type matchRow struct {
	Exchange string            `json:"exchange"`
	Syncs    collect.SyncStats `json:"syncs"`   // calls of /v1/sync by outcome
	Matches  collect.SyncStats `json:"matches"` // calls of /v1/match by outcome
	// Requests are the bid requests, Known those whose user ids belong to a visitor, and
	// Unknown those whose user ids belong to none.
	Requests uint64 `json:"requests"`
	Known    uint64 `json:"known"`
	Unknown  uint64 `json:"unknown"`
	// MatchRatePct is the share of Known in both; absent without a request that had a
	// user id.
	MatchRatePct *float64 `json:"match_rate_pct,omitempty"`
}

// matches handles GET /admin/matches: cookie syncs and the match rate of each exchange
// since the start.
func (a *app) matches(ctx *fasthttp.RequestCtx) {
	syncs, matches := a.edge.SyncStats(), a.edge.MatchStats()
	stats := map[string]bidder.Stats{}
	for _, s := range a.bidder.Stats() {
		stats[s.Exchange] = s
	}
	rows := []matchRow{}
	for _, id := range exchangeIDs(a.snapshot.Load().Profiles) {
		s := stats[id]
		row := matchRow{Exchange: id, Syncs: syncs[id], Matches: matches[id], Requests: s.Requests, Known: s.Known, Unknown: s.Unknown}
		if n := s.Known + s.Unknown; n > 0 {
			pct := math.Round(float64(s.Known)/float64(n)*1000) / 10
			row.MatchRatePct = &pct
		}
		rows = append(rows, row)
	}
	sendJSON(ctx, fasthttp.StatusOK, struct {
		Since     time.Time  `json:"since"`
		Exchanges []matchRow `json:"exchanges"`
	}{a.startedAt.UTC(), rows})
}

// syncMetrics registers the metrics of cookie sync.
func (a *app) syncMetrics(m *server.Metrics, f *figures) {
	each := func(read func() map[string]collect.SyncStats) func(server.Emit) {
		return func(emit server.Emit) {
			for exchange, s := range read() {
				for o, n := range s {
					if n > 0 {
						emit(float64(n), exchange, collect.SyncOutcome(o).String())
					}
				}
			}
		}
	}
	m.Counter("rebound_collect_syncs_total", "cookie syncs by outcome", []string{"exchange", "code"}, each(a.edge.SyncStats))
	m.Counter("rebound_collect_matches_total", "exchange user ids received for a visitor, by outcome", []string{"exchange", "code"}, each(a.edge.MatchStats))
	m.Counter("rebound_bidder_identified_total", "bid requests with a user id that privacy permits to look up, by whether it belongs to a visitor: the match rate is the share of known", []string{"exchange", "kind"}, func(emit server.Emit) {
		for i := range f.bidder {
			emit(float64(f.bidder[i].Known), f.bidder[i].Exchange, "known")
			emit(float64(f.bidder[i].Unknown), f.bidder[i].Exchange, "unknown")
		}
	})
}
