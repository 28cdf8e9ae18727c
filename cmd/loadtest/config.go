package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"rebound/loadtest/scale"
)

// config is the command that writes a configuration of a chosen size.
func config(args []string, stdout, stderr io.Writer) int {
	var o scale.Options
	fs := flag.NewFlagSet("config", flag.ContinueOnError)
	fs.SetOutput(stderr)
	out := fs.String("out", "", "folder to write; it must not exist or be empty")
	fs.IntVar(&o.Lines, "lines", 10_000, "number of lines")
	fs.IntVar(&o.Advertisers, "advertisers", 0, "number of advertisers (default one for each 2500 lines); the key of the first is "+scale.Key)
	fs.IntVar(&o.Audiences, "audiences", 0, "number of audiences (default a fifth of the lines)")
	fs.IntVar(&o.Products, "products", 0, "number of products of each advertiser, SKU1 to SKUn (default as many as its audiences)")
	fs.IntVar(&o.Candidates, "candidates", 0, "about how many lines a visitor of one product of one advertiser is a candidate for (default 100)")
	fs.Usage = func() {
		fmt.Fprint(stderr, "loadtest config writes a configuration of realistic size for load tests.\n\nExample:\n"+
			"  loadtest config --out /tmp/large --lines 10000\n  bidder check /tmp/large/"+scale.Main+"\n\nFlags:\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitDone
	} else if err != nil {
		return exitUsage
	}
	if *out == "" || fs.NArg() > 0 {
		fmt.Fprintln(stderr, "loadtest config: want --out with a folder, and flags only")
		return exitUsage
	}
	if old, err := os.ReadDir(*out); len(old) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(stderr, "loadtest config: cannot write to %s: want an empty folder\n", *out)
		return exitUsage
	}
	path, err := scale.Write(*out, o)
	if err != nil {
		fmt.Fprintf(stderr, "loadtest config: %v\n", err)
		return exitUsage
	}
	fmt.Fprintln(stdout, path)
	return exitDone
}
