// Package cli is what the programs' command lines share: the sample
// configuration and the exit statuses. Only cmd calls it.
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
	ExitDone  = 0
	ExitNotSo = 1 // the thing asked about is not so: bad configuration, differences, a share missed
	ExitUsage = 2
)

// Sample is the sample shop, as seen from the repository.
const Sample = "examples/" + examples.Shop

// LoadConfig reads a configuration; an empty path is the sample shop. That is
// read from the repository where it is, so that it can be edited, else from the
// program itself.
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
