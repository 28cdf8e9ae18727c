package main

import (
	"strings"
	"time"

	"rebound/bidder"
	"rebound/collect"
	"rebound/events"
	"rebound/journal"
	"rebound/pacing"
	"rebound/rtb"
	"rebound/segments"
	"rebound/server"
	"rebound/tracking"
)

// registerMetrics registers every metric of /metrics. Packages count; this file names
// the counts. docs/reference.md is generated from it.
func (a *app) registerMetrics() *server.Metrics {
	m, f := server.NewMetrics(), &figures{}
	m.Before(func() { a.read(f) })
	a.bidderMetrics(m, f)
	a.serverMetrics(m, f)
	a.segmentsMetrics(m, f)
	a.edgeMetrics(m, f)
	a.syncMetrics(m, f)
	a.trackingMetrics(m, f)
	a.pacingMetrics(m, f)
	a.logMetrics(m, f)
	return m
}

// figures holds the values of one page of /metrics. Every package is read once,
// before any of the page is written.
type figures struct {
	bidder    []bidder.Stats
	listeners []server.Stats
	visitors  segments.Stats
	edge      collect.Stats
	notices   []tracking.Count
	losses    map[string]uint64
	lossTable []tracking.LossCount
	alarms    map[string]bool
	feedback  tracking.FeedbackStats
	money     pacing.Stats
	pauses    []pacing.PauseInForce
	journal   journal.Stats
	bids      events.BidLogStats
}

func (a *app) read(f *figures) {
	*f = figures{
		bidder: a.bidder.Stats(), visitors: a.visitors.Stats(), edge: a.edge.Stats(), notices: a.notices.Stats(),
		losses: a.notices.Losses(), lossTable: a.notices.LossTable(), alarms: a.notices.Alarms(), feedback: a.notices.FeedbackStats(),
		money: a.money.Stats(), pauses: a.money.Pauses(), journal: a.journal.Stats(), bids: a.bids.Stats(),
	}
	for _, l := range []*server.Listener{a.bidding.Load(), a.edgeListener, a.adminListener} {
		if l != nil {
			f.listeners = append(f.listeners, l.Stats())
		}
	}
}

func (a *app) bidderMetrics(m *server.Metrics, f *figures) {
	each := func(read func(s *bidder.Stats, emit server.Emit)) func(server.Emit) {
		return func(emit server.Emit) {
			for _, s := range f.bidder {
				read(&s, emit)
			}
		}
	}
	m.Counter("rebound_bidder_requests_total", "bid requests", []string{"exchange"},
		each(func(s *bidder.Stats, emit server.Emit) { emit(float64(s.Requests), s.Exchange) }))
	m.Counter("rebound_bidder_bids_total", "bid requests answered with at least one bid", []string{"exchange"},
		each(func(s *bidder.Stats, emit server.Emit) { emit(float64(s.Bids), s.Exchange) }))
	m.Counter("rebound_bidder_nobids_total", "bid requests without a bid, by the furthest reason that any line reached", []string{"exchange", "reason"},
		each(func(s *bidder.Stats, emit server.Emit) {
			for r := rtb.NoBidReason(1); r < rtb.NoBidReasons; r++ {
				if s.NoBids[r] > 0 {
					emit(float64(s.NoBids[r]), s.Exchange, r.String())
				}
			}
		}))
	m.Histogram("rebound_bidder_decision_seconds", "time from a bid request's arrival to its answer", func() server.Buckets {
		b := server.Buckets{Counts: make([]uint64, len(bidder.LatencyBuckets)+1)}
		for _, d := range bidder.LatencyBuckets {
			b.Bounds = append(b.Bounds, d.Seconds())
		}
		for _, s := range f.bidder {
			b.Sum += s.Seconds
			for i, n := range s.Latency {
				b.Counts[i] += n
			}
		}
		return b
	})
}

