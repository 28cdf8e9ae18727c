package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"rebound/internal/longrun"
	"rebound/loadtest/bench"
)

// benchmark measures a bidder against the bare handler and writes a report.
func benchmark(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := newFlagSet("bench", stderr, "loadtest bench starts a bidder and a bare handler, each on one core, sends both the same requests in alternating rounds,\n"+
		"and reports the CPU time of a request as a multiple of the bare handler's. make bench-report runs it.",
		"loadtest bench --bidder bin/bidder --out docs/performance.md")
	o := bench.Options{Now: time.Now, Progress: func(s string) { fmt.Fprintln(stderr, s) }}
	fs.StringVar(&o.Bidder, "bidder", "bin/bidder", "`program` of the bidder")
	fs.IntVar(&o.Rounds, "rounds", 15, "alternating rounds per case")
	fs.DurationVar(&o.Duration, "duration", 500*time.Millisecond, "how long each server gets requests in a round")
	fs.StringVar(&o.Only, "only", "", "measure only the cases whose name contains this `text`")
	var (
		out  = fs.String("out", "", "write the report as Markdown to this `file` (default: standard output)")
		more = fs.String("benchmarks", "", "`file` with the output of go test -bench, whose figures are added to the report")
	)
	if status, done := parseFlags(fs, args, stderr); done {
		return status
	}
	if o.Rounds < 1 || o.Duration < 100*time.Millisecond {
		fmt.Fprintf(stderr, "loadtest: cannot measure: got %d rounds of %s; want at least 1 of 100ms\n", o.Rounds, o.Duration)
		return exitUsage
	}
	err := writeBenchmark(ctx, &o, *out, *more, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	return exitDone
}

func writeBenchmark(ctx context.Context, o *bench.Options, out, more string, stdout io.Writer) error {
	var extra []byte
	var err error
	if o.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("cannot find this program: %w", err)
	}
	if more != "" {
		if extra, err = os.ReadFile(more); err != nil {
			return fmt.Errorf("cannot read benchmarks: %w", err)
		}
	}
	measured, err := bench.Run(ctx, *o)
	if err != nil {
		return err
	}
	r := bench.Report{Measured: measured, Options: *o, Benchmarks: string(extra), Machine: bench.ThisMachine(ctx, o.Bidder)}
	if out == "" {
		return r.Write(stdout)
	}
	return longrun.WriteFile(out, r.Write)
}
