package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestProveDisabled applies each mutation in turn, in an overlay of the source, and
// expects its test to fail. It takes many minutes and runs with PROVE=1 only.
// PROVE_RULES restricts it: a list of rules separated by commas, or the word
// missing for the rows that have not been proven yet.
func TestProveDisabled(t *testing.T) {
	needsProve(t)
	p := prover{t: t, dir: t.TempDir(), table: readMutations(t), outcomes: disabledRows(t)}
	list := slices.Clone(p.table)
	if only := os.Getenv("PROVE_RULES"); only == "missing" {
		list = slices.DeleteFunc(list, func(m mutation) bool { return p.outcomes[m.String()] == failsAsItMust })
	} else if only != "" {
		list = slices.DeleteFunc(list, func(m mutation) bool { return !slices.Contains(strings.Split(only, ","), m.Rule) })
	}
	list = p.sound(list)
	work := make(chan mutation)
	var group sync.WaitGroup
	for worker := range 2 {
		group.Go(func() {
			for m := range work {
				outcome, err := p.disable(worker, &m)
				if err != nil {
					outcome = "cannot say"
					t.Errorf("%s: %v", &m, err)
				} else if outcome != failsAsItMust {
					t.Errorf("%s: the test passes without the rule", &m)
				}
				p.record(&m, outcome)
			}
		})
	}
	for _, m := range list {
		work <- m
	}
	close(work)
	group.Wait()
}

type prover struct {
	t        *testing.T
	dir      string
	table    []mutation // all rows, in their order
	mu       sync.Mutex // guards outcomes and the file that holds them
	outcomes map[string]string
}

// record writes the outcome at once, so that an interrupted run keeps what it found.
func (p *prover) record(m *mutation, outcome string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes[m.String()] = outcome
	p.write()
}

// sound runs every test with the unchanged source and returns the rows whose test
// passes there: any other test proves nothing.
func (p *prover) sound(list []mutation) []mutation {
	tests := map[string]map[string]bool{} // by folder
	for _, m := range list {
		if tests[m.dir()] == nil {
			tests[m.dir()] = map[string]bool{}
		}
		tests[m.dir()][m.Test] = true
	}
	for _, dir := range slices.Sorted(maps.Keys(tests)) {
		binary := filepath.Join(p.dir, "sound.test")
		if err := p.build(binary, dir, ""); err != nil {
			p.t.Error(err)
			clear(tests[dir])
			continue
		}
		for _, test := range slices.Sorted(maps.Keys(tests[dir])) {
			out, err := p.run(binary, dir, test)
			if err != nil || !bytes.Contains(out, []byte("--- PASS")) {
				p.t.Errorf("%s %s does not exist or does not pass with the unchanged source: %v\n%.3000s", dir, test, err, out)
				delete(tests[dir], test)
			}
		}
	}
	return slices.DeleteFunc(list, func(m mutation) bool { return !tests[m.dir()][m.Test] })
}

// disable runs a rule's test without the rule.
func (p *prover) disable(worker int, m *mutation) (string, error) {
	base := filepath.Join(p.dir, fmt.Sprintf("w%d", worker))
	if err := overlay(base, m); err != nil {
		return "", err
	}
	if err := p.build(base+".test", m.dir(), base+".json"); err != nil {
		return "", err
	}
	out, err := p.run(base+".test", m.dir(), m.Test)
	switch {
	case bytes.Contains(out, []byte("\npanic:")):
		return "", fmt.Errorf("the test panics or hangs:\n%.3000s", out)
	case err == nil:
		return "still passes", nil
	case !bytes.Contains(out, []byte("--- FAIL")):
		return "", fmt.Errorf("the test did not run: %w\n%.3000s", err, out)
	}
	return failsAsItMust, nil
}

// overlay writes the changed files, and base.json for go build -overlay.
func overlay(base string, m *mutation) error {
	files, err := m.apply()
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(files)) {
		file, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			return err
		}
		replace[file] = fmt.Sprintf("%s-%d.go", base, i)
		if err := os.WriteFile(replace[file], files[name], 0o600); err != nil {
			return err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(base+".json", text, 0o600)
}

func (p *prover) build(binary, dir, overlay string) error {
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary} // linking takes most of the time
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "go", append(args, "./"+filepath.ToSlash(dir))...)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the test: %w\n%s", err, out)
	}
	return nil
}

func (p *prover) run(binary, dir, test string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binary, "-test.v", "-test.run", test, "-test.timeout", "2m")
	c.Dir = filepath.Join(root, dir)
	c.Env = append(os.Environ(), "PROVE=", ResultsEnv+"=")
	return c.CombinedOutput()
}

// write writes all known outcomes of the rows that still exist, in their order.
func (p *prover) write() {
	out := "# What each row's test did when the row was applied; written by TestProveDisabled.\n"
	for _, m := range p.table {
		if outcome := p.outcomes[m.String()]; outcome != "" {
			out += outcome + "\t" + m.String() + "\n"
		}
	}
	if err := os.WriteFile(disabledFile, []byte(out), 0o644); err != nil {
		p.t.Errorf("cannot write the outcomes: %v", err)
	}
}