func (a *app) serverMetrics(m *server.Metrics, f *figures) {
	one := func(v func() float64) func(server.Emit) { return func(emit server.Emit) { emit(v()) } }
	m.Gauge("rebound_server_in_flight", "requests being answered now, all listeners", nil, one(func() float64 {
		n := int64(0)
		for _, s := range f.listeners {
			n += s.InFlight
		}
		return float64(n)
	}))
	m.Counter("rebound_server_shed_total", "requests refused before any handler saw them", []string{"reason"}, func(emit server.Emit) {
		shed, waited, refused := uint64(0), uint64(0), map[string]uint64{}
		for _, s := range f.listeners {
			shed += s.Shed
			waited += s.Waited
			for why, n := range s.Refused {
				refused[why] += n
			}
		}
		emit(float64(shed), "in_flight")
		emit(float64(waited), "waited")
		for why, n := range refused {
			emit(float64(n), why)
		}
	})
	m.Counter("rebound_server_panics_total", "requests whose handler panicked", nil, one(func() float64 {
		n := uint64(0)
		for _, s := range f.listeners {
			n += s.Panics
		}
		return float64(n)
	}))
	m.Counter("rebound_server_accept_errors_total", "failed attempts to accept a connection, which are repeated", nil, one(func() float64 {
		n := uint64(0)
		for _, s := range f.listeners {
			n += s.Accept
		}
		return float64(n)
	}))
	m.Counter("rebound_server_idle_closed_total", "idle connections closed because file descriptors ran short", nil, one(func() float64 { return float64(a.conns.ClosedIdle()) }))
	m.Counter("rebound_server_log_lines_dropped_total", "log lines dropped because their reader was too slow or gone", nil, one(func() float64 { return float64(a.stderr.dropped.Load()) }))
	m.Gauge("rebound_server_ready", "1 while bid requests are answered", nil, one(func() float64 {
		ready, _ := a.health.IsReady()
		return flag01(ready)
	}))
	m.Counter("rebound_config_reloads_total", "reloads of the configuration", []string{"code"}, func(emit server.Emit) {
		emit(float64(a.reloads[0].Load()), "done")
		emit(float64(a.reloads[1].Load()), "refused")
	})
}

func (a *app) segmentsMetrics(m *server.Metrics, f *figures) {
	m.Counter("rebound_segments_cache_hits_total", "profiles found in the cache", nil, func(emit server.Emit) { emit(float64(f.visitors.Hits)) })
	m.Counter("rebound_segments_cache_misses_total", "profiles read from disk", nil, func(emit server.Emit) { emit(float64(f.visitors.Misses)) })
	m.Counter("rebound_segments_cache_rejected_total", "cache fills refused because the visitor had changed meanwhile", nil, func(emit server.Emit) { emit(float64(f.visitors.Rejected)) })
	m.Gauge("rebound_segments_visitors", "profiles held", nil, func(emit server.Emit) { emit(float64(f.visitors.Visitors)) })
	m.Gauge("rebound_segments_opt_outs", "identifiers that opted out", nil, func(emit server.Emit) { emit(float64(f.visitors.OptOuts)) })
	m.Counter("rebound_segments_errors_total", "profiles that could not be read", nil, func(emit server.Emit) { emit(float64(f.visitors.Errors)) })
	m.Counter("rebound_segments_duplicates_total", "facts that had been folded before", nil, func(emit server.Emit) { emit(float64(f.visitors.Duplicates)) })
	m.Counter("rebound_segments_dropped_total", "segments, products and frequencies dropped because they exceeded a profile's bounds", nil, func(emit server.Emit) { emit(float64(f.visitors.Dropped)) })
	m.Counter("rebound_segments_shared_ids_total", "identifiers unlinked because more than 16 visitors claimed them", nil, func(emit server.Emit) { emit(float64(f.visitors.Shared)) })
	m.Counter("rebound_segments_overlinked_total", "links not made because they exceeded an identity's bounds", nil, func(emit server.Emit) { emit(float64(f.visitors.Overlinked)) })
	m.Counter("rebound_segments_stray_rows_total", "rows of list uploads whose list or job no longer exists", nil, func(emit server.Emit) { emit(float64(f.visitors.StrayRows)) })
	m.Counter("rebound_segments_bad_rules_total", "rules of audiences that this version cannot read, so that their segments are not recorded", nil, func(emit server.Emit) { emit(float64(f.visitors.BadRules)) })
}

