package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"rebound/loadtest"
)

// attackFlags are the flags of the command attack.
type attackFlags struct {
	target, edge, key      string
	rate                   int
	duration, deadline     time.Duration
	requests               string
	report, html, results  string
	knownPct, minInTimePct float64
	visitors               int
	products               int
	seed                   uint64
	remote                 bool
}

func parseAttack(args []string, stderr io.Writer) (*attackFlags, error) {
	f := &attackFlags{}
	fs := flag.NewFlagSet("attack", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&f.target, "target", "http://127.0.0.1:8080/openrtb2/demo", "bid endpoint of one exchange")
	fs.IntVar(&f.rate, "rate", 1000, "requests per second")
	fs.DurationVar(&f.duration, "duration", 10*time.Second, "how long the schedule runs")
	fs.StringVar(&f.requests, "requests", "", "file with one bid request per line (default: generated requests)")
	fs.Float64Var(&f.knownPct, "known-pct", 40, "generated requests: percentage whose visitor the shop knows")
	fs.IntVar(&f.visitors, "visitors", 2000, "generated requests: number of visitors that the shop knows")
	fs.Uint64Var(&f.seed, "seed", 1, "generated requests: the same seed gives the same requests")
	fs.StringVar(&f.edge, "edge", "http://127.0.0.1:8081", "edge listener, which receives the events of the known visitors first")
	fs.StringVar(&f.key, "key", "demo-shop-key", "key for the server events of the shop")
	fs.IntVar(&f.products, "products", 40, "generated requests: visitors view SKU1 to SKUn")
	fs.DurationVar(&f.deadline, "deadline", 100*time.Millisecond, "a response within this time of its schedule is in time; also the tmax of generated requests")
	fs.Float64Var(&f.minInTimePct, "min-in-time-pct", 0, "exit with status 1 if a smaller percentage of responses is in time")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to this file")
	fs.StringVar(&f.html, "html", "", "write the report as an HTML page with charts to this file")
	fs.StringVar(&f.results, "results", "", "write every result to this file, in the binary format of vegeta")
	fs.BoolVar(&f.remote, "remote", false, "allow a target that is not this machine; use it only for hosts that you own")
	fs.Usage = func() {
		fmt.Fprint(stderr, "loadtest attack sends bid requests on an open schedule and reports latency from the scheduled send.\n\nExample:\n"+
			"  loadtest attack --target http://127.0.0.1:8080/openrtb2/demo --rate 2000 --duration 15s --report report.json --html report.html\n\nFlags:\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("cannot parse flags: got the argument %q; want flags only", fs.Arg(0))
	}
	if !f.remote {
		for _, u := range []string{f.target, f.edge} {
			if err := loadtest.OnlyLoopback(u); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func attack(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, err := parseAttack(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitUsage
	}
	report, err := f.run(ctx, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	if err := f.write(report, stdout); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	switch {
	case report.ErrorStatuses > 0:
		fmt.Fprintf(stderr, "loadtest: got %d responses with an error status; want none\n", report.ErrorStatuses)
		return exitFailed
	case report.InsideDeadline < f.minInTimePct:
		fmt.Fprintf(stderr, "loadtest: got %.3f %% of responses in time; want at least %.3f %%\n", report.InsideDeadline, f.minInTimePct)
		return exitFailed
	}
	return exitDone
}

// run sends the events of the known visitors if the traffic is generated, then attacks.
func (f *attackFlags) run(ctx context.Context, stderr io.Writer) (*loadtest.Report, error) {
	progress := progressTo(stderr)
	a := &loadtest.Attack{Target: f.target, Rate: f.rate, Duration: f.duration, Deadline: f.deadline,
		Progress: func(done, of int) { progress("responses", done, of) }}
	if f.requests != "" {
		bodies, err := readLines(f.requests)
		if err != nil {
			return nil, err
		}
		a.Bodies = bodies
	} else {
		t := loadtest.Traffic{Visitors: f.visitors, KnownPct: f.knownPct, TMaxMS: int(f.deadline.Milliseconds()), Seed: f.seed}
		if f.knownPct > 0 {
			shop := loadtest.Shop{EdgeURL: f.edge, Key: f.key, Products: skus(f.products)}
			if err := t.Introduce(ctx, shop, f.target, func(done, of int) { progress("visitors", done, of) }); err != nil {
				return nil, err
			}
		}
		a.Bodies = t.Bodies(min(int(float64(f.rate)*f.duration.Seconds()), 200_000))
	}
	if f.results == "" {
		return a.Run(ctx)
	}
	out, err := os.Create(f.results)
	if err != nil {
		return nil, fmt.Errorf("cannot write results: %w", err)
	}
	buffered := bufio.NewWriter(out)
	a.Results = buffered
	report, err := a.Run(ctx)
	return report, errors.Join(err, buffered.Flush(), out.Close())
}

// write prints the report and writes the requested files.
func (f *attackFlags) write(r *loadtest.Report, stdout io.Writer) error {
	if err := r.WriteText(stdout); err != nil {
		return err
	}
	if f.report != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("cannot encode report: %w", err)
		}
		if err := os.WriteFile(f.report, append(b, '\n'), 0o644); err != nil {
			return fmt.Errorf("cannot write report: %w", err)
		}
	}
	if f.html == "" {
		return nil
	}
	var page strings.Builder
	if err := r.WriteHTML(&page); err != nil {
		return err
	}
	if err := os.WriteFile(f.html, []byte(page.String()), 0o644); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

func skus(n int) []string {
	out := make([]string, max(n, 1))
	for i := range out {
		out[i] = fmt.Sprintf("SKU%d", i+1)
	}
	return out
}

// readLines reads the non-empty lines of a file of bid requests.
func readLines(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read requests: %w", err)
	}
	var out [][]byte
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, []byte(line))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cannot read requests: %s is empty; want one bid request per line", path)
	}
	return out, nil
}

// progressTo returns a function that shows progress on one line if w is a terminal, and
// otherwise does nothing.
func progressTo(w io.Writer) func(what string, done, of int) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return func(string, int, int) {}
	}
	return func(what string, done, of int) {
		fmt.Fprintf(w, "\r%s: %d of %d ", what, done, of)
		if done >= of {
			fmt.Fprintln(w)
		}
	}
}
