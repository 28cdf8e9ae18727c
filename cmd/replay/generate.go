package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"rebound/internal/cli"
	"rebound/replay"
	"rebound/rtb"
)

// generate makes a day of traffic for the lines of a configuration.
func generate(args []string, stderr io.Writer) int {
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
	if err != nil || fs.NArg() > 0 || *requests <= 0 || *price <= 0 {
		fmt.Fprintln(stderr, "replay: cannot generate: want flags only, and --requests and --price above zero")
		return cli.ExitUsage
	}
	if err := makeDay(*config, *out, *date, &replay.Day{Exchange: *exchange, Requests: *requests, Price: rtb.CPM(*price * 1e6), Seed: *seed}); err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return cli.ExitFailed
	}
	return cli.ExitDone
}

func makeDay(config, out, date string, d *replay.Day) error {
	s, err := load(config)
	if err != nil {
		return err
	}
	d.Index = s.Index
	if len(s.Index.Advertisers()) == 0 {
		return errors.New("cannot make a day: got no advertiser in the configuration; want at least one")
	}
	if d.Start, err = time.ParseInLocation(time.DateOnly, date, s.Index.Advertisers()[0].Zone); err != nil {
		return fmt.Errorf("cannot read --date: got %q; want a day such as 2026-10-01: %w", date, err)
	}
	return writeFile(out, d.Write)
}
