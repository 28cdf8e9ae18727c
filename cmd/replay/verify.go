package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/internal/lab"
	"rebound/internal/longrun"
	"rebound/replay"
)

// isVerify reports whether the arguments of run ask for a verification.
func isVerify(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
		return strings.HasPrefix(a, "-") && name == "verify" && value != "false"
	})
}

type verifyFlags struct {
	data, bids   string
	only         string
	from, to     string
	report, diff string

	outputs longrun.Outputs
}

func parseVerify(args []string, stderr io.Writer) (*verifyFlags, error) {
	f := &verifyFlags{}
	fs := flag.NewFlagSet("replay --verify", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Bool("verify", false, "make every recorded decision again and compare")
	fs.StringVar(&f.data, "data", "", "data `folder` with the archived configurations and, without --bids, the bid log")
	fs.StringVar(&f.bids, "bids", "", "`files` of bid records (a glob; .zst and .gz are read too); empty: log/bids in the data folder")
	fs.StringVar(&f.only, "only", "", "verify records of this exchange `id` only")
	fs.StringVar(&f.from, "from", "", "skip records before this `time`, RFC 3339")
	fs.StringVar(&f.to, "to", "", "skip records at or after this `time`, RFC 3339")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to this `file`")
	fs.StringVar(&f.diff, "diff", "", "write every decision that differs to this `file`, one JSON object a line")
	fs.Usage = func() {
		fmt.Fprint(stderr, "replay --verify makes every recorded decision again, with the configuration that was active then and with what\n"+
			"the record says of visitors, budgets and clock, and compares. It exits with 0 if all that can be made again are\n"+
			"the same to the micro, and with 1 if one differs.\n\nExample:\n  replay --verify --data data\n\nFlags:\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("cannot read flags: got the word %q; want flags only", fs.Arg(0))
	case f.data == "":
		return nil, errors.New("cannot verify: got no --data; want the data folder of the bidder, which has the configurations of the time")
	}
	if f.bids == "" {
		f.bids = filepath.Join(f.data, "log", "bids", "*")
	}
	return f, nil
}

func verify(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, err := parseVerify(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return cli.ExitDone
	}
	if err == nil {
		var exact bool
		if exact, err = f.verify(ctx, stdout, stderr); err == nil {
			if exact {
				return cli.ExitDone
			}
			return cli.ExitFailed
		}
		if !errors.As(err, new(usageError)) {
			fmt.Fprintln(stderr, "replay:", err)
			return cli.ExitFailed
		}
	}
	fmt.Fprintln(stderr, "replay:", err)
	return cli.ExitUsage
}

// verify runs the verification and writes the requested outputs. It returns whether all
// decisions are the same.
func (f *verifyFlags) verify(ctx context.Context, stdout, stderr io.Writer) (exact bool, err error) {
	keep, err := f.filter()
	if err != nil {
		return false, err
	}
	files, err := events.OpenRecordFiles(f.bids)
	if err != nil {
		return false, err
	}
	f.outputs.Add("report", f.report)
	f.outputs.Add("diff", f.diff)
	if err := f.outputs.Check(files.Names()...); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.outputs.Discard()) }()
	archive := config.Archive{Dir: config.ArchiveDir(f.data)}
	o := replay.VerifyOptions{Build: cli.Build(), Catalog: func(activation string) (*bidder.Catalog, error) {
		s, m, err := archive.Load(activation)
		if err != nil {
			return nil, err
		}
		return lab.CatalogOf(s, s.Approve(m.Approvals)), nil
	}}
	closeDiff, err := openDiff(f.diff, &o.Differ)
	if err != nil {
		return false, err
	}
	bar := progressTo(stderr)
	o.Progress = func(done int) { bar.Show(longrun.Step{What: "records", Done: done, Share: files.Share()}) }
	report, err := replay.Verify(ctx, o, kept(reportBad(files.All(), bar, stderr), keep))
	bar.End()
	if err := errors.Join(err, closeDiff()); err != nil {
		return false, err
	}
	if err := report.WriteText(stdout); err != nil {
		return false, err
	}
	if err := longrun.WriteFile(f.report, report.WriteJSON); err != nil {
		return false, err
	}
	return report.Exact(), nil
}

// filter returns which records the flags leave in.
func (f *verifyFlags) filter() (func(*events.BidRecord) bool, error) {
	var from, to time.Time
	for _, x := range []struct {
		name, text string
		to         *time.Time
	}{{"from", f.from, &from}, {"to", f.to, &to}} {
		if x.text == "" {
			continue
		}
		var err error
		if *x.to, err = time.Parse(time.RFC3339, x.text); err != nil {
			return nil, usageError{fmt.Errorf("cannot read --%s: got %q; want a time such as 2026-10-01T00:00:00Z: %w", x.name, x.text, err)}
		}
	}
	return func(r *events.BidRecord) bool {
		return (f.only == "" || r.Exchange == f.only) && !r.TS.Before(from) && (to.IsZero() || r.TS.Before(to))
	}, nil
}

// kept returns the records that keep leaves in, and every error.
func kept(records iter.Seq2[*events.BidRecord, error], keep func(*events.BidRecord) bool) iter.Seq2[*events.BidRecord, error] {
	return func(yield func(*events.BidRecord, error) bool) {
		for r, err := range records {
			if (err != nil || keep(r)) && !yield(r, err) {
				return
			}
		}
	}
}
