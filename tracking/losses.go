package tracking

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"rebound/exchange"
	"rebound/rtb"
)

// LossCount is the number of losses of a line's creative for one reason.
type LossCount struct {
	Advertiser string `json:"advertiser,omitempty"`
	Campaign   string `json:"campaign,omitempty"`
	Line       string `json:"line"` // "other" for rows beyond the table's limit
	Creative   string `json:"creative,omitempty"`
	Reason     string `json:"reason"`
	N          uint64 `json:"n"`
}

// maxLossRows bounds the table. Losses beyond it count under the line "other".
const maxLossRows = 4096

type lossKey struct {
	line     rtb.LineID
	creative string
	reason   string
}

// lossTable counts losses by line, creative and reason.
type lossTable struct {
	mu   sync.Mutex
	rows map[lossKey]uint64
}

func (t *lossTable) add(c *rtb.Claims, reason string) {
	k := lossKey{rtb.LineID{Advertiser: c.Advertiser, Campaign: c.Campaign, Line: c.Line}, c.Creative, reason}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[lossKey]uint64{}
	}
	if _, ok := t.rows[k]; !ok && len(t.rows) >= maxLossRows {
		k = lossKey{line: rtb.LineID{Line: "other"}, reason: reason}
	}
	t.rows[k]++
}

// LossTable returns the losses by line, creative and reason, the largest count
// first.
func (h *Handler) LossTable() []LossCount {
	h.lossTable.mu.Lock()
	list := make([]LossCount, 0, len(h.lossTable.rows))
	for k, n := range h.lossTable.rows {
		list = append(list, LossCount{k.line.Advertiser, k.line.Campaign, k.line.Line, k.creative, k.reason, n})
	}
	h.lossTable.mu.Unlock()
	slices.SortFunc(list, func(a, b LossCount) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Creative, b.Creative), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// lossClass is the kind of bidder error that a loss suggests.
type lossClass uint8

const (
	classNone   lossClass = iota
	classAnswer           // 3 to 10: our responses are invalid
	classFilter           // 203 to 211: our filters miss block lists
	classFloor            // 100, 101: we bid below floors
	lossClasses
)

var lossClassNames = [lossClasses]string{"", "answer", "filter", "floor"}

func classOf(l exchange.Loss) lossClass {
	switch {
	case l.Code >= 3 && l.Code <= 10:
		return classAnswer
	case l.Code >= 203 && l.Code <= 211:
		return classFilter
	case l.Code == 100, l.Code == 101:
		return classFloor
	}
	return classNone
}

// The alarm covers the last five minutes in steps of ten seconds. A class raises it
// when its losses exceed a thousandth of the bids made in that time.
const (
	alarmStep   = 10 * time.Second
	alarmSteps  = 30
	alarmShare  = 1000
	alarmRepeat = 5 * time.Minute // minimum time between two log lines of one class
)

// lossAlarm counts losses by class for the last five minutes.
type lossAlarm struct {
	mu     sync.Mutex
	start  time.Time // when counting of bids began
	steps  [alarmSteps]alarmSlot
	logged [lossClasses]time.Time
}

type alarmSlot struct {
	step   int64
	bids   uint64 // made before the step began
	losses [lossClasses]uint64
}

func (a *lossAlarm) slot(now time.Time, bids uint64) *alarmSlot {
	step := now.UnixNano() / int64(alarmStep)
	s := &a.steps[uint64(step)%alarmSteps]
	if s.step != step {
		*s = alarmSlot{step: step, bids: bids}
	}
	return s
}

// window returns the losses of a class and the bids of the last five minutes.
func (a *lossAlarm) window(now time.Time, bids uint64, class lossClass) (losses, made uint64) {
	step := now.UnixNano() / int64(alarmStep)
	first := bids
	if now.Sub(a.start) < alarmSteps*alarmStep {
		first = 0
	}
	for i := range a.steps {
		s := &a.steps[i]
		if s.step == 0 || s.step <= step-alarmSteps || s.step > step {
			continue
		}
		losses += s.losses[class]
		first = min(first, s.bids)
	}
	return losses, bids - first
}

// aboveShare reports whether losses exceed their share of bids. If no bids were made in
// the window, the losses belong to earlier bids.
func aboveShare(losses, made uint64) bool { return losses > 0 && losses*alarmShare > max(made, 1) }

// mark records the number of bids made so far; [Handler.Run] calls it in every step.
func (h *Handler) mark() {
	if h.o.Bids == nil {
		return
	}
	now, bids := h.o.Now(), h.o.Bids()
	h.alarm.mu.Lock()
	h.alarm.slot(now, bids)
	h.alarm.mu.Unlock()
}

// watch counts a loss, and logs a warning, at most once per alarmRepeat, when its
// class is above its share.
func (h *Handler) watch(c *rtb.Claims, l exchange.Loss, now time.Time) {
	class := classOf(l)
	if h.o.Bids == nil || class == classNone {
		return
	}
	bids := h.o.Bids()
	h.alarm.mu.Lock()
	h.alarm.slot(now, bids).losses[class]++
	losses, made := h.alarm.window(now, bids, class)
	alarm := aboveShare(losses, made) && now.Sub(h.alarm.logged[class]) >= alarmRepeat
	if alarm {
		h.alarm.logged[class] = now
	}
	h.alarm.mu.Unlock()
	if alarm {
		h.o.Logger.Warn("a high loss rate suggests that our bids are invalid", zap.String("class", lossClassNames[class]), zap.String("last_reason", l.String()),
			zap.String("exchange", c.Exchange), zap.String("line", c.Line), zap.String("creative", c.Creative),
			zap.Uint64("losses", losses), zap.Uint64("bids", made))
	}
}

// Alarms reports for each class of losses (answer, filter, floor) whether it is above
// its share of the bids of the last five minutes.
func (h *Handler) Alarms() map[string]bool {
	m := map[string]bool{}
	if h.o.Bids == nil {
		return m
	}
	now, bids := h.o.Now(), h.o.Bids()
	h.alarm.mu.Lock()
	defer h.alarm.mu.Unlock()
	h.alarm.slot(now, bids)
	for class := classAnswer; class < lossClasses; class++ {
		m[lossClassNames[class]] = aboveShare(h.alarm.window(now, bids, class))
	}
	return m
}
