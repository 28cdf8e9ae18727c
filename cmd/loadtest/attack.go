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

	"rebound/internal/longrun"
	"rebound/loadtest"
)

// attackFlags are the flags of the command attack.
type attackFlags struct {
	target, secretEnv      string
	edge, key, keyEnv      string
	rate                   int
	duration, deadline     time.Duration
	requests               string
	report, html, results  string
	knownPct, minInTimePct float64
	visitors               int
	products               int
	seed                   uint64
	remote, keepGoing      bool

	secret  string // the value of secretEnv
	outputs longrun.Outputs
}

// flagSet returns the flags of the command, which set f.
func (f *attackFlags) flagSet(stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("attack", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&f.target, "target", "http://127.0.0.1:8080/openrtb2/demo", "bid endpoint of one exchange")
	fs.StringVar(&f.secretEnv, "secret-env", "", "name of the environment variable with the exchange's secret, which is sent in X-Rebound-Secret")
	fs.IntVar(&f.rate, "rate", 1000, "requests per second")
	fs.DurationVar(&f.duration, "duration", 10*time.Second, "how long the schedule runs")
	fs.StringVar(&f.requests, "requests", "", "file with one bid request per line (default: generated requests)")
	fs.Float64Var(&f.knownPct, "known-pct", 40, "generated requests: percentage whose visitor the shop knows")
	fs.IntVar(&f.visitors, "visitors", 2000, "generated requests: number of visitors that the shop knows")
	fs.Uint64Var(&f.seed, "seed", 1, "generated requests: the same seed gives the same requests")
	fs.StringVar(&f.edge, "edge", "http://127.0.0.1:8081", "edge listener, which receives the events of the known visitors first")
	fs.StringVar(&f.key, "key", "demo-shop-key", "key for the server events of the shop")
	fs.StringVar(&f.keyEnv, "key-env", "", "name of the environment variable with the key, instead of --key")
	fs.IntVar(&f.products, "products", 40, "generated requests: visitors view SKU1 to SKUn")
	fs.DurationVar(&f.deadline, "deadline", 100*time.Millisecond, "a response within this time of its schedule is in time; also the tmax of generated requests")
	fs.Float64Var(&f.minInTimePct, "min-in-time-pct", 0, "exit with status 1 if a smaller percentage of responses is in time")
	fs.BoolVar(&f.keepGoing, "keep-going", false, "continue when every response of a whole second is an error, as while the bidder restarts")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to this file")
	fs.StringVar(&f.html, "html", "", "write the report as an HTML page with charts to this file")
	fs.StringVar(&f.results, "results", "", "write every result to this file, in the binary format of vegeta")
	fs.BoolVar(&f.remote, "remote", false, "allow a target that is not this machine or a private network; use it only for hosts that you own")
	fs.Usage = func() {
		fmt.Fprint(stderr, "loadtest attack sends bid requests on an open schedule and reports latency from the scheduled send.\n\nExample:\n"+
			"  loadtest attack --target http://127.0.0.1:8080/openrtb2/demo --rate 2000 --duration 15s --report report.json --html report.html\n\nFlags:\n")
		fs.PrintDefaults()
	}
	return fs
}

func parseAttack(args []string, stderr io.Writer) (*attackFlags, error) {
	f := &attackFlags{}
	fs := f.flagSet(stderr)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("cannot parse flags: got the argument %q; want flags only", fs.Arg(0))
	}
	return f, errors.Join(f.validate(), f.readSecrets())
}

// validate returns an error if a flag has a value that makes no sense.
func (f *attackFlags) validate() error {
	switch {
	case f.visitors < 1:
		return fmt.Errorf("cannot use --visitors: got %d; want 1 to %d", f.visitors, loadtest.MaxVisitors)
	case f.products < 1 || f.products > loadtest.MaxProducts:
		return fmt.Errorf("cannot use --products: got %d; want 1 to %d", f.products, loadtest.MaxProducts)
	case !(f.minInTimePct >= 0 && f.minInTimePct <= 100): // NaN too
		return fmt.Errorf("cannot use --min-in-time-pct: got %g; want 0 to 100", f.minInTimePct)
	}
	urls := []string{f.target}
	if f.introduces() {
		urls = append(urls, f.edge)
	}
	for _, u := range urls {
		check := loadtest.OnlyLocal
		if f.remote {
			check = loadtest.ValidateURL
		}
		if err := check(u); err != nil {
			return err
		}
	}
	return errors.Join(f.attack().Validate(), f.traffic().Validate())
}

