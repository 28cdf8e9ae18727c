// Command loadtest tests an OpenRTB bidder: its latency at a rate, the highest rate, the
// CPU time of a request, and its books. It handles flags and the terminal; package
// loadtest and the packages below it do the work.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1 // the test failed: an error, an error status, or too few responses in time
	exitUsage  = 2
)

const usage = `loadtest tests a bidder: its speed, its limits and its books.

Usage:
  loadtest attack    send requests at a constant rate and report latency from the schedule
  loadtest ramp      find the highest rate at which 99.9 % of the responses are in time
  loadtest exchange  hold auctions, send notices, and compare the books at the end
  loadtest compare   compare the CPU time of a request in two servers, in alternating rounds
  loadtest floor     serve a bare handler, the control of such comparisons
  loadtest targets   write requests as targets for vegeta
  loadtest config    write a configuration of a chosen size
  loadtest bench     run the comparisons of docs/performance.md

Every command accepts -h. Example:
  loadtest attack --target http://127.0.0.1:8080/openrtb2/demo --rate 2000 --duration 15s
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal stops the attack, a second one ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "attack":
		return attack(ctx, args[1:], stdout, stderr)
	case "config":
		return config(args[1:], stdout, stderr)
	case "exchange":
		return exchange(ctx, args[1:], stdout, stderr)
	case "ramp":
		return ramp(ctx, args[1:], stdout, stderr)
	case "targets":
		return targets(ctx, args[1:], stdout, stderr)
	case "compare":
		return compare(ctx, args[1:], stdout, stderr)
	case "floor":
		return floor(ctx, args[1:], stdout, stderr)
	case "bench":
		return benchmark(ctx, args[1:], stdout, stderr)
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
		return exitDone
	}
	fmt.Fprintf(stderr, "loadtest: got the command %q; want attack or config\n\n%s", args[0], usage)
	return exitUsage
}