func (a *app) edgeMetrics(m *server.Metrics, f *figures) {
	m.Counter("rebound_collect_events_total", "accepted events by name: Rebound's own names and those in rules; all others count as custom", []string{"kind"}, func(emit server.Emit) {
		for name, n := range f.edge.Events {
			emit(float64(n), name)
		}
	})
	m.Counter("rebound_collect_rejected_total", "events, or parts of events, that were rejected", []string{"reason"}, func(emit server.Emit) {
		for why, n := range f.edge.Rejected {
			emit(float64(n), why)
		}
	})
	m.Counter("rebound_collect_links_total", "outside identifiers linked to visitors", nil, func(emit server.Emit) { emit(float64(f.edge.Links)) })
	m.Counter("rebound_collect_unlinked_total", "identifiers not linked again, because the browser sent no cookie and they already have a visitor", nil, func(emit server.Emit) { emit(float64(f.edge.Unlinked)) })
	m.Counter("rebound_collect_cookies_total", "visitor ids created; browsers that keep no cookies get a new one at each hit", nil, func(emit server.Emit) { emit(float64(f.edge.Cookies)) })
	m.Counter("rebound_collect_duplicates_total", "repeated events", nil, func(emit server.Emit) { emit(float64(f.edge.Duplicates)) })
	m.Histogram("rebound_collect_to_biddable_seconds", "time from the append of an event until bids can see it", a.biddable.Buckets)
}

func (a *app) trackingMetrics(m *server.Metrics, f *figures) {
	m.Counter("rebound_tracking_notices_total", "notices by outcome", []string{"kind", "code"}, func(emit server.Emit) {
		for _, c := range f.notices {
			emit(float64(c.N), c.Kind.String(), c.Code.String())
		}
	})
	m.Counter("rebound_tracking_losses_total", "recorded loss notices", []string{"reason"}, func(emit server.Emit) {
		for why, n := range f.losses {
			emit(float64(n), why)
		}
	})
	m.Counter("rebound_tracking_line_losses_total", "recorded loss notices of each line; by creative in /admin/losses", []string{"line", "reason"}, func(emit server.Emit) {
		sums := map[[2]string]uint64{}
		for _, l := range f.lossTable {
			sums[[2]string{rtb.LineID{Advertiser: l.Advertiser, Campaign: l.Campaign, Line: l.Line}.String(), l.Reason}] += l.N
		}
		for k, n := range sums {
			emit(float64(n), k[0], k[1])
		}
	})
	for _, kind := range []rtb.NoticeKind{rtb.NoticeWin, rtb.NoticeBill} {
		m.Histogram("rebound_tracking_"+kind.String()+"_delay_seconds", "time from a bid to its "+kind.String()+" notice", func() server.Buckets {
			counts, sum := a.notices.Delays(kind)
			return server.Buckets{Bounds: tracking.DelayBuckets[:], Counts: counts, Sum: sum}
		})
	}
	m.Gauge("rebound_tracking_loss_alarm", "1 while losses of a kind exceed a thousandth of the bids of the last five minutes: answer (3-10), filter (203-211), floor (100, 101)", []string{"kind"}, func(emit server.Emit) {
		for kind, on := range f.alarms {
			emit(flag01(on), kind)
		}
	})
	m.Counter("rebound_tracking_feedback_total", "feedback in requests about earlier bids, by outcome", []string{"code"}, func(emit server.Emit) {
		x := &f.feedback
		for code, n := range map[string]uint64{"taken": x.Taken, "dropped": x.Dropped, "recorded": x.Rows, "refused": x.Refused, "repeated": x.Repeated} {
			emit(float64(n), code)
		}
	})
}

