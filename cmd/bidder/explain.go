package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/bidder"
	"rebound/campaigns"
	"rebound/config"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/internal/spec"
	"rebound/pacing"
	"rebound/rtb"
)

// explanation describes how one request was decided.
type explanation struct {
	Exchange string          `json:"exchange"`
	At       time.Time       `json:"at"`
	Status   int             `json:"status"`
	NoBid    rtb.NoBidReason `json:"nobid,omitempty"`
	NBR      int             `json:"nbr,omitempty"`
	Read     requestSummary  `json:"request"`
	Privacy  privacySummary  `json:"privacy"`
	Visitor  *rtb.Visitor    `json:"visitor"` // null: not looked up, or unknown
	Decision events.Decision `json:"decision"`
	// Frequency says, by line, how often its ad may be shown to the visitor.
	Frequency map[string]string `json:"frequency,omitempty"`
	// Reasons explains every no-bid reason above and what to do about it.
	Reasons map[string]reasonText `json:"reasons,omitempty"`
}

// reasonText explains a no-bid reason.
type reasonText struct {
	Meaning string `json:"meaning"`
	Remedy  string `json:"remedy"`
}

// requestSummary describes the decoded request without any identifier.
type requestSummary struct {
	ID    string   `json:"id"`
	TMax  string   `json:"tmax,omitempty"`
	Kinds []string `json:"identifiers"` // kinds of the identifiers in the request
	Imps  int      `json:"impressions"` // 0 if not read
	Test  bool     `json:"test,omitempty"`
}

type privacySummary struct {
	Level  rtb.Level `json:"level"`
	Signal string    `json:"signal,omitempty"`
}

// explain decides a request in a dry run and describes how. With a line, only that
// line's bids and drops are included.
func explain(b *bidder.Bidder, exchange string, body []byte, now time.Time, line string) *explanation {
	d := bidder.NewDecision()
	rs := b.DryRun(&bidder.Request{Exchange: exchange, Body: body, Arrival: now}, d)
	o := d.Opportunity()
	x := &explanation{Exchange: exchange, At: now.UTC(), Status: rs.Status, NoBid: rs.Reason, NBR: rs.Reason.NBR(), Visitor: d.Visitor()}
	x.Read = requestSummary{ID: string(o.ID), Test: o.Test, Kinds: []string{}}
	if o.TMax > 0 {
		x.Read.TMax = o.TMax.String()
	}
	for i := range o.IDs {
		kind := idName(&o.IDs[i])
		if !slices.Contains(x.Read.Kinds, kind) {
			x.Read.Kinds = append(x.Read.Kinds, kind)
		}
	}
	p := d.Permissions()
	x.Privacy = privacySummary{p.Level, p.Signal}
	if d.Outcome() != nil {
		x.Read.Imps = len(o.Imps)
	}
	d.Describe(&x.Decision, &rs)
	if line != "" {
		x.Decision.Bids = slices.DeleteFunc(x.Decision.Bids, func(b events.DecisionBid) bool { return b.Line != line })
		x.Decision.Dropped = slices.DeleteFunc(x.Decision.Dropped, func(d events.DecisionDrop) bool { return d.Line != line })
	}
	x.describeReasons()
	if out := d.Outcome(); out != nil && d.Visitor() != nil {
		x.describeFrequency(out, line)
	}
	return x
}

// describeFrequency describes the frequency caps of the lines that were considered.
func (x *explanation) describeFrequency(out *bidder.Outcome, only string) {
	x.Frequency = map[string]string{}
	add := func(l *campaigns.Line) {
		if l != nil && (only == "" || only == l.ID.Line) {
			x.Frequency[l.ID.String()] = frequencyText(l.Frequency)
		}
	}
	for i := range out.Bids {
		add(out.Bids[i].Line)
	}
	for i := range out.Drops {
		add(out.Drops[i].Line)
	}
}

// frequencyText describes caps: those of the line first, then those of its campaign
// and its advertiser.
func frequencyText(caps []rtb.FrequencyCap) string {
	var parts []string
	gap := time.Duration(0)
	for i := range caps {
		c := &caps[i]
		gap = max(gap, c.MinGap)
		if c.Max < campaigns.Unlimited {
			parts = append(parts, fmt.Sprintf("at most %d per %s", c.Max, spec.FormatDuration(c.Per)))
		}
	}
	if gap > 0 {
		parts = append(parts, fmt.Sprintf("%s between two impressions (min_gap)", spec.FormatDuration(gap)),
			fmt.Sprintf("at most %d unanswered bids within %s", pacing.MaxInFlight, spec.FormatDuration(pacing.FlightWindow)))
	}
	if len(parts) == 0 {
		return "no cap"
	}
	return strings.Join(parts, ", ")
}

// describeReasons explains the reasons of the request and of its lines.
func (x *explanation) describeReasons() {
	list := []rtb.NoBidReason{x.NoBid}
	for i := range x.Decision.Dropped {
		list = append(list, x.Decision.Dropped[i].Reason)
	}
	for _, r := range list {
		if r == rtb.NoBidNone {
			continue
		}
		if x.Reasons == nil {
			x.Reasons = map[string]reasonText{}
		}
		x.Reasons[r.String()] = reasonText{r.Meaning(), r.Remedy()}
	}
}

