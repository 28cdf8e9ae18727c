// Package cli contains the parts that the command lines of the programs share:
// the sample configuration and the exit statuses. Only the programs below cmd
// call it.
package cli

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"rebound/config"
	"rebound/examples"
)

// Exit statuses of every program.
const (
	ExitDone   = 0
	ExitFailed = 1 // the check failed: an invalid configuration, differences, or a missed target
	ExitUsage  = 2
)

// Sample is the path of the sample shop, relative to the root of the repository.
const Sample = "examples/" + examples.Shop

// LoadConfig reads a configuration; an empty path means the sample shop. The sample
// shop is read from the repository if it exists there, so that it can be edited, and
// otherwise from the copy embedded in the program.
func LoadConfig(path string, o config.Options) (*config.Snapshot, error) {
	if path == "" {
		path = Sample
	}
	if path == Sample {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return config.LoadFS(examples.FS, strings.TrimPrefix(path, "examples/"), o)
		}
	}
	return config.Load(path, o)
}
