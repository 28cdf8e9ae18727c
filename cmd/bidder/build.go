package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"rebound/internal/cli"
)

// version prints the version of the build.
func (p *program) version(_ context.Context, args []string) int {
	if status, done := p.parse(p.flags("version"), args); done {
		return status
	}
	fmt.Fprintf(p.stdout, "bidder %s %s %s/%s\n", build(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return cli.ExitDone
}

// build is the version in bid records: the commit, or "devel" if the program was built
// without one (from an archive, in a container).
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return develBuild
	}
	return buildOf(info)
}

const develBuild = "devel"

func buildOf(info *debug.BuildInfo) string {
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changed"
		}
	}
	switch v := strings.Trim(info.Main.Version, "()"); {
	case revision != "":
		return revision + changed
	case v != "":
		return v
	}
	return develBuild
}
