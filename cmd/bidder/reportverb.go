package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rebound/config"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/internal/longrun"
	"rebound/internal/spec"
	"rebound/journal"
	"rebound/reports"
	"rebound/rtb"
)

// reportFlags are the flags of bidder report.
type reportFlags struct {
	config, data, facts, bids    string
	dims, metrics, format, zone  string
	from, to, advertiser, output string
	statement                    string
	where                        []string
	limit                        int
	scan                         bool
}

func (f *reportFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.config, "config", cli.Sample, "configuration `file`, for the advertisers' time zones")
	fs.StringVar(&f.data, "data", "", "data `folder` (default: the configuration's, ./data); it may be in use")
	fs.StringVar(&f.facts, "facts", "", "`folder` of the facts (default: the configuration's, or log/facts in --data)")
	fs.StringVar(&f.bids, "bids", "", "`folder` of the bid log (default: the configuration's, or log/bids in --data)")
	fs.StringVar(&f.dims, "dims", "", "`dimensions` of a report of your own, separated by commas, such as day,line")
	fs.StringVar(&f.metrics, "metrics", "", "its `metrics`, such as bids,wins,spend,ctr")
	fs.StringVar(&f.from, "from", "", "begin: a `time`, a date such as 2026-10-01, or how long ago, such as 7d (default: 30 days ago)")
	fs.StringVar(&f.to, "to", "", "end, exclusive: a `time`, a date (the whole day counts), or how long ago (default: now)")
	fs.StringVar(&f.zone, "tz", "", "time `zone` of days and dates (default: that of --advertiser, or of the only advertiser, else UTC)")
	fs.StringVar(&f.advertiser, "advertiser", "", "only of this advertiser; its `id`")
	fs.StringVar(&f.format, "format", "table", "`format`: table, csv, json or html")
	fs.StringVar(&f.output, "out", "", "`file` to write (default: standard output)")
	fs.StringVar(&f.statement, "statement", "", "for reconcile: CSV `file` of the exchange with the columns day, imps and spend, and optionally exchange")
	fs.IntVar(&f.limit, "limit", 0, "at most `N` rows (default: all)")
	fs.BoolVar(&f.scan, "scan", false, "read the whole logs for --dims that no rollup holds together; this takes minutes")
	fs.Func("where", "only rows with `DIMENSION:eq:VALUE` (also ne, in, nin; values of the last two are separated by |); may be repeated", func(v string) error {
		f.where = append(f.where, v)
		return nil
	})
}

// report prints a report from the logs of a data folder, which may be in use.
func (p *program) report(ctx context.Context, args []string) int {
	var f reportFlags
	fs := p.flags("report")
	f.register(fs)
	usage := fs.Usage
	fs.Usage = func() {
		usage()
		fmt.Fprintln(fs.Output(), "\nreports:")
		for _, n := range reports.Names() {
			fmt.Fprintf(fs.Output(), "  %-18s %s\n", n[0], n[1])
		}
	}
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if status, done := p.parse(fs, args); done {
		return status
	}
	if (name == "") == (f.dims == "" && f.metrics == "") {
		fmt.Fprintln(p.stderr, "cannot report: want the name of a report, or --metrics; bidder report -h lists them")
		return cli.ExitUsage
	}
	if !slices.Contains(reports.Formats, f.format) {
		fmt.Fprintf(p.stderr, "cannot report: got --format %s; want one of %s\n", f.format, strings.Join(reports.Formats, ", "))
		return cli.ExitUsage
	}
	if err := p.runReport(ctx, name, &f); err != nil {
		fmt.Fprintln(p.stderr, err)
		if errors.Is(err, reports.ErrUnknown) {
			return cli.ExitUsage
		}
		return cli.ExitFailed
	}
	return cli.ExitDone
}

func (p *program) runReport(ctx context.Context, name string, f *reportFlags) error {
	s, _, err := p.load(&serveFlags{config: f.config, data: f.data}, nil)
	if err != nil {
		return err
	}
	if f.facts == "" {
		f.facts = s.Logs.Facts.Dir
	}
	if f.bids == "" {
		f.bids = s.Logs.Bids.Dir
	}
	if _, err := os.Stat(f.facts); err != nil {
		return fmt.Errorf("cannot report: got no log at %s; want --data with the data folder of a bidder: %w", f.facts, err)
	}
	q, err := reportQuery(s, f, p.now())
	if err != nil {
		return err
	}
	o := reportOptions(s, f.bids, func(ctx context.Context, after events.Position, fn func([]events.Fact) error) error {
		return journal.ReadFolderAfter(ctx, f.facts, after, fn)
	})
	var bar longrun.Bar
	if isTerminal(p.stderr) {
		bar = longrun.Bar{W: p.stderr, Now: p.now}
	}
	o.Progress = func(c reports.Progress) {
		if c.Facts > 0 {
			bar.Show(longrun.Step{What: "facts", Done: int(c.Facts)})
		} else {
			bar.Show(longrun.Step{What: "bid records", Done: int(c.Records)})
		}
	}
	broken := 0
	o.Broken = func(err error) {
		if broken++; broken <= maxWarned {
			fmt.Fprintf(p.stderr, "skipped: %v\n", err)
		}
	}
	var r *reports.Report
	if f.scan {
		r, err = reports.Scan(ctx, o, q)
	} else {
		r, err = p.storedReport(ctx, name, f, o, q)
	}
	bar.End()
	if err != nil {
		return err
	}
	if f.output == "" {
		return r.Write(p.stdout, f.format)
	}
	out, err := os.Create(f.output)
	if err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return errors.Join(r.Write(out, f.format), out.Close())
}

