package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/events"
	"rebound/internal/cli"
	"rebound/journal"
	"rebound/pacing"
	"rebound/rtb"
)

const adjustmentsPath = "/admin/adjustments"

// adjustmentOrder is one element of the body of POST /admin/adjustments.
type adjustmentOrder struct {
	ID         string       `json:"id"`
	Advertiser string       `json:"advertiser"`
	Currency   rtb.Currency `json:"currency"`
	Budget     rtb.BudgetID `json:"budget"`
	Exchange   string       `json:"exchange"`
	Day        rtb.Day      `json:"day"` // of the report
	Amount     rtb.Micros   `json:"amount_micros"`
}

// reconcile compares an exchange's report with the bills in the log, and books the
// difference in a running bidder.
func (p *program) reconcile(ctx context.Context, args []string) int {
	fs := p.flags("reconcile")
	data := fs.String("data", "./data", "data `folder`; it may be in use")
	exchange := fs.String("exchange", "", "`id` of the exchange whose report it is")
	zone := fs.String("zone", "UTC", "time `zone` of the report's days, such as America/New_York")
	currency := fs.String("currency", "", "`currency` of rows without one (default: the advertiser's)")
	apply := fs.Bool("apply", false, "book the differences in the running bidder; without it they are only shown")
	admin := p.adminFlag(fs)
	name, status, done := p.parseWithFile(fs, args)
	if done {
		return status
	}
	fail := func(err error) int {
		fmt.Fprintln(p.stderr, fmt.Errorf("cannot reconcile: %w", err))
		return cli.ExitFailed
	}
	loc, err := time.LoadLocation(*zone)
	if err != nil || *exchange == "" || name == "" {
		fmt.Fprintln(p.stderr, "cannot reconcile: want --exchange, a --zone of the IANA time zone database, and one CSV file")
		return cli.ExitUsage
	}
	file, err := os.Open(name)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	rows, err := readReport(file, name, *currency)
	if err != nil {
		return fail(err)
	}
	b := newReconciliation(*exchange, loc, rows)
	if err := b.readLog(&logReader{logFolders: logFolders{facts: journal.FactsDir(*data)}, warn: func(err error) { fmt.Fprintln(p.stderr, err) }}); err != nil {
		return fail(err)
	}
	orders, err := b.compare(name)
	if err != nil {
		return fail(err)
	}
	p.showReconciliation(b)
	switch {
	case len(orders) == 0:
		fmt.Fprintln(p.stdout, "nothing to book: the budgets agree with the report")
		return cli.ExitDone
	case !*apply:
		fmt.Fprintf(p.stdout, "%d adjustments to book; run it again with --apply to book them\n", len(orders))
		return cli.ExitDone
	}
	for part := range slices.Chunk(orders, maxAdjustments) {
		body, err := json.Marshal(part)
		if err == nil {
			_, err = p.adminClient(*admin).call(ctx, http.MethodPost, adjustmentsPath, body)
		}
		if err != nil {
			return fail(fmt.Errorf("%w; what was booked before stays booked, and the same command books the rest", err))
		}
	}
	fmt.Fprintf(p.stdout, "%d adjustments booked\n", len(orders))
	return cli.ExitDone
}

// showReconciliation prints a row for each day and line of the report.
func (p *program) showReconciliation(b *reconciliation) {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "day\tline\tbilled\tnotified\tdifference\tfactor\t")
	for _, x := range b.results {
		line, factor := cmp.Or(x.line, "(all)"), "-"
		if x.notified > 0 {
			factor = fmt.Sprintf("%.4f", float64(x.billed)/float64(x.notified))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t\n", x.day, line, x.billed, x.notified, x.billed-x.notified, factor)
	}
	w.Flush()
	for _, text := range b.warnings {
		fmt.Fprintln(p.stderr, text)
	}
}

// maxAdjustments bounds one request to book adjustments.
const maxAdjustments = 500

// adjust handles POST /admin/adjustments: it books what an exchange's report shows beyond
// its notices. A repeated id changes nothing.
func (a *app) adjust(ctx *fasthttp.RequestCtx) {
	var orders []adjustmentOrder
	if got := readOrder(ctx.PostBody(), &orders); got != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", got+`; want a list, which bidder reconcile sends`)
		return
	}
	if len(orders) == 0 || len(orders) > maxAdjustments {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_adjustments", fmt.Sprintf("got %d adjustments; want 1 to %d", len(orders), maxAdjustments))
		return
	}
	now, profiles := a.now(), a.snapshot.Load().Profiles
	facts := make([]events.Fact, 0, len(orders))
	for i := range orders {
		o := &orders[i]
		if msg := o.check(); msg != "" || profiles[o.Exchange] == nil {
			sendError(ctx, fasthttp.StatusBadRequest, "bad_adjustment", fmt.Sprintf("[%d]: %s", i, cmp.Or(msg, fmt.Sprintf("exchange: got %q; want a configured one", o.Exchange))))
			return
		}
		facts = append(facts, events.Fact{
			V: 1, ID: o.ID, At: now, Kind: events.KindAdjust, Advertiser: o.Advertiser, Currency: o.Currency,
			Adjustment: &events.Adjustment{Budget: o.Budget, Exchange: o.Exchange, Day: o.Day, Amount: o.Amount, Reason: pacing.ReasonReport},
		})
	}
	wait, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.journal.Append(wait, facts...); err != nil {
		a.log.Error("adjustments were not stored", zap.Int("adjustments", len(facts)), zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the log did not accept all of them: send them again")
		return
	}
	a.log.Warn("an exchange's report was booked", zap.String("exchange", orders[0].Exchange), zap.Int("adjustments", len(facts)))
	sendJSON(ctx, fasthttp.StatusOK, map[string]int{"stored": len(facts)})
}

// check returns what is wrong with an adjustment; empty if nothing is.
func (o *adjustmentOrder) check() string {
	const most = 1_000_000_000_000_000 // a billion in major units
	switch {
	case !strings.HasPrefix(o.ID, reportID) || len(o.ID) > 512:
		return fmt.Sprintf("id: got %.40q; want at most 512 bytes that begin with %s", o.ID, reportID)
	case o.Budget.Advertiser == "" || o.Budget.Advertiser != o.Advertiser || o.Budget.Imps:
		return fmt.Sprintf("budget: got %s; want one of money of advertiser %q", o.Budget, o.Advertiser)
	case o.Currency.IsZero():
		return "currency: got none; want the advertiser's"
	case o.Amount == 0 || o.Amount > most || o.Amount < -most:
		return fmt.Sprintf("amount_micros: got %d; want an amount other than 0", int64(o.Amount))
	}
	return ""
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[K comparable, V any](m map[K]V, text func(K) string) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int { return cmp.Compare(text(a), text(b)) })
}
