package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"rebound/internal/cli"
	"rebound/internal/longrun"
	"rebound/replay"
	"rebound/rtb"
)

// generate makes a day of traffic for the lines of a configuration.
func generate(ctx context.Context, args []string, stderr io.Writer) int {
	fs := flag.NewFlagSet("replay generate", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var (
		config   = fs.String("config", "", "configuration `file`; empty: the sample shop")
		out      = fs.String("out", "day.ndjson", "`file` to write")
		exchange = fs.String("exchange", "demo", "exchange `id`")
		date     = fs.String("date", "2026-10-01", "the day, in the first advertiser's time zone")
		requests = fs.Int("requests", 100_000, "how many requests from visitors of the lines")
		price    = fs.Float64("price", 1.0, "median of the highest competing bid, CPM")
		seed     = fs.Uint64("seed", 1, "the same seed makes the same day")
	)
	fs.Usage = func() {
		fmt.Fprint(stderr, "replay generate makes one day of bid records with a market, for the lines of a configuration.\n\nExample:\n"+
			"  replay generate --out day.ndjson --requests 100000\n\nFlags:\n")
		fs.PrintDefaults()
	}
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return cli.ExitDone
	}
	switch {
	case err != nil:
	case fs.NArg() > 0:
		err = fmt.Errorf("cannot read flags: got the word %q; want flags only", fs.Arg(0))
	case *out == "":
		err = errors.New("cannot use --out: want a file")
	case *requests < 1 || *requests > maxRequests:
		err = fmt.Errorf("cannot use --requests: got %d; want 1 to %d", *requests, maxRequests)
	case !(*price >= minPrice && *price <= maxPrice): // NaN too
		err = fmt.Errorf("cannot use --price: got %g; want %g to %d CPM", *price, minPrice, maxPrice)
	}
	if err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return cli.ExitUsage
	}
	d := &replay.Day{Exchange: *exchange, Requests: *requests, Price: rtb.CPM(*price * 1e6), Seed: *seed}
	if err := makeDay(ctx, *config, *out, *date, d, stderr); err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		if errors.As(err, new(usageError)) {
			return cli.ExitUsage
		}
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// Limits of the flags.
const (
	maxRequests = 20_000_000
	minPrice    = 0.001 // CPM
	maxPrice    = 1000
)

// makeDay writes a day for the configuration.
func makeDay(ctx context.Context, config, out, date string, d *replay.Day, stderr io.Writer) error {
	s, err := load(config)
	if err != nil {
		return err
	}
	d.Index = s.Index
	if len(s.Index.Advertisers()) == 0 {
		return errors.New("cannot make a day: got no advertiser in the configuration; want at least one")
	}
	if s.Profiles[d.Exchange] == nil {
		return usageError{fmt.Errorf("cannot use --exchange: got %q; want one that the configuration has: %s", d.Exchange, strings.Join(slices.Sorted(maps.Keys(s.Profiles)), ", "))}
	}
	var day rtb.Day
	if err := day.UnmarshalText([]byte(date)); err != nil || date == "" {
		return usageError{fmt.Errorf("cannot read --date: got %q; want a day such as 2026-10-01", date)}
	}
	d.Start = day.Start(s.Index.Advertisers()[0].Zone)
	var outputs longrun.Outputs
	outputs.Add("out", out)
	if err := outputs.Check(config); err != nil {
		return err
	}
	bar := progressTo(stderr)
	d.Progress = func(done int, share float64) error {
		bar.Show(longrun.Step{What: "requests", Done: done, Share: share})
		return ctx.Err()
	}
	err = longrun.WriteFile(out, d.Write)
	bar.End()
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted: %s has only the beginning of the day", out)
	}
	return errors.Join(err, outputs.Discard())
}
