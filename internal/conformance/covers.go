package conformance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// ResultsEnv is the environment variable that names the file to which outcomes are
// appended. When it is unset, nothing is written.
const ResultsEnv = "CONFORMANCE_RESULTS"

// Result is the outcome of one test for one rule, and one line of the results file.
type Result struct {
	Rule    string `json:"rule"`
	Package string `json:"package"` // folder, relative to the root of the repository
	Test    string `json:"test"`
	Outcome string `json:"outcome"` // pass, fail or skip
}

// start is the directory in which the test binary was started: the folder of its package.
var start, _ = os.Getwd()

// Covers declares that a test checks the given rules. The outcome is recorded when
// the test ends; a skipped test does not count as a check.
func Covers(t testing.TB, rules ...string) {
	t.Helper()
	file := os.Getenv(ResultsEnv)
	if file == "" {
		return
	}
	t.Cleanup(func() {
		outcome := "pass"
		switch {
		case t.Failed():
			outcome = "fail"
		case t.Skipped():
			outcome = "skip"
		}
		if err := add(file, t.Name(), outcome, rules); err != nil {
			t.Errorf("cannot write conformance results: %v", err)
		}
	})
}

// add appends one line per rule in a single write, so that test binaries running at
// the same time do not interleave their lines.
func add(file, test, outcome string, rules []string) error {
	var lines []byte
	for _, rule := range rules {
		line, err := json.Marshal(Result{rule, folder(), test, outcome})
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(lines)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// folder returns the folder of the package relative to the directory that holds go.mod.
func folder() string {
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			rel, err := filepath.Rel(dir, start)
			if err != nil {
				return start
			}
			return filepath.ToSlash(rel)
		}
		if dir == filepath.Dir(dir) {
			return start
		}
	}
}
