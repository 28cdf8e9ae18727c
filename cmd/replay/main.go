// Command replay runs recorded or generated bid requests through the bidder's
// decision, with a virtual clock. It handles flags and the terminal; package
// replay does the work.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // advertisers' zones, also where the system has none

	"rebound/internal/cli"
)

const usage = `replay runs bid records, or bare OpenRTB requests, through the bidder's own decision.

Usage:
  replay [run] --bids GLOB [--config F] [--against F] [--facts GLOB] [flags]
  replay --verify --data DIR [flags]
  replay generate --out FILE [--config F] [flags]
  replay simulate [--scenario S1,S2|all] [--seeds N,N] [flags]

run is the default, and with --verify makes recorded decisions again; generate makes a day of traffic with a market; simulate
benchmarks pacing on synthetic markets. Every verb takes -h. Example:
  replay generate --out day.ndjson
  replay --bids day.ndjson --html report.html
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal stops the run, a second one ends the program at once
	code := verb(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func verb(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return cli.ExitUsage
	}
	switch {
	case isVerify(args) && (args[0] == "run" || strings.HasPrefix(args[0], "-")):
		return verify(ctx, slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "run" }), stdout, stderr)
	case args[0] == "run":
		return run(ctx, args[1:], stdout, stderr)
	case args[0] == "generate":
		return generate(ctx, args[1:], stderr)
	case args[0] == "simulate":
		return simulate(ctx, args[1:], stdout, stderr)
	case args[0] == "help" || args[0] == "-h" || args[0] == "--help":
		fmt.Fprint(stdout, usage)
		return cli.ExitDone
	case strings.HasPrefix(args[0], "-"):
		return run(ctx, args, stdout, stderr)
	}
	fmt.Fprintf(stderr, "replay: got the verb %q; want run, generate or simulate\n\n%s", args[0], usage)
	return cli.ExitUsage
}
