package main

import (
	"context"
	"fmt"
	"runtime"

	"rebound/internal/cli"
)

// version prints the version of the build.
func (p *program) version(_ context.Context, args []string) int {
	if status, done := p.parse(p.flags("version"), args); done {
		return status
	}
	fmt.Fprintf(p.stdout, "bidder %s %s %s/%s\n", cli.Build(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return cli.ExitDone
}
