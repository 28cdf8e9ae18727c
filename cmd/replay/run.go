package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"rebound/config"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/replay"
	"rebound/rtb"
	"rebound/segments"
)

type runFlags struct {
	config, against    string
	bids, facts, keys  string
	exchange, only     string
	from, to, at       string
	spacing            time.Duration
	delay              time.Duration
	lost               float64
	seed               uint64
	report, html, diff string
}

func parseRun(args []string, stderr io.Writer) (*runFlags, error) {
	f := &runFlags{}
	fs := flag.NewFlagSet("replay run", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&f.config, "config", "", "configuration `file`; empty: the sample shop")
	fs.StringVar(&f.against, "against", "", "second configuration `file`, run over the same traffic")
	fs.StringVar(&f.bids, "bids", "", "`files` of bid records or bare requests, one a line (a glob; .zst is read too)")
	fs.StringVar(&f.facts, "facts", "", "`files` of archived facts, for visitors of records that carry no profile")
	fs.StringVar(&f.keys, "keys", "", "keys.json `file` of the data folder that the facts come from; needed to find bare requests' visitors in them")
	fs.StringVar(&f.exchange, "exchange", "demo", "exchange `id` of bare requests")
	fs.StringVar(&f.only, "only", "", "replay records of this exchange `id` only")
	fs.StringVar(&f.from, "from", "", "skip records before this `time`, RFC 3339")
	fs.StringVar(&f.to, "to", "", "skip records at or after this `time`, RFC 3339")
	fs.StringVar(&f.at, "at", "", "`time` of the first bare request, RFC 3339; empty: the last fact's, else 2026-01-01T12:00:00Z")
	fs.DurationVar(&f.spacing, "spacing", 10*time.Millisecond, "virtual time between bare requests")
	fs.DurationVar(&f.delay, "notice-delay", 500*time.Millisecond, "virtual time from a win to its notices")
	fs.Float64Var(&f.lost, "lost-notices", 0, "share of wins whose notices never arrive, in percent")
	fs.Uint64Var(&f.seed, "seed", 1, "the same seed and input give the same report")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to this `file`")
	fs.StringVar(&f.html, "html", "", "write the report as a page with curves to this `file`")
	fs.StringVar(&f.diff, "diff", "", "with --against: write every decision that differs to this `file`, one JSON object a line")
	fs.Usage = func() {
		fmt.Fprint(stderr, "replay run decides recorded requests again, with a virtual clock, and reports.\n\nExample:\n"+
			"  replay --bids 'data/log/bids/*' --config new.yaml --report report.json --html report.html\n\nFlags:\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("cannot read flags: got the word %q; want flags only", fs.Arg(0))
	}
	if f.bids == "" {
		return nil, errors.New("cannot replay: got no --bids; want files of bid records, such as --bids 'data/log/bids/*'")
	}
	return f, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, err := parseRun(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return cli.ExitDone
	}
	if err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return cli.ExitUsage
	}
	if err := f.replay(ctx, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// replay runs and writes what was asked for.
func (f *runFlags) replay(ctx context.Context, stdout, stderr io.Writer) error {
	o, err := f.options(stderr)
	if err != nil {
		return err
	}
	if o.Store != nil {
		defer o.Store.Close()
	}
	closeDiff, err := f.openDiff(o)
	if err != nil {
		return err
	}
	report, err := replay.Run(ctx, *o, reportBad(events.ReadRecordFiles(f.bids), stderr))
	if o.Progress != nil {
		fmt.Fprint(stderr, "\r\x1b[K")
	}
	if err := errors.Join(err, closeDiff()); err != nil {
		return err
	}
	if err := report.WriteText(stdout); err != nil {
		return err
	}
	return errors.Join(writeFile(f.report, report.WriteJSON), writeFile(f.html, report.WriteHTML))
}

// options turns the flags into what a replay takes.
func (f *runFlags) options(stderr io.Writer) (*replay.Options, error) {
	o := &replay.Options{Exchange: f.exchange, Only: f.only, Spacing: f.spacing, NoticeDelay: f.delay, LostPct: f.lost, Seed: f.seed,
		Progress: progressTo(stderr), Clock: time.Now}
	var err error
	if o.Config, err = load(f.config); err != nil {
		return nil, err
	}
	if f.against != "" {
		if o.Against, err = load(f.against); err != nil {
			return nil, err
		}
	}
	for _, t := range []struct {
		name, text string
		to         *time.Time
	}{{"from", f.from, &o.From}, {"to", f.to, &o.To}, {"at", f.at, &o.At}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = time.Parse(time.RFC3339, t.text); err != nil {
			return nil, fmt.Errorf("cannot read --%s: got %q; want a time such as 2026-10-01T00:00:00Z: %w", t.name, t.text, err)
		}
	}
	return o, f.openFacts(o)
}

// openFacts makes the store that facts are folded into, and sets the time of
// bare requests after them.
func (f *runFlags) openFacts(o *replay.Options) error {
	if f.facts != "" {
		keyring, err := loadKeyring(f.keys)
		if err != nil {
			return err
		}
		if o.Store, err = segments.Open(segments.Options{InMemory: true, Keyring: keyring.ForReplay()}); err != nil {
			return err
		}
		o.Facts = events.ReadFactFiles(f.facts)
		if o.At.IsZero() {
			for fact, err := range events.ReadFactFiles(f.facts) {
				if err == nil && fact.TS.After(o.At) {
					o.At = fact.TS
				}
			}
		}
	}
	if o.At.IsZero() {
		o.At = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	}
	return nil
}

func (f *runFlags) openDiff(o *replay.Options) (closeDiff func() error, err error) {
	if f.diff == "" {
		return func() error { return nil }, nil
	}
	out, err := os.Create(f.diff)
	if err != nil {
		return nil, fmt.Errorf("cannot write differences: %w", err)
	}
	buffered := bufio.NewWriter(out)
	enc := json.NewEncoder(buffered)
	o.Differ = func(d replay.Difference) error { return enc.Encode(d) }
	return func() error { return errors.Join(buffered.Flush(), out.Close()) }, nil
}

// load reads a configuration, or the sample shop's.
func load(path string) (*config.Snapshot, error) {
	return cli.LoadConfig(path, config.Options{Getenv: os.LookupEnv})
}

// loadKeyring reads the keyring of a data folder; without a file it is the empty
// one, which finds the pseudonyms of bid records only.
func loadKeyring(path string) (*rtb.Keyring, error) {
	if path == "" {
		return rtb.NewKeyring([32]byte{}), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read keys: %w", err)
	}
	var keys struct{ Keyring []byte }
	if err := json.Unmarshal(b, &keys); err != nil || len(keys.Keyring) != 32 {
		return nil, fmt.Errorf("cannot read keys: got %d bytes of keyring in %s; want 32: %w", len(keys.Keyring), path, err)
	}
	return rtb.NewKeyring([32]byte(keys.Keyring)), nil
}

// reportBad names the first few lines that cannot be read; all are counted.
func reportBad(lines iter.Seq2[*events.BidRecord, error], stderr io.Writer) iter.Seq2[*events.BidRecord, error] {
	return func(yield func(*events.BidRecord, error) bool) {
		said := 0
		for rec, err := range lines {
			if err != nil && said < 5 {
				said++
				fmt.Fprintln(stderr, "replay: skipped:", err)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// writeFile writes to the file named by path; no path, no file.
func writeFile(path string, write func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	out, err := os.Create(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("cannot write file: %w", err)
	}
	buffered := bufio.NewWriter(out)
	return errors.Join(write(buffered), buffered.Flush(), out.Close())
}

// progressTo shows how many records are done on a terminal, and nothing
// elsewhere.
func progressTo(w io.Writer) func(int) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return func(done int) { fmt.Fprintf(w, "\r%d records ", done) }
}
