package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// logEntry is one fact or one bid record.
type logEntry struct {
	at   time.Time // fact: stored; record: arrival of the request
	fact *events.Fact
	bid  *events.BidRecord
}

func factEntry(f *events.Fact) logEntry { return logEntry{at: f.TS, fact: f} }

func bidEntry(r *events.BidRecord) logEntry { return logEntry{at: r.TS, bid: r} }

// kind names a fact's kind, or bid or nobid.
func (e *logEntry) kind() string {
	switch {
	case e.fact != nil:
		return string(e.fact.Kind)
	case e.bid.Decision != nil && len(e.bid.Decision.Bids) > 0:
		return "bid"
	}
	return "nobid"
}

// exchange returns the id of the exchange; empty if the entry has none.
func (e *logEntry) exchange() string {
	switch {
	case e.bid != nil:
		return e.bid.Exchange
	case e.fact.Notice != nil:
		return e.fact.Notice.Exchange
	case e.fact.Adjustment != nil:
		return e.fact.Adjustment.Exchange
	case e.fact.Approval != nil:
		return e.fact.Approval.Exchange
	}
	return ""
}

// lines returns the lines that an entry is about: of a record those that bid, or else
// those that were refused.
func (e *logEntry) lines() (out []rtb.LineID) {
	if f := e.fact; f != nil {
		switch {
		case f.Notice != nil && f.Notice.Line != "":
			return []rtb.LineID{{Advertiser: f.Advertiser, Campaign: f.Campaign, Line: f.Line}}
		case f.Grant != nil:
			b := &f.Grant.Budget
			return []rtb.LineID{{Advertiser: b.Advertiser, Campaign: b.Campaign, Line: b.Line}}
		}
		return nil
	}
	d := e.bid.Decision
	if d == nil {
		return nil
	}
	for i := range d.Bids {
		out = append(out, rtb.LineID{Advertiser: d.Bids[i].Advertiser, Campaign: d.Bids[i].Campaign, Line: d.Bids[i].Line})
	}
	if len(out) == 0 {
		for i := range d.Dropped {
			out = append(out, rtb.LineID{Advertiser: d.Dropped[i].Advertiser, Campaign: d.Dropped[i].Campaign, Line: d.Dropped[i].Line})
		}
	}
	return out
}

// visitor returns the key of the visitor; zero if the entry has none.
func (e *logEntry) visitor() rtb.Key {
	switch {
	case e.fact != nil:
		return e.fact.Visitor
	case e.bid.Visitor != nil:
		return e.bid.Visitor.Key
	}
	return rtb.Key{}
}

// detail describes the entry beyond its columns.
func (e *logEntry) detail() string {
	if e.bid != nil {
		return recordDetail(e.bid)
	}
	f := e.fact
	switch {
	case f.Erased:
		return "its personal part was erased"
	case f.Event != nil:
		return eventDetail(f)
	case f.Link != nil:
		return f.Link.KeyKind + " by " + f.Link.Provenance
	case f.Notice != nil:
		return noticeDetail(f)
	case f.Grant != nil:
		return fmt.Sprintf("%s of %s %s for %s", f.Grant.Amount, f.Grant.Cap, f.Currency, f.Grant.Budget)
	case f.Config != nil:
		return "configuration " + f.Config.Hash
	case f.Pause != nil:
		return fmt.Sprintf("%s on=%t by %s", f.Pause.Scope, f.Pause.On, f.Pause.By)
	case f.Adjustment != nil:
		return fmt.Sprintf("%s %s of %s: %s", f.Adjustment.Amount, f.Currency, f.Adjustment.Budget, f.Adjustment.Reason)
	case f.Approval != nil:
		return f.Approval.Creative + " " + f.Approval.State
	}
	return ""
}

func eventDetail(f *events.Fact) string {
	text := f.Event.Name
	var items []string
	for i := range f.Event.Items {
		items = append(items, f.Event.Items[i].ID)
	}
	if len(items) > 0 {
		text += " " + strings.Join(items, ",")
	}
	if f.Event.Value != 0 {
		text += fmt.Sprintf(" worth %s %s", f.Event.Value, f.Currency)
	}
	if u := f.Event.URL; u != nil {
		text += " on " + u.Host + u.Path
	}
	return text
}

