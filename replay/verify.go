package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"

	"rebound/bidder"
	"rebound/events"
	"rebound/rtb"
)

// VerifyOptions are the inputs of [Verify].
type VerifyOptions struct {
	// Catalog returns the catalog of an activation that bid records name; the error is
	// fs.ErrNotExist if it was not archived, or has been removed.
	Catalog func(activation string) (*bidder.Catalog, error)
	// Build is the version of this program. A decision that differs was perhaps made by
	// another one.
	Build string
	// Differ is called for every decision that differs; nil: not called.
	Differ func(VerifyDifference) error
	// Progress is called with the number of records done, every 1,000 records; nil: not
	// called.
	Progress func(done int)
}

// Verified is the report of [Verify].
type Verified struct {
	Records int `json:"records"` // read, those that cannot be verified included
	Bids    int `json:"bids"`    // records with at least one bid
	// Verified counts the decisions that were made again, and Same those of them that are
	// exactly the recorded ones.
	Verified int `json:"verified"`
	Same     int `json:"same"`
	// Differences counts the other ones by what differs first.
	Differences map[string]int `json:"differences"`
	// Unverified counts the records whose decisions cannot be made again, by why.
	Unverified map[string]int `json:"unverified"`
	Skipped    int            `json:"skipped"` // lines that are no bid records
	// NoBids counts the verified decisions without a bid by their recorded reason, and
	// Dropped the lines that verified decisions refused.
	NoBids  map[string]int `json:"nobids"`
	Dropped map[string]int `json:"dropped"`
	// Interrupted is set if the run ended before the last record.
	Interrupted bool `json:"interrupted,omitempty"`
}

// VerifyDifference is one decision that differs from its record.
type VerifyDifference struct {
	N        int             `json:"n"` // of the record, from 1
	TS       time.Time       `json:"ts"`
	Exchange string          `json:"exchange"`
	Cause    string          `json:"cause"`
	Recorded events.Decision `json:"recorded"`
	Repeated events.Decision `json:"repeated"`
}

// Why decisions cannot be made again.
const (
	unverifiedNoInputs      = "the record was written by an earlier version, without what the decision depended on"
	unverifiedNoRequest     = "the record has no request"
	unverifiedNoDecision    = "the record has no decision"
	unverifiedUnknownInputs = "the record was written by a later version, or is damaged"
	unverifiedErased        = "the visitor was erased"
	unverifiedNoArchive     = "its configuration was not archived"
	unverifiedBadArchive    = "its archived configuration cannot be loaded"
	unverifiedExchange      = "its archived configuration does not have the exchange"
)

// Verify makes the decision of every record again, by the code of the bidder, with the
// archived configuration of the time and with what the record says that visitors, budgets
// and clock responded, and compares: bid or no-bid, reason, lines, creatives, prices to the
// micro, and the lines that were refused. Memory does not grow with the number of records.
// When ctx ends, the report covers the records up to then and says that it was interrupted.
func Verify(ctx context.Context, o VerifyOptions, records iter.Seq2[*events.BidRecord, error]) (*Verified, error) {
	v := &verifier{o: &o, r: &Verified{Differences: map[string]int{}, Unverified: map[string]int{}, NoBids: map[string]int{}, Dropped: map[string]int{}},
		decision: bidder.NewDecision()}
	for rec, err := range records {
		if ctx.Err() != nil {
			v.r.Interrupted = true
			break
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, err
		case err != nil || rec.V == 0:
			v.r.Skipped++
			continue
		}
		if err := v.record(rec); err != nil {
			return nil, err
		}
		if n := v.r.Records; o.Progress != nil && n%1_000 == 0 {
			o.Progress(n)
		}
	}
	return v.r, nil
}

// verifier is a verification in progress.
type verifier struct {
	o        *VerifyOptions
	r        *Verified
	decision *bidder.Decision
	repeated events.Decision

	repeaters []*repeater // the one that was used last is first
}

