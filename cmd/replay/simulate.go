package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rebound/internal/cli"
	"rebound/internal/longrun"
	"rebound/replay/sim"
)

// simulate benchmarks pacing on synthetic market days.
func simulate(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("replay simulate", flag.ContinueOnError)
	fs.SetOutput(stderr)
	scenarios := fs.String("scenario", "all", "`ids` of scenarios such as S1,S2, or all")
	seeds := fs.String("seeds", "1000,1017,1034", "`numbers`, separated by commas; each is another day")
	policies := fs.String("policy", "all", "`names` of policies, or all: "+strings.Join(sim.Policies(), ", "))
	report := fs.String("report", "", "write the report as JSON to this `file`")
	page := fs.String("html", "", "write the report as a page with curves to this `file`")
	fs.Usage = func() {
		fmt.Fprint(stderr, "replay simulate runs synthetic days of auctions through Rebound's pricing, shading and\n"+
			"ledger, next to baselines and to oracles that know the whole day, and prints a table.\n\nExample:\n"+
			"  replay simulate --scenario S1,S2 --seeds 1000,1017 --policy pid,dual-resolved,rebound --html curves.html\n\nFlags:\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return cli.ExitDone
	} else if err != nil {
		return cli.ExitUsage
	}
	o, err := simulation(fs, *scenarios, *seeds, *policies)
	if err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return cli.ExitUsage
	}
	if err := runSimulation(ctx, o, *report, *page, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "replay:", err)
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// simulation converts the flags to options.
func simulation(fs *flag.FlagSet, scenarios, seeds, policies string) (o sim.Options, err error) {
	if fs.NArg() > 0 {
		return o, fmt.Errorf("cannot read flags: got the word %q; want flags only", fs.Arg(0))
	}
	if o.Scenarios, err = sim.Select(scenarios); err != nil {
		return o, err
	}
	if o.Policies, err = sim.SelectPolicies(policies); err != nil {
		return o, err
	}
	for text := range strings.SplitSeq(seeds, ",") {
		seed, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil {
			return o, fmt.Errorf("cannot read --seeds: got %q; want numbers from 0 to 4294967295, separated by commas: %w", text, err)
		}
		o.Seeds = append(o.Seeds, seed)
	}
	return o, nil
}

// runSimulation simulates and writes the requested outputs.
func runSimulation(ctx context.Context, o sim.Options, report, page string, stdout, stderr io.Writer) (err error) {
	var outputs longrun.Outputs
	outputs.Add("report", report)
	outputs.Add("html", page)
	if err := outputs.Check(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, outputs.Discard()) }()
	bar := progressTo(stderr)
	o.Progress = func(_ string, _ uint64, done, total int) {
		bar.Show(longrun.Step{What: "days", Done: done, Share: float64(done) / float64(total)})
	}
	r, err := sim.Run(ctx, o)
	bar.End()
	if err != nil {
		return err
	}
	return errors.Join(r.WriteText(stdout), longrun.WriteFile(report, r.WriteJSON), longrun.WriteFile(page, r.WriteHTML))
}
