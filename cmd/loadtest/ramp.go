package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"rebound/internal/longrun"
	"rebound/loadtest"
)

// ramp finds the highest rate that a bidder holds.
func ramp(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := &attackFlags{rate: 1, duration: time.Second}
	fs := newFlagSet("ramp", stderr, "loadtest ramp finds the highest rate at which a share of the responses is within the deadline of their schedule\n"+
		"and bids are not rarer than at lower rates: it doubles the rate until a step fails, then halves the interval. It reports whether the target or the sender was the limit.",
		"loadtest ramp --target http://127.0.0.1:8080/openrtb2/demo --from 500 --step 5s")
	var (
		from   = fs.Int("from", 500, "first rate, requests per second")
		to     = fs.Int("to", 200_000, "highest rate that is tried")
		step   = fs.Duration("step", 5*time.Second, "duration of one step")
		inTime = fs.Float64("in-time-pct", 99.9, "percentage of the requests that must be answered in time")
		report = fs.String("report", "", "write the steps as JSON to this file")
	)
	f.trafficFlags(fs)
	f.senderFlags(fs)
	if status, done := parseFlags(fs, args, stderr); done {
		return status
	}
	f.rate, f.duration = max(*from, 1), *step
	if err := f.check(); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitUsage
	}
	r := &loadtest.Ramp{Attack: *f.attack(), From: *from, To: *to, Step: *step, InTimePct: *inTime, Progress: func(s loadtest.RampStep) { fmt.Fprintln(stdout, s.Line()) }}
	err := f.prepare(ctx, &r.Attack, nil)
	if err == nil {
		var out *loadtest.RampReport
		if out, err = r.Run(ctx); err == nil {
			err = out.WriteText(stdout)
		}
		if err == nil {
			err = longrun.WriteFile(*report, func(w io.Writer) error {
				e := json.NewEncoder(w)
				e.SetIndent("", "  ")
				return e.Encode(out)
			})
		}
		if err == nil && out.Highest == 0 {
			err = fmt.Errorf("no rate held, not even %d per second", out.Steps[len(out.Steps)-1].Rate)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	return exitDone
}

// targets writes requests as targets for the vegeta program.
func targets(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f := &attackFlags{rate: 1, duration: time.Second}
	fs := newFlagSet("targets", stderr, "loadtest targets writes requests in the JSON format of vegeta, one target per line, so that the test can be repeated with that program.\n"+
		"The known visitors are introduced to the bidder first.",
		"loadtest targets --target http://127.0.0.1:8080/openrtb2/demo --count 20000 | vegeta attack -format=json -lazy -rate=1000 -duration=15s | vegeta report")
	count := fs.Int("count", 20_000, "number of requests")
	f.trafficFlags(fs)
	if status, done := parseFlags(fs, args, stderr); done {
		return status
	}
	err := f.check()
	if err == nil && (*count < 1 || *count > 1_000_000) {
		err = fmt.Errorf("cannot use --count: got %d; want 1 to 1000000", *count)
	}
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitUsage
	}
	f.rate = min(*count, loadtest.MaxRate)
	a := f.attack()
	if err = f.prepare(ctx, a, nil); err == nil {
		err = a.WriteTargets(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	return exitDone
}