// maxRepeaters is how many configurations are kept loaded. The records of a log change
// from one to the next.
const maxRepeaters = 4

// repeater makes the decisions of one configuration again.
type repeater struct {
	activation string
	bidder     *bidder.Bidder
	recorded   *bidder.Recorded
	why        string // why it cannot
}

func (v *verifier) record(rec *events.BidRecord) error {
	v.r.Records++
	if rec.Decision != nil && len(rec.Decision.Bids) > 0 {
		v.r.Bids++
	}
	p, why := v.repeaterOf(rec)
	if why != "" {
		v.r.Unverified[why]++
		return nil
	}
	rs := p.bidder.Repeat(rec.Exchange, rec.Request, p.recorded, v.decision)
	v.decision.Describe(&v.repeated, &rs)
	if p.recorded.Erased() {
		v.r.Unverified[unverifiedErased]++
		return nil
	}
	v.r.Verified++
	v.count(rec.Decision)
	what := differs(rec.Decision, &v.repeated)
	if what == "" {
		v.r.Same++
		return nil
	}
	cause := v.cause(what, rec, p)
	v.r.Differences[cause]++
	if v.o.Differ == nil {
		return nil
	}
	return v.o.Differ(VerifyDifference{N: v.r.Records, TS: rec.TS, Exchange: rec.Exchange, Cause: cause, Recorded: *rec.Decision, Repeated: v.repeated})
}

// cause names what differs, and what may have caused it.
func (v *verifier) cause(what string, rec *events.BidRecord, p *repeater) string {
	switch lacks := p.recorded.Lacks(); {
	case rec.Build != v.o.Build:
		return fmt.Sprintf("%s, decided by build %s and repeated by %s", what, rec.Build, v.o.Build)
	case lacks != "":
		return what + ", and the record lacks " + lacks
	}
	return what
}

// repeaterOf returns what makes the decision of a record again, or why it cannot be.
func (v *verifier) repeaterOf(rec *events.BidRecord) (p *repeater, why string) {
	switch {
	case len(rec.Inputs) == 0:
		return nil, unverifiedNoInputs
	case rec.Activation == "":
		return nil, unverifiedNoArchive
	}
	if p = v.repeater(rec.Activation); p.why != "" {
		return nil, p.why
	}
	switch err := p.recorded.Load(rec); {
	case errors.Is(err, bidder.ErrNoRequest):
		return nil, unverifiedNoRequest
	case errors.Is(err, bidder.ErrNoDecision):
		return nil, unverifiedNoDecision
	case err != nil:
		return nil, unverifiedUnknownInputs
	case p.bidder.Catalog().Exchanges[rec.Exchange] == nil:
		return nil, unverifiedExchange
	}
	return p, ""
}

// repeater returns the repeater of an activation.
func (v *verifier) repeater(activation string) *repeater {
	i := slices.IndexFunc(v.repeaters, func(p *repeater) bool { return p.activation == activation })
	if i == 0 {
		return v.repeaters[0]
	}
	var p *repeater
	if i > 0 {
		p = v.repeaters[i]
		v.repeaters = slices.Delete(v.repeaters, i, i+1)
	} else {
		p = v.newRepeater(activation)
	}
	v.repeaters = slices.Insert(v.repeaters[:min(len(v.repeaters), maxRepeaters-1)], 0, p)
	return p
}

func (v *verifier) newRepeater(activation string) *repeater {
	p := &repeater{activation: activation, recorded: bidder.NewRecorded()}
	c, err := v.o.Catalog(activation)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.why = unverifiedNoArchive
		return p
	case err != nil:
		p.why = unverifiedBadArchive + ": " + err.Error()
		return p
	}
	p.bidder = bidder.New(bidder.Options{Visitors: p.recorded, Budgets: p.recorded, Links: links{}, Clock: func() time.Time { return time.Time{} }})
	p.bidder.Swap(c)
	return p
}