func (a *app) pacingMetrics(m *server.Metrics, f *figures) {
	lines := []string{"line"}
	m.Counter("rebound_pacing_spend_micros_total", "charged, late spend included, in millionths of the advertiser's currency", lines, func(emit server.Emit) {
		for _, l := range f.money.Lines {
			emit(float64(l.Spend), l.Line.String())
		}
	})
	m.Counter("rebound_pacing_late_spend_micros_total", "charged after the bid's reservation had ended", lines, func(emit server.Emit) {
		for _, l := range f.money.Lines {
			emit(float64(l.Late), l.Line.String())
		}
	})
	m.Gauge("rebound_pacing_idle_micros", "money of the line's own caps that is granted or reserved and not expected to be spent", lines, func(emit server.Emit) {
		for _, l := range f.money.Lines {
			emit(float64(l.Idle), l.Line.String())
		}
	})
	m.Gauge("rebound_pacing_reserved_micros", "reserved by bids in flight", lines, func(emit server.Emit) {
		for _, l := range f.money.Lines {
			emit(float64(l.Reserved), l.Line.String())
		}
	})
	m.Gauge("rebound_pacing_multiplier", "divisor of the line's values that makes the budget last; 1 means full price", lines, func(emit server.Emit) {
		for _, l := range f.money.Lines {
			emit(l.Multiplier, l.Line.String())
		}
	})
	a.pacingCounts(m, f)
}

// pacingCounts registers the figures of pacing that concern no single line.
func (a *app) pacingCounts(m *server.Metrics, f *figures) {
	m.Counter("rebound_pacing_grants_total", "grants appended", nil, func(emit server.Emit) { emit(float64(f.money.Grants)) })
	m.Counter("rebound_pacing_conflicts_total", "grants refused because another run cut a grant first", nil, func(emit server.Emit) { emit(float64(f.money.Conflicts)) })
	m.Counter("rebound_pacing_append_errors_total", "grants, ticks and pauses that could not be stored", nil, func(emit server.Emit) { emit(float64(f.money.AppendErrors)) })
	m.Counter("rebound_pacing_late_bills_total", "bills that arrived after their reservation had ended", nil, func(emit server.Emit) { emit(float64(f.money.LateBills)) })
	m.Counter("rebound_pacing_duplicates_total", "repeated bills, which are not charged again", nil, func(emit server.Emit) { emit(float64(f.money.Duplicates)) })
	m.Counter("rebound_pacing_expired_total", "reservations that ended without a notice", nil, func(emit server.Emit) { emit(float64(f.money.Expired)) })
	m.Counter("rebound_pacing_refused_total", "bids refused because too many were in flight", nil, func(emit server.Emit) { emit(float64(f.money.Refused)) })
	m.Counter("rebound_pacing_same_impressions_total", "offers of an impression that another supply path also offers: repeated (it has a bid elsewhere), declined (left for a cheaper path), forgotten (the table of offers was full)", []string{"kind"}, func(emit server.Emit) {
		emit(float64(f.money.Paths.Repeated), "repeated")
		emit(float64(f.money.Paths.Declined), "declined")
		emit(float64(f.money.Paths.Forgotten), "forgotten")
	})
	m.Gauge("rebound_pacing_reservations", "bids in flight", nil, func(emit server.Emit) { emit(float64(f.money.Reservations)) })
	m.Gauge("rebound_pacing_clock_behind_seconds", "how far the clock is behind the log's time; bidding stops above 2 s", nil,
		func(emit server.Emit) { emit(f.money.ClockBehind.Seconds()) })
	a.pacingExchanges(m, f)
	m.Gauge("rebound_pacing_paused", "pauses in force, by scope: all, exchange, campaign", []string{"kind"}, func(emit server.Emit) {
		n := map[string]int{"all": 0, "exchange": 0, "campaign": 0}
		for i := range f.pauses {
			kind, _, _ := strings.Cut(f.pauses[i].Scope, ":")
			n[kind]++
		}
		for kind, v := range n {
			emit(float64(v), kind)
		}
	})
	m.Gauge("rebound_pacing_estimated_outcomes", "outcomes that were predicted for the last days, before any correction: click (clicks of impressions), view (conversions of impressions), buy (conversions of clicks)", []string{"kind"}, func(emit server.Emit) {
		for _, e := range f.money.Estimates {
			emit(e.Predicted, e.Model)
		}
	})
	m.Gauge("rebound_pacing_observed_outcomes", "outcomes that happened of those predicted", []string{"kind"}, func(emit server.Emit) {
		for _, e := range f.money.Estimates {
			emit(e.Observed, e.Model)
		}
	})
	m.Gauge("rebound_pacing_blind", "1 while bidding is stopped because the bidder is blind", nil, func(emit server.Emit) {
		b := a.blind.Load()
		emit(flag01(b != nil && *b != ""))
	})
}

