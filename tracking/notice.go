package tracking

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rebound/events"
	"rebound/exchange"
	"rebound/rtb"
)

// Code is the outcome of one notice, for metrics. Every notice has exactly one.
type Code uint8

// The codes.
const (
	CodeOK            Code = iota // accepted and recorded
	CodeForged                    // the signature does not match
	CodeMalformed                 // not a token, or an unknown video event
	CodeExpired                   // older than notice_ttl: recorded, not charged
	CodeAudit                     // a rendering for review: dropped
	CodeTest                      // of a bid on a test request: dropped
	CodePriceAboveBid             // recorded, charged at the bid
	CodePriceMissing              // recorded, charged at the bid
	CodeFailed                    // could not be recorded: lost unless it is sent again
	CodeDuplicate                 // already recorded by this node
	CodePriceBelowBid             // implausibly far below a first-price bid: recorded, charged at the bid
	codes
)

var codeNames = [codes]string{
	"ok", "forged", "malformed", "expired", "audit", "test", "price_above_bid", "price_missing", "failed", "duplicate", "price_below_bid",
}

// String returns the code's name in metrics.
func (c Code) String() string {
	if c >= codes {
		return ""
	}
	return codeNames[c]
}

// Flags of a notice fact.
const (
	FlagPriceAboveBid = "price_above_bid"
	FlagPriceMissing  = "price_missing"
	FlagPriceBelowBid = "price_below_bid"
	FlagPriceForged   = "price_forged"
	FlagCurrency      = "currency"
	FlagExpired       = "expired"
	FlagPriceStale    = "price_stale"    // encrypted long before or after its notice
	FlagPriceReplayed = "price_replayed" // encrypted for another bid
	FlagFeedback      = "feedback"       // reported by a later bid request
	// FlagError means that the ad did not play. VAST's error code follows after a "_" if
	// the player reports one.
	FlagError = "error"
)

// errorCode returns VAST's [ERRORCODE] after a "_", or an empty text if it is not a
// code.
func errorCode(raw []byte) string {
	if l := exchange.ParseLoss(raw); l.Code >= 100 && l.Code <= 999 {
		return "_" + strconv.Itoa(l.Code)
	}
	return ""
}

// Options of a [Handler].
type Options struct {
	Signer *Signer
	// Append stores facts; a nil error means that they are on disk. It must return by
	// the deadline of ctx.
	Append func(ctx context.Context, facts ...events.Fact) error
	// Profiles returns the profile of an exchange, or nil when it is not configured.
	Profiles func(exchange string) *exchange.Profile
	// Now reads the time.
	Now func() time.Time
	// NoticeTTL is the age of a bid up to which its notices are charged; default 48 h.
	NoticeTTL time.Duration
	// AppendTimeout bounds the wait for the log; default 2 s.
	AppendTimeout time.Duration
	// Bids returns the number of bids made so far, for the alarm on losses; nil: no
	// alarm.
	Bids func() uint64
	// Logger logs notices that are lost or suspicious; nil: none.
	Logger *zap.Logger
}

// Handler answers notices. It is safe for concurrent use.
type Handler struct {
	o      Options
	counts [kinds][codes]atomic.Uint64
	losses [lossSlots]atomic.Uint64

	delays    [kinds]delays
	recorded  recent // ids of facts
	sealed    recent // initialization vectors of encrypted prices, with their bids
	lossTable lossTable
	alarm     lossAlarm
	limited   *zap.Logger // logs a message at most 10 times a minute; the counters include all of them

	feedback         chan feedback
	feedbackTaken    atomic.Uint64
	feedbackDropped  atomic.Uint64
	feedbackRows     atomic.Uint64
	feedbackRefused  atomic.Uint64
	feedbackRepeated atomic.Uint64
}

// recentNotices is the number of notices that are remembered to detect duplicates.
const recentNotices = 1 << 17

// NewHandler makes a handler.
func NewHandler(o Options) *Handler {
	if o.NoticeTTL <= 0 {
		o.NoticeTTL = 48 * time.Hour
	}
	if o.AppendTimeout <= 0 {
		o.AppendTimeout = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	h := &Handler{o: o, limited: o.Logger.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 10, 0)
	})), recorded: recent{size: recentNotices}, sealed: recent{size: recentNotices}, feedback: make(chan feedback, feedbackQueue)}
	if o.Now != nil {
		h.alarm.start = o.Now()
	}
	return h
}

// noticeParams are the parameters of a notice. They point into the request.
type noticeParams struct {
	token, price, currency, loss, minToWin []byte
	errorCode                              []byte
	multiplier, discountPct, discountCPM   []byte
	device                                 device
	video                                  *videoEvent
}

// videoEvent is one of the events of /v1/vast/{event}. Only the impression can bill. The
// ids of their facts are "video:<bid id>", followed by the name for all but the first.
type videoEvent struct {
	name       string
	progress   int
	impression bool
	failed     bool
}

var videoEvents = []videoEvent{
	{name: "impression", impression: true}, {name: "start"}, {name: "q1", progress: 25}, {name: "mid", progress: 50},
	{name: "q3", progress: 75}, {name: "complete", progress: 100}, {name: "error", failed: true},
}

