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

// Code is what became of one notice, for metrics. Every notice counts under
// exactly one.
type Code uint8

// The codes.
const (
	CodeOK            Code = iota // believed and recorded
	CodeForged                    // the signature does not fit
	CodeMalformed                 // no token, or no such event
	CodeExpired                   // older than notice_ttl: recorded, not charged
	CodeAudit                     // a rendering for review: dropped
	CodeTest                      // a bid of a test request: dropped
	CodePriceAboveBid             // recorded, booked at the bid
	CodePriceMissing              // recorded, booked at the bid
	CodeFailed                    // could not be recorded: lost, unless it is sent again
	CodeDuplicate                 // this node recorded the same notice before
	codes
)

var codeNames = [codes]string{
	"ok", "forged", "malformed", "expired", "audit", "test", "price_above_bid", "price_missing", "failed", "duplicate",
}

// String is the code's name in metrics.
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
	FlagPriceForged   = "price_forged"
	FlagCurrency      = "currency"
	FlagExpired       = "expired"
	FlagPriceStale    = "price_stale"    // encrypted long before or after its notice
	FlagPriceReplayed = "price_replayed" // encrypted for another bid
	FlagFeedback      = "feedback"       // told by a later bid request
	// FlagError and, where the player told it, _ and VAST's code: the ad did not
	// play.
	FlagError = "error"
)

// errorCode is what [ERRORCODE] of VAST became, with a _ before it; nothing where
// it is no code.
func errorCode(raw []byte) string {
	if l := exchange.ParseLoss(raw); l.Code >= 100 && l.Code <= 999 {
		return "_" + strconv.Itoa(l.Code)
	}
	return ""
}

// Options of a [Handler].
type Options struct {
	Signer *Signer
	// Append records facts; nil means that they are safe. It is called with a
	// deadline, and must give up by it.
	Append func(ctx context.Context, facts ...events.Fact) error
	// Profiles finds an exchange by its id; nil where there is none (any more).
	Profiles func(exchange string) *exchange.Profile
	// Now reads the time.
	Now func() time.Time
	// NoticeTTL is how long a notice of a bid is charged; 48 h by default.
	NoticeTTL time.Duration
	// AppendTimeout bounds the wait for the log; 2 s by default.
	AppendTimeout time.Duration
	// Bids is how many bids were made so far, for the alarm on losses; nil: no alarm.
	Bids func() uint64
	// Logger takes facts that could not be recorded; none when nil.
	Logger *zap.Logger
}

// Handler answers notices. It is safe for any number of goroutines.
type Handler struct {
	o      Options
	counts [kinds][codes]atomic.Uint64
	losses [lossSlots]atomic.Uint64

	delays    [kinds]delays
	recorded  recent // ids of facts
	sealed    recent // initialisation vectors of prices, and their bids
	lossTable lossTable
	alarm     lossAlarm
	rare      *zap.Logger // says the same at most 10 times a minute; the counters have them all

	feedback         chan feedback
	feedbackTaken    atomic.Uint64
	feedbackDropped  atomic.Uint64
	feedbackRows     atomic.Uint64
	feedbackRefused  atomic.Uint64
	feedbackRepeated atomic.Uint64
}

// recentNotices is how many notices are remembered for counting duplicates.
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
	h := &Handler{o: o, rare: o.Logger.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 10, 0)
	})), recorded: recent{size: recentNotices}, sealed: recent{size: recentNotices}, feedback: make(chan feedback, feedbackQueue)}
	if o.Now != nil {
		h.alarm.born = o.Now()
	}
	return h
}

// told is what a notice says beside its kind; views into the request.
type told struct {
	token, price, currency, loss, minToWin []byte
	errorCode                              []byte
	multiplier, discountPct, discountCPM   []byte
	device                                 device
	video                                  *videoEvent
}

// videoEvent is one of the events of /v1/vast/{ev}. The impression is the one
// that can bill; its fact has the id "video:<bid id>", the others carry their
// name behind it.
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

// take verifies one notice, records it and says what became of it. The claims
// are those of a token that was believed, for the click's redirect.
func (h *Handler) take(kind rtb.NoticeKind, t *told) (rtb.Claims, Code) {
	c, code := h.judge(kind, t)
	h.counts[kind][code].Add(1)
	h.warn(kind, code, &c, t)
	return c, code
}