// storedReport updates the rollups of the data folder and reads a report from them. If a
// running bidder keeps them locked, what it has counted is reported.
func (p *program) storedReport(ctx context.Context, name string, f *reportFlags, o reports.Options, q reports.Query) (*reports.Report, error) {
	store, err := reports.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // everything is committed
	if _, err := store.Update(ctx); errors.Is(err, reports.ErrBusy) {
		fmt.Fprintln(p.stderr, "the rollups are being built by another process; the report shows what they have")
	} else if err != nil {
		return nil, err
	}
	if name == "" {
		return store.Custom(ctx, q)
	}
	r, err := store.Canned(ctx, name, q)
	if err != nil || f.statement == "" {
		return r, err
	}
	in, err := os.Open(f.statement)
	if err != nil {
		return nil, fmt.Errorf("cannot read statement: %w", err)
	}
	defer in.Close() //nolint:errcheck // it is only read
	return r, r.AddStatement(in)
}

// reportOptions returns where the rollups of a data folder are, and how their hours begin.
func reportOptions(s *config.Snapshot, bids string, facts func(context.Context, events.Position, func([]events.Fact) error) error) reports.Options {
	o := reports.Options{Path: filepath.Join(s.Data.Dir, "reports", "rollups.db"), BidDir: bids, Keep: s.Privacy.NoticeTTL + time.Hour}
	o.Facts = func(ctx context.Context, after events.Position, fn func([]events.Fact) error) error {
		err := facts(ctx, after, fn)
		var gone *journal.GoneError
		if errors.As(err, &gone) && gone.First > 0 { // older facts were deleted before they were counted
			err = facts(ctx, events.Position{}, fn)
		}
		if errors.Is(err, journal.ErrElsewhere) {
			return fmt.Errorf("%w: %w", reports.ErrElsewhere, err)
		}
		return err
	}
	for _, a := range s.Index.Advertisers() {
		for _, month := range []time.Month{time.January, time.July} { // with and without daylight saving time
			if _, offset := time.Date(2026, month, 1, 0, 0, 0, 0, a.Zone).Zone(); offset%3600 != 0 {
				o.Quarters = true
			}
		}
	}
	return o
}

// reportQuery reads the parameters that all reports have.
func reportQuery(s *config.Snapshot, f *reportFlags, now time.Time) (q reports.Query, err error) {
	list := s.Index.Advertisers()
	q = reports.Query{Dims: names(f.dims), Metrics: names(f.metrics), Advertiser: f.advertiser, Limit: f.limit, Zone: time.UTC}
	switch a := s.Index.Advertiser(f.advertiser); {
	case f.zone != "":
		if q.Zone, err = time.LoadLocation(f.zone); err != nil || f.zone == "Local" {
			return q, fmt.Errorf("cannot read time zone: got %q; want a name such as America/Toronto", f.zone)
		}
	case f.advertiser != "" && a == nil:
		return q, fmt.Errorf("cannot report: got advertiser %q; the configuration has no such advertiser", f.advertiser)
	case a != nil:
		q.Zone = a.Zone
	case len(list) == 1:
		q.Zone = list[0].Zone
	}
	for _, text := range f.where {
		w, err := reports.ParseFilter(text)
		if err != nil {
			return q, err
		}
		q.Where = append(q.Where, w)
	}
	today := rtb.DayOf(now, q.Zone)
	q.From, q.To = (today - 30).Start(q.Zone), now.Truncate(time.Hour).Add(time.Hour)
	if f.from != "" {
		if q.From, err = reportTime("from", f.from, now, q.Zone, 0); err != nil {
			return q, err
		}
	}
	if f.to != "" {
		if q.To, err = reportTime("to", f.to, now, q.Zone, 1); err != nil {
			return q, err
		}
	}
	if !q.From.Before(q.To) {
		return q, fmt.Errorf("cannot report from %s to %s: want a begin before the end", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	}
	return q, nil
}

func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// reportTime parses the begin or the end of a range. A date is the begin of the day that
// many days later.
func reportTime(name, text string, now time.Time, zone *time.Location, later rtb.Day) (time.Time, error) {
	var day rtb.Day
	if day.UnmarshalText([]byte(text)) == nil {
		return (day + later).Start(zone), nil
	}
	if d, err := spec.ParseDuration(text); err == nil {
		t := now.Add(-d).Truncate(time.Hour)
		if later > 0 {
			t = t.Add(time.Hour)
		}
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("cannot read %s: got %q; want a date such as 2026-10-01, a time such as 2026-10-01T12:00:00Z, or a duration such as 7d", name, text)
	}
	return t, nil
}
