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
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"rebound/config"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/internal/longrun"
	"rebound/replay"
	"rebound/rtb"
	"rebound/segments"
)

type runFlags struct {
	config, against    string
	data, format       string
	source             *replay.Source // nil: Rebound's own format
	bids, facts, keys  string
	notices            string // files of facts that tell the market
	window             time.Duration
	broken             float64
	exchange, only     string
	from, to, at       string
	spacing            time.Duration
	delay              time.Duration
	lost               float64
	seed               uint64
	report, html, diff string

	exchangeSet bool // --exchange was given
	outputs     longrun.Outputs
}

func parseRun(args []string, stderr io.Writer) (*runFlags, error) {
	f := &runFlags{}
	fs := flag.NewFlagSet("replay run", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&f.config, "config", "", "configuration `file`; with --against, the new one; empty: the last that was active in the --data folder, else the sample shop")
	fs.StringVar(&f.against, "against", "", "old configuration `file`, run over the same traffic; a bid is gained when only the new one bids")
	fs.StringVar(&f.data, "data", "", "data `folder` of a bidder: its bid records are replayed against the market that its win, bill and loss notices tell")
	fs.StringVar(&f.bids, "bids", "", "`files` of bid records or bare requests, one a line (a glob; .zst is read too)")
	fs.StringVar(&f.format, "format", "auto", "`format` of the files: auto, rebound, openrtb or ipinyou")
	fs.StringVar(&f.facts, "facts", "", "`files` of archived facts, for the market that notices tell and for visitors of records that carry no profile")
	fs.DurationVar(&f.window, "notice-window", replay.DefaultWindow, "how long after a bid its notices are looked for in the facts; memory grows with it")
	fs.Float64Var(&f.broken, "max-broken", 1, "stop when more than this share of the lines cannot be read, in percent")
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
			"  replay --data data\n"+
			"  replay --data data --config new.yaml --against rebound.yaml --html report.html\n"+
			"  replay --bids 'data/log/bids/*' --config new.yaml --report report.json --html report.html\n\nFlags:\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("cannot read flags: got the word %q; want flags only", fs.Arg(0))
	}
	fs.Visit(func(given *flag.Flag) { f.exchangeSet = f.exchangeSet || given.Name == "exchange" })
	switch {
	case f.data != "" && (f.bids != "" || f.facts != ""):
		return nil, errors.New("cannot replay: got --data with --bids or --facts; want the folder or the files")
	case f.data == "" && f.bids == "":
		return nil, errors.New("cannot replay: got neither --data nor --bids; want a data folder, or files of bid records such as --bids 'data/log/bids/*'")
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
	err = f.replay(ctx, stdout, stderr)
	if err == nil {
		return cli.ExitDone
	}
	fmt.Fprintln(stderr, "replay:", err)
	if errors.As(err, new(usageError)) {
		return cli.ExitUsage
	}
	return cli.ExitFailed
}

// replay runs the replay and writes the requested outputs.
func (f *runFlags) replay(ctx context.Context, stdout, stderr io.Writer) (err error) {
	files, err := f.openFiles()
	if err != nil {
		return err
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	if o.Store != nil {
		defer o.Store.Close()
	}
	if err := f.openNotices(o); err != nil {
		return err
	}
	f.outputs.Add("report", f.report)
	f.outputs.Add("html", f.html)
	f.outputs.Add("diff", f.diff)
	if err := f.outputs.Check(append(files.Names(), f.config, f.against, f.keys)...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.outputs.Discard()) }()
	if err := f.survey(ctx, o, files, stderr); err != nil {
		return err
	}
	closeDiff, err := openDiff(f.diff, &o.Differ)
	if err != nil {
		return err
	}
	bar := progressTo(stderr)
	o.Progress = func(done int) { bar.Show(longrun.Step{What: "records", Done: done, Share: files.Share()}) }
	report, err := replay.Run(ctx, *o, reportBad(replay.InOrder(f.records(files)), bar, stderr))
	bar.End()
	if err := errors.Join(err, closeDiff()); err != nil {
		return err
	}
	if err := report.WriteText(stdout); err != nil {
		return err
	}
	if err := errors.Join(longrun.WriteFile(f.report, report.WriteJSON), longrun.WriteFile(f.html, report.WriteHTML)); err != nil {
		return err
	}
	if report.Run.Interrupted {
		return fmt.Errorf("interrupted after %.0f %% of the records; the report covers those", 100*files.Share())
	}
	return nil
}

// openFiles finds the files of records and recognises their format.
func (f *runFlags) openFiles() (*events.RecordFiles, error) {
	if f.data != "" {
		f.bids, f.notices = filepath.Join(f.data, "log", "bids", "*.ndjson*"), filepath.Join(f.data, "log", "facts", "*.ndjson*")
	} else {
		f.notices = f.facts
	}
	files, err := events.OpenRecordFiles(f.bids)
	if err != nil {
		return nil, err
	}
	if f.source, err = replay.SourceOf(f.format, files.FirstLine()); err != nil {
		return nil, usageError{err}
	}
	return files, nil
}