func noticeDetail(f *events.Fact) string {
	n := f.Notice
	text := "bid " + n.BidID.String()
	if n.PriceTold {
		text += fmt.Sprintf(" at %s %s", n.Price, n.BidCur)
	}
	if n.Charge != 0 {
		text += fmt.Sprintf(", charged %s %s", n.Charge, f.Currency)
	}
	if f.Kind == events.KindLoss {
		text += fmt.Sprintf(", reason %d", n.LossReason)
	}
	if len(n.Flags) > 0 {
		text += ", " + strings.Join(n.Flags, " ")
	}
	return text
}

func recordDetail(r *events.BidRecord) string {
	d := r.Decision
	if d == nil {
		return ""
	}
	var parts []string
	for i := range d.Bids {
		b := &d.Bids[i]
		parts = append(parts, fmt.Sprintf("%s on %s with %s", b.Price, b.ImpID, b.Creative))
	}
	if len(d.Bids) == 0 {
		parts = append(parts, d.NoBid.String())
	}
	for i := range d.Dropped {
		if x := &d.Dropped[i]; x.Reason != rtb.NoBidNone && (len(d.Bids) > 0 || x.Reason != d.NoBid) {
			parts = append(parts, x.Line+": "+x.Reason.String())
		}
	}
	return strings.Join(parts, ", ")
}

// text formats the entry as one line of columns: time, kind, exchange, line, visitor,
// detail.
func (e *logEntry) text() string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	line := ""
	if list := e.lines(); len(list) > 0 {
		if line = list[0].String(); len(list) > 1 {
			line += fmt.Sprintf("+%d", len(list)-1)
		}
	} else if e.fact != nil && e.fact.Advertiser != "" {
		line = e.fact.Advertiser
	}
	visitor := ""
	if k := e.visitor(); !k.IsZero() {
		visitor = k.String()
	}
	text := fmt.Sprintf("%-24s %-10s %-12s %-26s %-22s %s", e.at.UTC().Format("2006-01-02T15:04:05.000Z"), e.kind(), dash(e.exchange()), dash(line), dash(visitor), e.detail())
	return strings.TrimRight(text, " ")
}

// json returns the entry as one line of JSON: a fact with all of its fields, or the
// record.
func (e *logEntry) json() ([]byte, error) {
	if e.fact != nil {
		return json.Marshal(e.fact)
	}
	return json.Marshal(e.bid)
}

// logFilter selects entries. Fields that are empty select everything.
type logFilter struct {
	exchange, line, reason string
	kinds                  []string
	keys                   []rtb.Key
	from, to               time.Time
}

// selects reports whether an entry passes.
func (f *logFilter) selects(e *logEntry) bool {
	switch {
	case !f.from.IsZero() && e.at.Before(f.from), !f.to.IsZero() && !e.at.Before(f.to):
		return false
	case len(f.kinds) > 0 && !slices.Contains(f.kinds, e.kind()):
		return false
	case f.exchange != "" && e.exchange() != f.exchange:
		return false
	}
	return (f.line == "" || f.hasLine(e)) && (f.reason == "" || f.hasReason(e)) && (len(f.keys) == 0 || f.hasKey(e))
}

// hasLine reports whether an entry is about the line, which is an id or
// advertiser/campaign/line.
func (f *logFilter) hasLine(e *logEntry) bool {
	matches := func(id rtb.LineID) bool { return id.Line == f.line || id.String() == f.line }
	if e.bid != nil && e.bid.Decision != nil {
		for i := range e.bid.Decision.Dropped {
			x := &e.bid.Decision.Dropped[i]
			if matches(rtb.LineID{Advertiser: x.Advertiser, Campaign: x.Campaign, Line: x.Line}) {
				return true
			}
		}
	}
	return slices.ContainsFunc(e.lines(), matches)
}

// hasReason reports whether a request or one of its lines got no bid for the reason, or
// whether a notice has it as its flag or loss reason.
func (f *logFilter) hasReason(e *logEntry) bool {
	if e.bid != nil {
		d := e.bid.Decision
		return d != nil && (d.NoBid.String() == f.reason || slices.ContainsFunc(d.Dropped, func(x events.DecisionDrop) bool { return x.Reason.String() == f.reason }))
	}
	switch {
	case e.fact.Notice != nil:
		return slices.Contains(e.fact.Flags, f.reason) || e.fact.Kind == events.KindLoss && fmt.Sprint(e.fact.LossReason) == f.reason
	case e.fact.Adjustment != nil:
		return e.fact.Adjustment.Reason == f.reason
	}
	return false
}

func (f *logFilter) hasKey(e *logEntry) bool {
	if slices.Contains(f.keys, e.visitor()) {
		return true
	}
	return e.fact != nil && concerns(e.fact, f.keys)
}
