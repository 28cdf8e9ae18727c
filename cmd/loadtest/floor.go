package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"

	"rebound/loadtest"
)

// floor serves the bare handler until a signal.
func floor(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := &loadtest.Floor{}
	fs := newFlagSet("floor", stderr, "loadtest floor is a bare HTTP server that answers bid requests without reading them. What a request costs it is the control that\n"+
		"the figures of a bidder are divided by. The path /floor/N gets N bytes, or 204 for 0.",
		"loadtest floor --listen 127.0.0.1:8090 --bid-pct 10 --bid-bytes 2900")
	var (
		listen = fs.String("listen", "127.0.0.1:8090", "`address` to listen on")
		quiet  = fs.Bool("quiet", false, "print nothing but the JSON line with the address on standard error")
	)
	fs.Float64Var(&f.BidPct, "bid-pct", 10, "percentage of requests that are answered with 200 and a bid")
	fs.IntVar(&f.BidBytes, "bid-bytes", 2900, "size of the body of a bid")
	if status, done := parseFlags(fs, args, stderr); done {
		return status
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(stderr, "loadtest: cannot listen:", err)
		return exitFailed
	}
	ready, err := json.Marshal(map[string]string{"msg": "ready", "addr": ln.Addr().String()})
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	fmt.Fprintf(stderr, "%s\n", ready)
	if !*quiet {
		fmt.Fprintf(stdout, "bare handler at http://%s/; stop it with Ctrl-C\n", ln.Addr())
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Shutdown() })
	defer stop()
	if err := f.Serve(ln); err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	return exitDone
}

// newFlagSet returns the flag set of a command, whose help explains it and ends with an
// example.
func newFlagSet(command string, stderr io.Writer, about, example string) *flag.FlagSet {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "%s\n\nExample:\n  %s\n\nFlags:\n", about, example)
		fs.PrintDefaults()
	}
	return fs
}

// parseFlags parses the flags of a command. If done is true, the program exits with
// status.
func parseFlags(fs *flag.FlagSet, args []string, stderr io.Writer) (status int, done bool) {
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitDone, true
	case err != nil:
		return exitUsage, true
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "loadtest: cannot parse flags: got the argument %q; want flags only\n", fs.Arg(0))
		return exitUsage, true
	}
	return exitDone, false
}