// process verifies and records one notice, and counts its outcome. The claims are
// those of a valid token, for the click's redirect.
func (h *Handler) process(kind rtb.NoticeKind, q *noticeParams) (rtb.Claims, Code) {
	c, code := h.accept(kind, q)
	h.counts[kind][code].Add(1)
	h.warn(kind, code, &c, q)
	return c, code
}

// warn logs an outcome that an operator should look into.
func (h *Handler) warn(kind rtb.NoticeKind, code Code, c *rtb.Claims, q *noticeParams) {
	message := ""
	switch code {
	case CodePriceAboveBid:
		message = "notice has a price above the bid; the bid is charged"
	case CodePriceBelowBid:
		message = "notice has a price below a quarter of a first-price bid, and no discount; the bid is charged"
	case CodeExpired:
		message = "notice arrived after notice_ttl; it is recorded but not charged"
	default:
		return
	}
	price := rtb.CPM(0)
	if p := h.o.Profiles(c.Exchange); p != nil {
		price, _ = p.ParsePrice(q.price)
	}
	h.limited.Warn(message, zap.Stringer("kind", kind), zap.String("exchange", c.Exchange), zap.Stringer("bid", c.Bid), zap.String("line", c.Line),
		zap.Stringer("bid_cpm", rtb.Micros(c.Price)), zap.Stringer("price_cpm", rtb.Micros(price)), zap.ByteString("raw_price", q.price[:min(len(q.price), 64)]), zap.Stringer("currency", c.Currency),
		zap.Duration("age", h.o.Now().Sub(c.Issued)))
}

// logLost logs a notice that could not be stored, with what it would have charged.
func (h *Handler) logLost(f *events.Fact, c *rtb.Claims, err error) {
	h.limited.Error("notice is lost: the log could not store it", zap.String("id", f.ID), zap.String("exchange", c.Exchange), zap.Stringer("bid", c.Bid),
		zap.String("line", c.Line), zap.Bool("bills", f.Notice.Bills), zap.Stringer("charge", f.Notice.Charge),
		zap.Stringer("currency", c.AdvertiserCurrency), zap.Error(err))
}

// received is a notice with a valid token.
type received struct {
	*noticeParams
	kind    rtb.NoticeKind
	claims  rtb.Claims
	profile *exchange.Profile // nil when the exchange is not configured
	at      time.Time
}

// accept verifies one notice, records it and returns its outcome.
func (h *Handler) accept(kind rtb.NoticeKind, q *noticeParams) (rtb.Claims, Code) {
	c, err := h.o.Signer.Verify(kind, q.token)
	if errors.Is(err, ErrForged) {
		return rtb.Claims{}, CodeForged
	}
	if err != nil || (kind == rtb.NoticeVideo && q.video == nil) {
		return rtb.Claims{}, CodeMalformed
	}
	if c.Test {
		return c, CodeTest
	}
	r := &received{q, kind, c, h.o.Profiles(c.Exchange), h.o.Now()}
	fact, code := h.fact(r)
	if code == CodeAudit {
		return c, code
	}
	if _, again := h.recorded.seen(fact.ID); again {
		return c, CodeDuplicate
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.o.AppendTimeout)
	defer cancel()
	if err := h.o.Append(ctx, fact); err != nil {
		h.logLost(&fact, &c, err)
		return c, CodeFailed
	}
	h.recorded.add(fact.ID, 0)
	h.delays[kind].observe(r.at.Sub(c.Issued))
	if kind == rtb.NoticeLoss {
		h.countLoss(&c, exchange.ParseLoss(q.loss), r.at)
	}
	return c, code
}

// fact returns the fact of a notice, and its outcome.
func (h *Handler) fact(r *received) (events.Fact, Code) {
	f := events.NoticeFact(r.kind, &r.claims, r.at)
	n := f.Notice
	bills := r.kind == r.claims.BillOn.Notice()
	if r.kind == rtb.NoticeVideo {
		n.Progress = r.video.progress
		if !r.video.impression {
			f.ID += ":" + r.video.name
			bills = false
		}
		if r.video.failed {
			n.Flags = append(n.Flags, FlagError+errorCode(r.errorCode))
		}
	}
	code := h.price(r, bills, n)
	if r.kind == rtb.NoticeLoss {
		n.LossReason = exchange.ParseLoss(r.loss).Code
	}
	if p := r.profile; p != nil {
		if v, status := p.ParseMinToWin(r.minToWin); status == exchange.PriceOK {
			n.MinToWin = v
		}
		if v, status := p.ParseMinToWin(r.discountCPM); status == exchange.PriceOK {
			n.Discount = v
		}
	}
	n.Multiplier, n.DiscountPct = int64(r.quantity()), exchange.ParseMultiplier(r.discountPct)
	r.device.describe(r.profile, n)
	if code != CodeAudit && r.at.Sub(r.claims.Issued) > h.o.NoticeTTL {
		n.Flags = append(n.Flags, FlagExpired)
		bills, code = false, CodeExpired
	}
	if n.Bills = bills; bills {
		n.Charge = r.claims.ChargeFor(n.Price, r.quantity())
	}
	return f, code
}
