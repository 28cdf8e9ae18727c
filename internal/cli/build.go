package cli

import (
	"runtime/debug"
	"strings"
)

// Build is the version of the program, as bid records name it: the commit, or "devel" if the program was built
// without one (from an archive, in a container).
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return develBuild
	}
	return BuildOf(info)
}

const develBuild = "devel"

// BuildOf is Build for a program with the information.
func BuildOf(info *debug.BuildInfo) string {
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
