package conformance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// ResultsEnv names the environment variable with the file that outcomes are
// added to; without it nothing is written.
const ResultsEnv = "CONFORMANCE_RESULTS"

// Result is the outcome of one test for one rule: a line of the results.
type Result struct {
	Rule    string `json:"rule"`
	Package string `json:"package"` // folder, from the repository's root
	Test    string `json:"test"`
	Outcome string `json:"outcome"` // pass, fail or skip
}

// start is where the test binary was started: the package's folder.
var start, _ = os.Getwd()

// Covers says that a test shows the given rules. The outcome is written down
// when the test has ended; a test that was skipped shows nothing.
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

// add appends a line per rule in one write, so that the test binaries that run at
// once do not mix theirs.
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

// folder is the package's folder from the repository's root, where go.mod is.
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
