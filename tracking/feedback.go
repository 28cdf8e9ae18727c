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

// Bounds of feedback that waits, and of one request's feedback.
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

// feedbackRow is one entry of Google's bid_feedback: the token is the one that
// our bid brought in bid.ext.
type feedbackRow struct {
	Token struct {
		Payload string `json:"payload"`
	} `json:"event_notification_token"`
	MinToWin json.RawMessage `json:"minimum_bid_to_win"`
	Price    json.RawMessage `json:"price"`
	Status   int             `json:"creative_status_code"`
}

// FeedbackStats count feedback since the process started.
type FeedbackStats struct {
	Taken   uint64 // requests whose feedback was queued
	Dropped uint64 // because the queue was full, or it was too large
	Rows    uint64 // entries that were recorded
	Refused uint64 // entries without a token of ours or a status, or unreadable
	// Repeated are entries, or notices that said the same, that this node recorded
	// before.
	Repeated uint64
}

// TakeFeedback queues what a request tells of earlier bids. It copies it, and
// never blocks: what does not fit is dropped and counted.
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

// Run records queued feedback, and keeps the alarm's count of bids, until ctx ends.
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
			h.rare.Error("feedback is lost", zap.String("id", fact.ID), zap.Error(err))
			continue
		}
		h.feedbackRows.Add(1)
		h.recorded.add(fact.ID, 0)
		if fact.Kind == events.KindLoss {
			loss := exchange.Loss{Code: fact.Notice.LossReason, Known: true}
			h.countLoss(loss)
			h.lossTable.add(&c, loss.String())
			h.watch(&c, loss, h.o.Now())
		}
	}
}

func (h *Handler) appendFeedback(ctx context.Context, fact events.Fact) error {
	ctx, cancel := context.WithTimeout(ctx, h.o.AppendTimeout)
	defer cancel()
	return h.o.Append(ctx, fact)
}

// Google's statuses that have a meaning of their own here (Authorized Buyers,
// creative-status-codes); the rest are kept as they come.
const (
	statusWon    = 1
	statusOutbid = 79

	maxStatus     = 8_000 // what is above it is one code
	lossHigherBid = 102
)

// feedbackFact makes the loss, or the win, that an entry tells of: none without a
// status. It never charges, and never takes the place of the notice that bills.
func (h *Handler) feedbackFact(id string, raw []byte) (events.Fact, rtb.Claims, bool) {
	var row feedbackRow
	if json.Unmarshal(raw, &row) != nil || row.Status <= 0 {
		return events.Fact{}, rtb.Claims{}, false
	}
	c, err := h.o.Signer.Verify(rtb.NoticeLoss, []byte(row.Token.Payload))
	now := h.o.Now()
	if err != nil || c.Test || c.Exchange != id || now.Sub(c.Issued) > h.o.NoticeTTL {
		return events.Fact{}, rtb.Claims{}, false
	}
	kind := rtb.NoticeLoss
	if row.Status == statusWon {
		kind = rtb.NoticeWin
	}
	if kind == c.BillOn.Notice() {
		return events.Fact{}, rtb.Claims{}, false
	}
	f := events.NoticeFact(kind, &c, now)
	n := f.Notice
	n.Flags = append(n.Flags, FlagFeedback)
	if v, err := rtb.ParseMicros(bytes.Trim(row.MinToWin, `"`), rtb.RoundUp); err == nil && v > 0 && rtb.CPM(v) <= rtb.MaxCPM {
		n.MinToWin = rtb.CPM(v)
	}
	if kind == rtb.NoticeLoss {
		if n.LossReason = 500 + min(row.Status, maxStatus); row.Status == statusOutbid { // 500 and more: the exchange's own
			n.LossReason = lossHigherBid
		}
	}
	return f, c, true
}
