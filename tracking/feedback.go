package tracking

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/exchange"
	"rebound/rtb"
)

// Limits of the feedback queue and of the feedback in one request.
const (
	feedbackQueue = 1024
	feedbackBytes = 64 << 10
	feedbackRows  = 100
)

// feedback is ext.bid_feedback of one request.
type feedback struct {
	exchange string
	rows     []byte
}

// feedbackRow is one entry of Google's bid_feedback. The token is that of our
// bid, from bid.ext.
type feedbackRow struct {
	Token struct {
		Payload string `json:"payload"`
	} `json:"event_notification_token"`
	MinToWin json.RawMessage `json:"minimum_bid_to_win"`
	Price    json.RawMessage `json:"price"`
	Status   int             `json:"creative_status_code"`
}

// FeedbackStats counts feedback since the process started.
type FeedbackStats struct {
	Taken   uint64 // requests whose feedback was queued
	Dropped uint64 // requests whose feedback was too large, or did not fit into the queue
	Rows    uint64 // entries that were recorded
	Refused uint64 // entries that are unreadable, or lack our token or a status
	// Repeated counts entries for bids that this node had already recorded, from
	// feedback or from a notice.
	Repeated uint64
}

// TakeFeedback queues the feedback of a request about earlier bids. It copies rows and
// never blocks: feedback beyond the limits is dropped and counted.
func (h *Handler) TakeFeedback(exchange string, rows []byte) {
	if len(rows) > feedbackBytes {
		h.feedbackDropped.Add(1)
		return
	}
	select {
	case h.feedback <- feedback{exchange, bytes.Clone(rows)}:
		h.feedbackTaken.Add(1)
	default:
		h.feedbackDropped.Add(1)
	}
}

// Run records queued feedback and the alarm's count of bids until ctx ends.
func (h *Handler) Run(ctx context.Context) error {
	h.mark()
	step := time.NewTicker(alarmStep)
	defer step.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-step.C:
			h.mark()
		case f := <-h.feedback:
			h.record(ctx, &f)
		}
	}
}

// FeedbackStats reads the counters.
func (h *Handler) FeedbackStats() FeedbackStats {
	return FeedbackStats{h.feedbackTaken.Load(), h.feedbackDropped.Load(), h.feedbackRows.Load(), h.feedbackRefused.Load(), h.feedbackRepeated.Load()}
}

func (h *Handler) record(ctx context.Context, f *feedback) {
	var rows []json.RawMessage
	if json.Unmarshal(f.rows, &rows) != nil {
		h.feedbackRefused.Add(1)
		return
	}
	for _, raw := range rows[:min(len(rows), feedbackRows)] {
		fact, c, ok := h.feedbackFact(f.exchange, raw)
		if !ok {
			h.feedbackRefused.Add(1)
			continue
		}
		if _, again := h.recorded.seen(fact.ID); again {
			h.feedbackRepeated.Add(1)
			continue
		}
		if err := h.appendFeedback(ctx, fact); err != nil {
			h.feedbackRefused.Add(1)
			h.limited.Error("cannot record feedback: it is lost", zap.String("id", fact.ID), zap.Error(err))
			continue
		}
		h.feedbackRows.Add(1)
		h.recorded.add(fact.ID, 0)
		if fact.Kind == events.KindLoss {
			h.countLoss(&c, exchange.Loss{Code: fact.Notice.LossReason, Known: true}, h.o.Now())
		}
	}
}

func (h *Handler) appendFeedback(ctx context.Context, fact events.Fact) error {
	ctx, cancel := context.WithTimeout(ctx, h.o.AppendTimeout)
	defer cancel()
	return h.o.Append(ctx, fact)
}

// Google's statuses that are translated (Authorized Buyers, creative-status-codes).
// The others are kept as they are.
const (
	statusWon    = 1
	statusOutbid = 79

	maxStatus     = 8_000 // larger ones share one code
	lossHigherBid = 102
)

// feedbackFact returns the loss or win that an entry reports; ok is false if it reports
// neither. The fact never charges and never replaces the notice that bills.
func (h *Handler) feedbackFact(id string, raw []byte) (f events.Fact, c rtb.Claims, ok bool) {
	var row feedbackRow
	if json.Unmarshal(raw, &row) != nil || row.Status <= 0 {
		return f, c, false
	}
	c, err := h.o.Signer.Verify(rtb.NoticeLoss, []byte(row.Token.Payload))
	now := h.o.Now()
	if err != nil || c.Test || c.Exchange != id || now.Sub(c.Issued) > h.o.NoticeTTL {
		return f, c, false
	}
	kind := rtb.NoticeLoss
	if row.Status == statusWon {
		kind = rtb.NoticeWin
	}
	if kind == c.BillOn.Notice() {
		return f, c, false
	}
	f = events.NoticeFact(kind, &c, now)
	n := f.Notice
	n.Flags = append(n.Flags, FlagFeedback)
	if v, err := rtb.ParseMicros(bytes.Trim(row.MinToWin, `"`), rtb.RoundUp); err == nil && v > 0 && rtb.CPM(v) <= rtb.MaxCPM {
		n.MinToWin = rtb.CPM(v)
	}
	if kind == rtb.NoticeLoss {
		if n.LossReason = 500 + min(row.Status, maxStatus); row.Status == statusOutbid { // 500 and above are specific to the exchange
			n.LossReason = lossHigherBid
		}
	}
	return f, c, true
}