// warn logs what somebody should look at.
func (h *Handler) warn(kind rtb.NoticeKind, code Code, c *rtb.Claims, t *told) {
	said := ""
	switch code {
	case CodePriceAboveBid:
		said = "notice tells a price above the bid: the bid is booked"
	case CodeExpired:
		said = "notice comes after notice_ttl: it is recorded, not charged"
	default:
		return
	}
	price := rtb.CPM(0)
	if p := h.o.Profiles(c.Exchange); p != nil {
		price, _ = p.ParsePrice(t.price)
	}
	h.rare.Warn(said, zap.Stringer("kind", kind), zap.String("exchange", c.Exchange), zap.Stringer("bid", c.Bid), zap.String("line", c.Line),
		zap.Stringer("bid_cpm", rtb.Micros(c.Price)), zap.Stringer("told_cpm", rtb.Micros(price)), zap.ByteString("told", t.price[:min(len(t.price), 64)]), zap.Stringer("currency", c.Currency),
		zap.Duration("age", h.o.Now().Sub(c.Issued)))
}

// sayLost logs a notice that nothing stored, with what it would have charged.
func (h *Handler) sayLost(f *events.Fact, c *rtb.Claims, err error) {
	h.rare.Error("notice is lost: neither log nor spool took it", zap.String("id", f.ID), zap.String("exchange", c.Exchange), zap.Stringer("bid", c.Bid),
		zap.String("line", c.Line), zap.Bool("bills", f.Notice.Bills), zap.Stringer("charge", f.Notice.Charge),
		zap.Stringer("currency", c.AdvertiserCurrency), zap.Error(err))
}

func (h *Handler) judge(kind rtb.NoticeKind, t *told) (rtb.Claims, Code) {
	c, err := h.o.Signer.Verify(kind, t.token)
	if errors.Is(err, ErrForged) {
		return rtb.Claims{}, CodeForged
	}
	if err != nil || (kind == rtb.NoticeVideo && t.video == nil) {
		return rtb.Claims{}, CodeMalformed
	}
	if c.Test {
		return c, CodeTest
	}
	now := h.o.Now()
	fact, code := h.fact(kind, &c, t, now)
	if code == CodeAudit {
		return c, code
	}
	if _, again := h.recorded.seen(fact.ID); again {
		return c, CodeDuplicate
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.o.AppendTimeout)
	defer cancel()
	if err := h.o.Append(ctx, fact); err != nil {
		h.sayLost(&fact, &c, err)
		return c, CodeFailed
	}
	h.recorded.add(fact.ID, 0)
	h.delays[kind].observe(now.Sub(c.Issued))
	if kind == rtb.NoticeLoss {
		loss := exchange.ParseLoss(t.loss)
		h.countLoss(loss)
		h.lossTable.add(&c, loss.String())
		h.watch(&c, loss, now)
	}
	return c, code
}

// fact is what a believed notice says. Its price is settled by [Handler.price].
func (h *Handler) fact(kind rtb.NoticeKind, c *rtb.Claims, t *told, now time.Time) (events.Fact, Code) {
	f := events.NoticeFact(kind, c, now)
	n := f.Notice
	bills := kind == c.BillOn.Notice()
	if kind == rtb.NoticeVideo {
		n.Progress = t.video.progress
		if !t.video.impression {
			f.ID += ":" + t.video.name
			bills = false
		}
		if t.video.failed {
			n.Flags = append(n.Flags, FlagError+errorCode(t.errorCode))
		}
	}
	profile := h.o.Profiles(c.Exchange)
	code := h.price(kind, c, t, profile, bills, n)
	if kind == rtb.NoticeLoss {
		n.LossReason = exchange.ParseLoss(t.loss).Code
	}
	if profile != nil {
		if v, status := profile.ParseMinToWin(t.minToWin); status == exchange.PriceOK {
			n.MinToWin = v
		}
		if v, status := profile.ParseMinToWin(t.discountCPM); status == exchange.PriceOK {
			n.Discount = v
		}
	}
	n.Multiplier, n.DiscountPct = int64(multiplier(kind, c, t)), exchange.ParseMultiplier(t.discountPct)
	t.device.describe(profile, n)
	if code != CodeAudit && now.Sub(c.Issued) > h.o.NoticeTTL {
		n.Flags = append(n.Flags, FlagExpired)
		bills, code = false, CodeExpired
	}
	if n.Bills = bills; bills {
		n.Charge = c.ChargeFor(n.Price, multiplier(kind, c, t))
	}
	return f, code
}