// count counts a verified decision.
func (v *verifier) count(d *events.Decision) {
	if len(d.Bids) == 0 {
		v.r.NoBids[d.NoBid.String()]++
	}
	for i := range d.Dropped {
		if r := d.Dropped[i].Reason; r != rtb.NoBidNone {
			v.r.Dropped[r.String()]++
		}
	}
}

// differs returns what differs first between a recorded decision and the same one made
// again; empty if they are the same.
func differs(a, b *events.Decision) string {
	switch {
	case len(a.Bids) == 0 && len(b.Bids) > 0:
		return "bids instead of " + a.NoBid.String()
	case len(a.Bids) > 0 && len(b.Bids) == 0:
		return b.NoBid.String() + " instead of a bid"
	case a.NoBid != b.NoBid:
		return b.NoBid.String() + " instead of " + a.NoBid.String()
	case a.Code != b.Code:
		return "code"
	case len(a.Bids) != len(b.Bids):
		return "number of bids"
	}
	for i := range a.Bids {
		x, y := &a.Bids[i], &b.Bids[i]
		switch {
		case x.ImpID != y.ImpID:
			return "impression"
		case x.Advertiser != y.Advertiser || x.Campaign != y.Campaign || x.Line != y.Line:
			return "line"
		case x.Creative != y.Creative:
			return "creative"
		case x.Item != y.Item:
			return "product"
		case x.Deal != y.Deal:
			return "deal"
		case x.Price != y.Price:
			return "price"
		case x.Value != y.Value:
			return "value"
		case x.Reserved != y.Reserved:
			return "reservation"
		}
	}
	if !sameDrops(a, b) {
		return "refused lines"
	}
	return ""
}

// sameDrops compares the lines that were refused, whatever their order.
func sameDrops(a, b *events.Decision) bool {
	x, y := refused(a), refused(b)
	return slices.Equal(x, y)
}

func refused(d *events.Decision) []events.DecisionDrop {
	list := slices.DeleteFunc(slices.Clone(d.Dropped), func(x events.DecisionDrop) bool { return x.Reason == rtb.NoBidNone })
	slices.SortFunc(list, func(a, b events.DecisionDrop) int {
		return cmp.Or(cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.ImpID, b.ImpID), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// Exact reports whether every decision that can be made again is the recorded one, and
// there is at least one.
func (r *Verified) Exact() bool { return r.Verified > 0 && r.Same == r.Verified && !r.Interrupted }

// WriteJSON writes the report as indented JSON with keys in a fixed order.
func (r *Verified) WriteJSON(w io.Writer) error { return writeJSON(w, r) }

// WriteText writes the report as text for people.
func (r *Verified) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("%d records, %d of them with bids", r.Records, r.Bids)
	pct := 0.0
	if r.Verified > 0 {
		pct = 100 * float64(r.Same) / float64(r.Verified)
	}
	p.line("%d decisions made again: %d are exactly the recorded ones (%.4f %%), %d differ", r.Verified, r.Same, pct, r.Verified-r.Same)
	p.list("differences", r.Differences)
	if n := sum(r.Unverified); n > 0 {
		p.line("%d decisions cannot be made again", n)
		p.list("why", r.Unverified)
	}
	p.list("no-bids that were verified", r.NoBids)
	p.list("refused lines that were verified", r.Dropped)
	if r.Skipped > 0 {
		p.line("%d lines skipped: they are no bid records", r.Skipped)
	}
	if r.Interrupted {
		p.line("interrupted: the report covers the records before")
	}
	return p.err
}

func sum(m map[string]int) (n int) {
	for _, x := range m {
		n += x
	}
	return n
}

// printer writes lines until the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// list writes counts, the largest first.
func (p *printer) list(title string, m map[string]int) {
	if len(m) == 0 {
		return
	}
	p.line("%s:", title)
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	for _, k := range keys {
		p.line("  %8d  %s", m[k], k)
	}
}
