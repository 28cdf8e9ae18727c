package main

import (
	"context"
	"encoding/json"
	"fmt"

	"rebound/config"
	"rebound/internal/cli"
)

// diff prints what one configuration changes compared with another, and exits with
// 1 when there is a change.
func (p *program) diff(_ context.Context, args []string) int {
	fs := p.flags("diff")
	path := fs.String("config", cli.Sample, "configuration `file`")
	against := fs.String("against", "", "configuration `file` to compare with; required")
	if status, done := p.parse(fs, args); done {
		return status
	}
	if *against == "" {
		fmt.Fprintln(p.stderr, "diff: got no --against; want the configuration file to compare with")
		return cli.ExitUsage
	}
	before, err := cli.LoadConfig(*against, config.Options{Getenv: p.getenv, Now: p.now()})
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	after, err := cli.LoadConfig(*path, config.Options{Getenv: p.getenv, Now: p.now()})
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	changes := config.Diff(before, after)
	for _, c := range changes {
		fmt.Fprintln(p.stdout, c)
	}
	for _, r := range config.Risks(before, after) {
		fmt.Fprintln(p.stderr, "warning: "+r.String())
	}
	if len(changes) > 0 {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// schema prints the JSON Schema of the configuration file.
func (p *program) schema(_ context.Context, args []string) int {
	if status, done := p.parse(p.flags("schema"), args); done {
		return status
	}
	schema, err := config.Schema()
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	return p.printJSON(schema)
}

// printJSON prints a value as indented JSON and returns the exit status.
func (p *program) printJSON(v any) int {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintf(p.stdout, "%s\n", b)
	return cli.ExitDone
}