// pacingExchanges registers what pacing knows of the notices of each exchange.
func (a *app) pacingExchanges(m *server.Metrics, f *figures) {
	m.Gauge("rebound_pacing_unbilled_wins", "recent wins that were never billed", []string{"exchange"}, func(emit server.Emit) {
		for _, b := range f.money.Billing {
			emit(b.Unbilled, b.Exchange)
		}
	})
	m.Gauge("rebound_pacing_doubted_micros", "cost of bids that were reported lost but may still be billed", []string{"exchange"}, func(emit server.Emit) {
		for _, d := range f.money.Doubted {
			emit(float64(d.Amount), d.Exchange)
		}
	})
	source := []string{"exchange", "format"}
	m.Gauge("rebound_pacing_overdue_micros", "cost of bids that may still be billed although their notices usually come sooner", source, func(emit server.Emit) {
		for _, o := range f.money.Overdue {
			emit(float64(o.Amount), o.Exchange, o.Format)
		}
	})
	m.Gauge("rebound_pacing_overdue_share", "share of those bids whose cost stays reserved, apart from what an outage of the notices may cost; 1 until 500 outcomes are known", source, func(emit server.Emit) {
		for _, o := range f.money.Overdue {
			emit(o.Share, o.Exchange, o.Format)
		}
	})
	m.Gauge("rebound_pacing_usual_delay_seconds", "time within which 9 of 10 notices of wins come, as applied to reservations; 0 until 50 are known", source, func(emit server.Emit) {
		for _, o := range f.money.Overdue {
			emit(o.Life.Seconds(), o.Exchange, o.Format)
		}
	})
	m.Gauge("rebound_pacing_quiet", "1 while fewer notices of wins come in their usual time than the bids foretold, or more overdue bids are billed than usual, so that bids are held in full", source, func(emit server.Emit) {
		for _, o := range f.money.Overdue {
			emit(flag01(o.Quiet), o.Exchange, o.Format)
		}
	})
	m.Counter("rebound_pacing_billed_losses_total", "bids that were billed after their loss notice", nil, func(emit server.Emit) { emit(float64(f.money.BilledLosses)) })
	m.Gauge("rebound_pacing_unbilled", "1 while an exchange gets no bids because its wins are not billed, its bills arrive too late or not at all, or it bills losses; kinds in rebound_pacing_exchange_stopped", []string{"exchange"}, func(emit server.Emit) {
		for _, b := range f.money.Billing {
			emit(flag01(b.Blind), b.Exchange)
		}
	})
	m.Gauge("rebound_pacing_exchange_stopped", "1 while an exchange gets no bids, by cause: late (late bills exceed their share of a budget), silent (its bids are billed far less often than usual), losses (it bills far more of the bids that it reported lost than usual); else its wins are not billed", []string{"exchange", "kind"}, func(emit server.Emit) {
		for _, b := range f.money.Billing {
			emit(flag01(b.Late), b.Exchange, "late")
			emit(flag01(b.Silent), b.Exchange, "silent")
			emit(flag01(b.Losses), b.Exchange, "losses")
		}
	})
}

