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
	sender                 string
	conns                  int
	edge, key, keyEnv      string
	rate                   int
	duration, deadline     time.Duration
	requests               string
	speed                  float64
	report, html, results  string
	knownPct, minInTimePct float64
	visitors               int
	products               int
	seed                   uint64
	remote, keepGoing      bool
	formats                loadtest.Formats
	version                string

	secret  string // the value of secretEnv
	outputs longrun.Outputs
}

// flagSet returns the flags of the command, which set f.
func (f *attackFlags) flagSet(stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("attack", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&f.rate, "rate", 1000, "requests per second")
	fs.DurationVar(&f.duration, "duration", 10*time.Second, "how long the schedule runs")
	f.trafficFlags(fs)
	f.senderFlags(fs)
	fs.Float64Var(&f.speed, "speed", 0, "send the bid records of --requests at this multiple of the speed at which they were recorded, instead of at --rate")
	fs.Float64Var(&f.minInTimePct, "min-in-time-pct", 0, "exit with status 1 if a smaller percentage of responses is in time")
	fs.BoolVar(&f.keepGoing, "keep-going", false, "continue when every response of a whole second is an error, as while the bidder restarts")
	fs.StringVar(&f.report, "report", "", "write the report as JSON to this file")
	fs.StringVar(&f.html, "html", "", "write the report as an HTML page with charts to this file")
	fs.StringVar(&f.results, "results", "", "write every result to this file, in the binary format of vegeta")
	fs.Usage = func() {
		fmt.Fprint(stderr, "loadtest attack sends bid requests on an open schedule and reports latency from the scheduled send.\n\nExample:\n"+
			"  loadtest attack --target http://127.0.0.1:8080/openrtb2/demo --rate 2000 --duration 15s --report report.json --html report.html\n\nFlags:\n")
		fs.PrintDefaults()
	}
	return fs
}

// trafficFlags defines the flags that say what is sent, and where; attack, ramp and
// targets share them.
func (f *attackFlags) trafficFlags(fs *flag.FlagSet) {
	fs.StringVar(&f.target, "target", "http://127.0.0.1:8080/openrtb2/demo", "bid endpoint of one exchange")
	fs.StringVar(&f.secretEnv, "secret-env", "", "name of the environment variable with the exchange's secret, which is sent in X-Rebound-Secret")
	fs.StringVar(&f.requests, "requests", "", "file with one bid request or bid record per line (default: generated requests)")
	fs.DurationVar(&f.deadline, "deadline", 100*time.Millisecond, "a response within this time of its schedule is in time; also the tmax of generated requests")
	fs.Float64Var(&f.knownPct, "known-pct", 40, "generated requests: percentage whose visitor the shop knows")
	fs.IntVar(&f.visitors, "visitors", 2000, "generated requests: number of visitors that the shop knows")
	fs.IntVar(&f.formats.Banner, "banners", 1, "generated requests: relative share of banners")
	fs.IntVar(&f.formats.Video, "videos", 0, "generated requests: relative share of video")
	fs.IntVar(&f.formats.Native, "natives", 0, "generated requests: relative share of native")
	fs.StringVar(&f.version, "openrtb", "2.6", "generated requests: OpenRTB version, 2.5 or 2.6")
	fs.Uint64Var(&f.seed, "seed", 1, "generated requests: the same seed gives the same requests")
	fs.StringVar(&f.edge, "edge", "http://127.0.0.1:8081", "edge listener, which receives the events of the known visitors first")
	fs.StringVar(&f.key, "key", "demo-shop-key", "key for the server events of the shop")
	fs.StringVar(&f.keyEnv, "key-env", "", "name of the environment variable with the key, instead of --key")
	fs.IntVar(&f.products, "products", 40, "generated requests: visitors view SKU1 to SKUn")
	fs.BoolVar(&f.remote, "remote", false, "allow a target that is not this machine or a private network; use it only for hosts that you own")
}

// senderFlags defines the flags that say what sends the requests.
func (f *attackFlags) senderFlags(fs *flag.FlagSet) {
	fs.StringVar(&f.sender, "sender", loadtest.Vegeta, "what sends the requests: vegeta, or poll, which sends several times as many with one core, over http connections that it polls without sleeping (Linux)")
	fs.IntVar(&f.conns, "connections", 0, "number of connections of the sender poll (default: one for each request that is due within twice the deadline)")
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
	return f, f.check()
}

// check returns an error if the flags make no sense, and reads the secrets.
func (f *attackFlags) check() error { return errors.Join(f.validate(), f.readSecrets()) }

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
	if f.sender == loadtest.Poll && f.results != "" {
		return fmt.Errorf("cannot use --results: the sender %s writes no results; use --sender %s", loadtest.Poll, loadtest.Vegeta)
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
	return &loadtest.Attack{Target: f.target, Secret: f.secret, Rate: f.rate, Duration: f.duration, Deadline: f.deadline, KeepGoing: f.keepGoing, Sender: f.sender, Conns: f.conns, Now: time.Now}
}

func (f *attackFlags) traffic() loadtest.Traffic {
	return loadtest.Traffic{Visitors: f.visitors, KnownPct: f.knownPct, TMaxMS: int(f.deadline.Milliseconds()), Seed: f.seed, Formats: f.formats, Version: f.version}
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
	case len(report.Invalid) > 0:
		fmt.Fprintf(stderr, "loadtest: got invalid bids, such as: %s\n", report.Invalid[0])
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
	if err := f.prepare(ctx, a, progress("visitors")); err != nil {
		return nil, err
	}
	return f.save(ctx, a)
}

// prepare reads or generates the requests of an attack. For generated ones it sends the
// events of the known visitors first.
func (f *attackFlags) prepare(ctx context.Context, a *loadtest.Attack, progress func(done, of int)) error {
	if f.requests != "" {
		recorded, err := f.recorded()
		if err != nil {
			return err
		}
		a.Bodies = recorded.Bodies
		if f.speed != 0 {
			if a.Offsets, err = recorded.AtSpeed(f.speed); err != nil {
				return err
			}
		}
		return a.Probe(ctx, a.Bodies[0])
	}
	t := f.traffic()
	most := 200_000
	if f.sender == loadtest.Poll { // which gives each request an id of its own
		most = 10_000
	}
	a.Bodies = t.Bodies(max(min(int(float64(f.rate)*f.duration.Seconds()), most), 1))
	if !f.introduces() {
		return a.Probe(ctx, a.Bodies[0])
	}
	shop := loadtest.Shop{EdgeURL: strings.TrimSuffix(f.edge, "/"), Key: f.key, Products: skus(f.products)}
	return t.Introduce(ctx, shop, a, progress)
}

// recorded reads the requests of a file.
func (f *attackFlags) recorded() (*loadtest.Recorded, error) {
	text, err := os.ReadFile(f.requests)
	if err != nil {
		return nil, fmt.Errorf("cannot read requests: %w", err)
	}
	r, err := loadtest.ParseRecorded(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.requests, err)
	}
	return r, nil
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

// progressTo returns a progress bar on w if w is a terminal, and one that shows nothing
// otherwise.
func progressTo(w io.Writer) *longrun.Bar {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &longrun.Bar{}
	}
	return &longrun.Bar{W: w, Now: time.Now}
}