// introduces reports whether the visitors' events are sent before the attack.
func (f *attackFlags) introduces() bool { return f.requests == "" && f.knownPct > 0 }

// readSecrets reads the environment variables that the flags name.
func (f *attackFlags) readSecrets() error {
	for _, v := range []struct {
		flag, name string
		to         *string
	}{{"secret-env", f.secretEnv, &f.secret}, {"key-env", f.keyEnv, &f.key}} {
		if v.name == "" {
			continue
		}
		if *v.to = os.Getenv(v.name); *v.to == "" {
			return fmt.Errorf("cannot read --%s: the environment variable %s is not set or empty", v.flag, v.name)
		}
	}
	return nil
}

func (f *attackFlags) attack() *loadtest.Attack {
	return &loadtest.Attack{Target: f.target, Secret: f.secret, Rate: f.rate, Duration: f.duration, Deadline: f.deadline, KeepGoing: f.keepGoing}
}

func (f *attackFlags) traffic() loadtest.Traffic {
	return loadtest.Traffic{Visitors: f.visitors, KnownPct: f.knownPct, TMaxMS: int(f.deadline.Milliseconds()), Seed: f.seed}
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
	if report != nil {
		err = errors.Join(err, f.write(report, stdout))
	}
	if err = errors.Join(err, f.outputs.Discard()); err != nil {
		fmt.Fprintln(stderr, "loadtest:", err)
		return exitFailed
	}
	switch {
	case report.Stopped != "":
		fmt.Fprintf(stderr, "loadtest: stopped after %d of %d requests: %s\n", report.Sent, report.Scheduled, report.Stopped)
		return exitFailed
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
// The report is nil if the attack could not begin.
func (f *attackFlags) run(ctx context.Context, stderr io.Writer) (*loadtest.Report, error) {
	f.outputs.Add("report", f.report)
	f.outputs.Add("html", f.html)
	f.outputs.Add("results", f.results)
	if err := f.outputs.Check(f.requests); err != nil {
		return nil, err
	}
	bar := progressTo(stderr)
	defer bar.End()
	progress := func(what string) func(done, of int) {
		return func(done, of int) {
			bar.Show(longrun.Step{What: what, Done: done, Share: float64(done) / float64(of)})
		}
	}
	a := f.attack()
	a.Progress = progress("responses")
	if f.requests != "" {
		bodies, err := readLines(f.requests)
		if err != nil {
			return nil, err
		}
		if err := a.Probe(ctx, bodies[0]); err != nil {
			return nil, err
		}
		a.Bodies = bodies
	} else {
		t := f.traffic()
		if f.introduces() {
			shop := loadtest.Shop{EdgeURL: strings.TrimSuffix(f.edge, "/"), Key: f.key, Products: skus(f.products)}
			if err := t.Introduce(ctx, shop, a, progress("visitors")); err != nil {
				return nil, err
			}
		} else if err := a.Probe(ctx, t.Bodies(1)[0]); err != nil {
			return nil, err
		}
		a.Bodies = t.Bodies(min(int(float64(f.rate)*f.duration.Seconds()), 200_000))
	}
	return f.save(ctx, a)
}

// save runs the attack and writes its results if requested.
func (f *attackFlags) save(ctx context.Context, a *loadtest.Attack) (*loadtest.Report, error) {
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
	return errors.Join(r.WriteText(stdout),
		longrun.WriteFile(f.report, func(w io.Writer) error {
			b, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				return fmt.Errorf("cannot encode report: %w", err)
			}
			_, err = w.Write(append(b, '\n'))
			return err
		}),
		longrun.WriteFile(f.html, r.WriteHTML))
}

func skus(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("SKU%d", i+1)
	}
	return out
}

// readLines reads the non-empty lines of a file of bid requests. A byte-order mark at
// the beginning of a line is skipped.
func readLines(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read requests: %w", err)
	}
	var out [][]byte
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff")); line != "" {
			out = append(out, []byte(line))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cannot read requests: %s is empty; want one bid request per line", path)
	}
	return out, nil
}

// progressTo returns a progress bar on w if w is a terminal, and one that shows nothing
// otherwise.
func progressTo(w io.Writer) *longrun.Bar {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &longrun.Bar{}
	}
	return &longrun.Bar{W: w, Now: time.Now}
}
