package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"rebound/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // a second signal ends the process at once, unless it arrives together with the first
		<-ctx.Done()
		time.Sleep(time.Second)
		stop()
	}()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	p := program{stdout: os.Stdout, stderr: os.Stderr, hup: hup, now: time.Now, getenv: os.LookupEnv}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is the bidder as a value, so that tests can run it in their own process.
type program struct {
	stdout, stderr io.Writer
	hup            <-chan os.Signal // reload
	now            func() time.Time
	getenv         func(string) (string, bool)
	// started, if set, is called once bid requests are answered.
	started func(*app)
}

// verb is one command of the program.
type verb struct {
	name, short, example string
	run                  func(p *program, ctx context.Context, args []string) int
}

// verbs are listed in the order of the help text.
func verbs() []verb {
	return []verb{
		{"serve", "answer bid requests and collect visitors' events (the default)",
			"bidder serve --config examples/shop/rebound.yaml --data ./data", (*program).serve},
		{"init", "write a commented starter configuration into a folder",
			"bidder init --domain shop.example my-shop", (*program).initConfig},
		{"check", "report every problem of a configuration, with file and line",
			"bidder check my-shop/rebound.yaml", (*program).check},
		{"diff", "show what changes between two configurations; exit status 1 if anything does",
			"bidder diff --config new.yaml --against old.yaml", (*program).diff},
		{"schema", "print the JSON Schema of the configuration file, for editors",
			"bidder schema > rebound.schema.json", (*program).schema},
		{"try", "answer one captured request as a bidder would, with every header",
			"bidder try --exchange demo --event view_item:SKU7@2h request.json", (*program).try},
		{"explain", "show step by step how a request is decided",
			"bidder explain --exchange demo --event view_item:SKU7@2h --request request.json", (*program).explain},
		{"audiences", "show audiences with size and reach, estimate a draft, rebuild one from the log, export one",
			"bidder audiences estimate cart_abandoners --config draft.yaml --data ./data", (*program).audiencesVerb},
		{"list", "upload a list of customers, or show the report of an upload: list upload, list status",
			"REBOUND_KEY=... bidder list upload vip customers.csv --consent-granted", (*program).listVerb},
		{"debug-token", "make a token with which the response of a live bid request explains it",
			"curl -d @request.json \"http://127.0.0.1:8080/openrtb2/demo?debug=$(bidder debug-token --data ./data)\"", (*program).debugTokenVerb},
		{"user", "show what a running bidder knows of a visitor: profile, audiences and why, frequency, last bids",
			"bidder user uid:<cookie>", (*program).userVerb},
		{"verify", "check the whole log against its chain, and that it still contains a head noted earlier",
			"bidder verify --data ./data --anchor 1234:5f0c...", (*program).verify},
		{"log", "read the logs (log cat, tail, stats), repair them from a backup, or accept what they lost (log repair, accept-loss)",
			"bidder log tail --data ./data --line cart --reason frequency", (*program).logVerb},
		{"report", "report delivery, pacing, the funnel, no-bids, losses and more from the logs, which may be in use",
			"bidder report delivery --data ./data --from 7d", (*program).report},
		{"erase", "erase a person's data in a running bidder: KIND:VALUE, for instance uid:<cookie>, ifa:..., em:<SHA-256>",
			"bidder erase --advertiser shop em:973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b", (*program).eraseVerb},
		{"reconcile", "compare an exchange's report (CSV) with its notices, and book the difference in the budgets",
			"bidder reconcile --exchange demo --zone America/New_York --apply report.csv", (*program).reconcile},
		{"backup", "copy the log, keys and newest checkpoints of a data folder, which may be in use",
			"bidder backup --data ./data /backups/monday", (*program).backup},
		{"restore", "create a data folder from a backup",
			"bidder restore --data ./data /backups/monday", (*program).restore},
		{"keys", "give a data folder a new key for notices: keys rotate",
			"bidder keys rotate --data ./data", (*program).keysVerb},
		{"health", "ask a running bidder whether it is ready; for container health checks",
			"bidder health --admin 127.0.0.1:8082", (*program).healthCheck},
		{"demo", "run bidder, sample shop and a mock exchange in one process, to see it work",
			"bidder demo", (*program).demo},
		{"version", "print the version of this build, as in bid records",
			"bidder version", (*program).version},
	}
}

// run finds the verb and runs it.
func (p *program) run(ctx context.Context, args []string) int {
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 && (args[0] == "--version" || args[0] == "-version") {
		name, args = "version", args[1:]
	} else if len(args) > 0 && (args[0] == "-h" || args[0] == "--help" || args[0] == "-help") {
		p.usage(p.stdout)
		return cli.ExitDone
	}
	if name == "help" {
		p.usage(p.stdout)
		return cli.ExitDone
	}
	for _, v := range verbs() {
		if v.name == name {
			return v.run(p, ctx, args)
		}
	}
	fmt.Fprintf(p.stderr, "bidder: unknown verb %q\n\n", name)
	p.usage(p.stderr)
	return cli.ExitUsage
}

func (p *program) usage(w io.Writer) {
	fmt.Fprint(w, "Rebound: an OpenRTB bidder that wins back the visitors who left.\n\nusage: bidder [verb] [flags]\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-8s %s\n", v.name, v.short)
	}
	fmt.Fprint(w, "\nbidder <verb> -h shows the flags of a verb.\n")
}

// flags creates the flag set of a verb; its help ends with an example.
func (p *program) flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet("bidder "+name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.Usage = func() {
		for _, v := range verbs() {
			if v.name == name {
				fmt.Fprintf(fs.Output(), "bidder %s: %s\n\nflags:\n", name, v.short)
				fs.PrintDefaults()
				fmt.Fprintf(fs.Output(), "\nexample:\n  %s\n", v.example)
			}
		}
	}
	return fs
}

// parse parses a verb's flags. If done is true, the program exits with status.
func (p *program) parse(fs *flag.FlagSet, args []string) (status int, done bool) {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return cli.ExitDone, true
		}
		return cli.ExitUsage, true
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(p.stderr, "%s: got argument %q; want flags only\n", fs.Name(), fs.Arg(0))
		return cli.ExitUsage, true
	}
	return cli.ExitDone, false
}

// parseConfig parses the flags of a verb whose --config may also be its only
// argument, before or after the flags.
func (p *program) parseConfig(fs *flag.FlagSet, path *string, args []string) (status int, done bool) {
	file := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		file, args = args[0], args[1:]
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return cli.ExitDone, true
		}
		return cli.ExitUsage, true
	}
	files := fs.Args()
	if file != "" {
		files = append([]string{file}, files...)
	}
	fs.Visit(func(f *flag.Flag) {
		if f.Name == "config" {
			files = append(files, *path)
		}
	})
	if len(files) > 1 {
		fmt.Fprintf(p.stderr, "%s: got %d configuration files; want one\n", fs.Name(), len(files))
		return cli.ExitUsage, true
	}
	if len(files) == 1 {
		*path = files[0]
	}
	return cli.ExitDone, false
}

// parseWithFile parses the flags of a verb that takes one file after them.
func (p *program) parseWithFile(fs *flag.FlagSet, args []string) (file string, status int, done bool) {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return "", cli.ExitDone, true
		}
		return "", cli.ExitUsage, true
	}
	if fs.NArg() != 1 {
		fmt.Fprintf(p.stderr, "%s: got %d files; want flags and then one file, or - for standard input\n", fs.Name(), fs.NArg())
		return "", cli.ExitUsage, true
	}
	return fs.Arg(0), cli.ExitDone, false
}
