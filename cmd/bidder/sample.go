package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"rebound/config"
	"rebound/examples"
)

// defaultConfig is the sample shop, as seen from the repository.
const defaultConfig = "examples/" + examples.Shop

// loadConfig reads a configuration. The sample shop is read from the repository
// where it is, so that it can be edited and reloaded, else from the program itself.
func loadConfig(path string, o config.Options) (*config.Snapshot, error) {
	if path == defaultConfig {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return config.LoadFS(examples.FS, strings.TrimPrefix(path, "examples/"), o)
		}
	}
	return config.Load(path, o)
}