// openNotices sets where notices are read.
func (f *runFlags) openNotices(o *replay.Options) error {
	if f.notices == "" {
		return nil
	}
	var decode func([]byte) (*events.Fact, error)
	if f.source != nil {
		o.SilentLosses = f.source.SilentLosses
		if decode = f.source.Fact; decode == nil {
			return usageError{fmt.Errorf("cannot use --facts: the format %s has none", f.source.Name)}
		}
	}
	each, err := events.EachFactFile(decode, f.notices)
	if err != nil {
		return err
	}
	o.Notices = func() iter.Seq2[*events.Fact, error] { return replay.FactsByTime(each) }
	return nil
}

// records returns readers of the files of records.
func (f *runFlags) records(files *events.RecordFiles) []iter.Seq2[*events.BidRecord, error] {
	if f.source != nil {
		return files.Each(f.source.Record)
	}
	return files.Each(nil)
}

// survey reads the log once, and says how the configurations do not fit it.
func (f *runFlags) survey(ctx context.Context, o *replay.Options, files *events.RecordFiles, stderr io.Writer) error {
	bar := progressTo(stderr)
	read := 0
	counted := func(yield func(*events.BidRecord, error) bool) {
		for rec, err := range replay.InOrder(f.records(files)) {
			if err == nil && rec.Exchange == "" {
				rec.Exchange = o.Exchange
			}
			if read++; read%1_000 == 0 {
				bar.Show(longrun.Step{What: "records surveyed", Done: read, Share: files.Share()})
			}
			if !yield(rec, err) {
				return
			}
		}
	}
	var err error
	o.Survey, err = replay.Scan(ctx, o, counted)
	bar.End()
	if err != nil {
		return err
	}
	for _, w := range o.Survey.Warnings(o) {
		fmt.Fprintln(stderr, "replay:", w)
	}
	return nil
}

// options converts the flags to replay options.
func (f *runFlags) options() (*replay.Options, error) {
	o := &replay.Options{Exchange: f.exchange, Only: f.only, Spacing: f.spacing, NoticeDelay: f.delay, LostPct: f.lost, Seed: f.seed, Window: f.window, MaxBrokenPct: f.broken, Clock: time.Now}
	var err error
	if o.Config, err = f.configuration(); err != nil {
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
			return nil, usageError{fmt.Errorf("cannot read --%s: got %q; want a time such as 2026-10-01T00:00:00Z: %w", t.name, t.text, err)}
		}
	}
	if f.diff != "" {
		o.Differ = func(replay.Difference) error { return nil } // openDiff sets it; Validate needs to know
	}
	if err := o.Validate(); err != nil {
		return nil, usageError{err}
	}
	if f.exchangeSet && o.Config.Profiles[f.exchange] == nil {
		return nil, usageError{fmt.Errorf("cannot use --exchange: got %q; want one that the configuration has: %s", f.exchange, strings.Join(slices.Sorted(maps.Keys(o.Config.Profiles)), ", "))}
	}
	return o, f.openFacts(o)
}

// configuration returns the configuration of --config. Without one it is the last that was
// active in the data folder, or else the sample shop.
func (f *runFlags) configuration() (*config.Snapshot, error) {
	archive := config.Archive{Dir: config.ArchiveDir(f.data)}
	if f.config != "" || f.data == "" || archive.Last() == "" {
		return load(f.config)
	}
	s, m, err := archive.Load(archive.Last())
	if err != nil {
		return nil, fmt.Errorf("cannot use the configuration in the data folder (name another one with --config): %w", err)
	}
	s.Hash = m.Config // secrets are missing, which decisions do not depend on
	return s, nil
}

// usageError is a flag that is refused once the configuration is known.
type usageError struct{ error }

// openFacts makes the store that facts are folded into, and sets the time of
// bare requests after them.
func (f *runFlags) openFacts(o *replay.Options) error {
	if f.facts != "" && f.source == nil {
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

// openDiff opens the file of --diff, if it was named, and sets differ to what writes a
// difference to it.
func openDiff[D any](name string, differ *func(D) error) (closeDiff func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	out, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("cannot write differences: %w", err)
	}
	buffered := bufio.NewWriter(out)
	enc := json.NewEncoder(buffered)
	*differ = func(d D) error { return enc.Encode(d) }
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
	var keys struct {
		Keyring []byte
		Hash    string
	}
	if err := json.Unmarshal(b, &keys); err != nil || len(keys.Keyring) != 32 {
		return nil, fmt.Errorf("cannot read keys: got %d bytes of keyring in %s; want 32: %w", len(keys.Keyring), path, err)
	}
	k, err := rtb.OpenKeyring([32]byte(keys.Keyring), keys.Hash)
	if err != nil {
		return nil, fmt.Errorf("cannot read keys: %s: %w", path, err)
	}
	return k, nil
}

// reportBad names the first few lines that cannot be read; all are counted.
func reportBad(lines iter.Seq2[*events.BidRecord, error], bar *longrun.Bar, stderr io.Writer) iter.Seq2[*events.BidRecord, error] {
	return func(yield func(*events.BidRecord, error) bool) {
		said := 0
		for rec, err := range lines {
			if err != nil && said < 5 {
				said++
				bar.End()
				fmt.Fprintln(stderr, "replay: skipped:", err)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// progressTo returns a progress bar on w if w is a terminal, and one that shows nothing
// otherwise.
func progressTo(w io.Writer) *longrun.Bar {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &longrun.Bar{}
	}
	return &longrun.Bar{W: w, Now: time.Now}
}