func (a *app) logMetrics(m *server.Metrics, f *figures) {
	m.Histogram("rebound_journal_append_seconds", "time to store facts", func() server.Buckets {
		h := f.journal.Append
		return server.Buckets{Bounds: h.Bounds, Counts: h.Counts, Sum: h.Sum}
	})
	m.Gauge("rebound_journal_lag", "facts that a view has not folded yet", []string{"view"}, func(emit server.Emit) {
		for _, v := range f.journal.Views {
			emit(float64(v.Lag), v.Name)
		}
	})
	m.Gauge("rebound_journal_lag_seconds", "age of the oldest fact that a view has not folded yet", []string{"view"}, func(emit server.Emit) {
		for _, v := range f.journal.Views {
			emit(v.Age.Seconds(), v.Name)
		}
	})
	m.Gauge("rebound_journal_blind", "1 while facts of the log are lost or damaged, so that no money is spent", nil, func(emit server.Emit) { emit(flag01(f.journal.Blind != "")) })
	m.Gauge("rebound_journal_damaged", "1 after a sealed file of the log was found damaged", nil, func(emit server.Emit) { emit(flag01(f.journal.Damaged)) })
	m.Gauge("rebound_journal_full", "1 while the disk has no space for visitor events", nil, func(emit server.Emit) { emit(flag01(f.journal.Full)) })
	m.Counter("rebound_journal_write_errors_total", "writes and syncs of the log that failed", nil, func(emit server.Emit) { emit(float64(f.journal.WriteErrors)) })
	m.Counter("rebound_journal_seal_errors_total", "files of the log that could not be compressed", nil, func(emit server.Emit) { emit(float64(f.journal.SealErrors)) })
	m.Counter("rebound_journal_append_errors_total", "appends that failed", nil, func(emit server.Emit) { emit(float64(f.journal.AppendErrors)) })
	m.Gauge("rebound_journal_outbox", "facts that wait for the cluster in a fleet", nil, func(emit server.Emit) { emit(float64(f.journal.Outbox)) })
	m.Gauge("rebound_journal_bytes", "size of the files of the log", nil, func(emit server.Emit) { emit(float64(f.journal.Bytes)) })
	m.Gauge("rebound_journal_last", "sequence of the newest fact", nil, func(emit server.Emit) { emit(float64(f.journal.Last.Seq)) })
	m.Gauge("rebound_journal_disk_free_bytes", "free space where the log is", nil, func(emit server.Emit) { emit(float64(f.journal.DiskFree)) })
	m.Counter("rebound_events_bid_records_written_total", "bid records written", nil, func(emit server.Emit) { emit(float64(f.bids.Written)) })
	m.Counter("rebound_events_bid_records_bytes_total", "size of the bid records written, before compression", nil, func(emit server.Emit) { emit(float64(f.bids.Bytes)) })
	m.Counter("rebound_events_bid_records_without_request_total", "bid records written without their request, because it could not be redacted", nil, func(emit server.Emit) { emit(float64(f.bids.Redacted)) })
	m.Gauge("rebound_events_bid_records_waiting", "bid records that have not been written yet", nil, func(emit server.Emit) { emit(float64(f.bids.Waiting)) })
	m.Counter("rebound_events_bid_records_lost_total", "bid records whose file was removed while it was written", nil, func(emit server.Emit) { emit(float64(f.bids.Lost)) })
	m.Counter("rebound_events_bid_records_dropped_total", "bid records lost because the buffer was full, the disk failed, or they could not be encoded", nil, func(emit server.Emit) { emit(float64(f.bids.Dropped)) })
	began := a.now()
	m.Gauge("rebound_server_uptime_seconds", "since the start", nil, func(emit server.Emit) { emit(a.now().Sub(began).Truncate(time.Millisecond).Seconds()) })
}

func flag01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
