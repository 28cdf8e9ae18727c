// Command loadtest sends bid requests to an OpenRTB bidder at a constant rate and
// reports how it responded. It handles flags and the terminal; package loadtest does the
// work.
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

const usage = `loadtest sends bid requests to a bidder at a constant rate and reports latency.

Usage:
  loadtest attack --target URL --rate N --duration D [flags]
  loadtest config --out DIR --lines N [flags]             write a large configuration

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