func idName(id *rtb.ExternalID) string {
	switch id.Kind {
	case rtb.IDVisitor:
		return "buyeruid"
	case rtb.IDEID:
		return "eid " + string(id.Scope)
	case rtb.IDIFA:
		return "ifa"
	}
	return "user.id"
}

// write writes the explanation in the order in which the decision was made.
func (x *explanation) write(w io.Writer) {
	fmt.Fprintf(w, "request %s at %s, %s\n", x.Read.ID, x.Exchange, x.At.Format(time.RFC3339))
	fmt.Fprintf(w, "  identifiers: %s\n", orNone(strings.Join(x.Read.Kinds, ", ")))
	privacy := x.Privacy.Level.String()
	if x.Privacy.Signal != "" {
		privacy += ", by " + x.Privacy.Signal
	}
	fmt.Fprintf(w, "  privacy: %s\n", privacy)
	switch {
	case x.Visitor == nil:
		fmt.Fprintln(w, "  visitor: unknown, or not looked up")
	default:
		fmt.Fprintf(w, "  visitor: known, %d segments\n", len(x.Visitor.Segments))
	}
	for i := range x.Decision.Bids {
		b := &x.Decision.Bids[i]
		f := &b.Factors
		fmt.Fprintf(w, "  bid on %s: line %s/%s/%s, creative %s at %s, floor %s\n", b.ImpID, b.Advertiser, b.Campaign, b.Line, b.Creative, b.Price, f.Floor)
		fmt.Fprintf(w, "    cpm %s x recency %g x intensity %g = value %s; pacing %g, shading %.4g, rate %g, chance to win %.2g\n",
			f.CPM, f.Recency, f.Intensity, b.Value, f.Multiplier, f.Shading, f.Rate, f.Chance)
		if b.Item != "" {
			fmt.Fprintf(w, "    product %s\n", b.Item)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.Frequency)) {
		fmt.Fprintf(w, "  frequency of %s: %s\n", name, x.Frequency[name])
	}
	for i := range x.Decision.Dropped {
		fmt.Fprintln(w, "  "+dropText(&x.Decision.Dropped[i]))
	}
	if x.NoBid != rtb.NoBidNone {
		fmt.Fprintf(w, "  no bid: %s (nbr %d), status %d\n", x.NoBid, x.NBR, x.Status)
	}
	for _, name := range slices.Sorted(maps.Keys(x.Reasons)) {
		r := x.Reasons[name]
		fmt.Fprintf(w, "%s: %s\n  what to do: %s\n", name, r.Meaning, r.Remedy)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// explainRequest is the body of POST /admin/explain.
type explainRequest struct {
	Exchange string          `json:"exchange"`
	Line     string          `json:"line"`
	Request  json.RawMessage `json:"request"`
}

// explainNow handles POST /admin/explain: it describes how a request would be
// decided now, with the current visitors and budgets. Nothing is reserved or
// counted.
func (a *app) explainNow(ctx *fasthttp.RequestCtx) {
	var o explainRequest
	if err := json.Unmarshal(ctx.PostBody(), &o); err != nil || len(o.Request) == 0 {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", `want {"exchange":"<id>","request":{...},"line":"<optional>"}`)
		return
	}
	if a.profile(o.Exchange) == nil {
		ids := exchangeIDs(a.snapshot.Load().Profiles)
		sendError(ctx, fasthttp.StatusBadRequest, "bad_exchange", fmt.Sprintf("exchange: got %q; want one of %s", o.Exchange, strings.Join(ids, ", ")))
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, explain(a.bidder, o.Exchange, o.Request, a.now(), o.Line))
}

// diff prints what one configuration changes compared with another, and exits with
// 1 when there is a change.
func (p *program) diff(_ context.Context, args []string) int {
	fs := p.flags("diff")
	path := fs.String("config", cli.Sample, "configuration `file`")
	against := fs.String("against", "", "configuration `file` to compare with; required")
	if status, done := p.parse(fs, args); done {
		return status
	}
	if *against == "" {
		fmt.Fprintln(p.stderr, "diff: got no --against; want the configuration file to compare with")
		return cli.ExitUsage
	}
	before, err := cli.LoadConfig(*against, config.Options{Getenv: p.getenv, Now: p.now()})
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	after, err := cli.LoadConfig(*path, config.Options{Getenv: p.getenv, Now: p.now()})
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	changes := config.Diff(before, after)
	for _, c := range changes {
		fmt.Fprintln(p.stdout, c)
	}
	for _, r := range config.Risks(before, after) {
		fmt.Fprintln(p.stderr, "warning: "+r.String())
	}
	if len(changes) > 0 {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// schema prints the JSON Schema of the configuration file.
func (p *program) schema(_ context.Context, args []string) int {
	if status, done := p.parse(p.flags("schema"), args); done {
		return status
	}
	schema, err := config.Schema()
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	b, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintf(p.stdout, "%s\n", b)
	return cli.ExitDone
}
