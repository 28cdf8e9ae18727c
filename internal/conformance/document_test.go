package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// document is what docs/conformance.md is made of.
type document struct {
	sections []section
	results  map[string]map[place]string // by rule: worst outcome at each place
	disabled map[string]string           // by rule: what disabling it did
}

const documentFile = root + "/docs/conformance.md"

// TestDocument writes the document from the results where CONFORMANCE_WRITE is
// set. It fails when a rule's test failed, or a rule that is said to be open is
// shown.
func TestDocument(t *testing.T) {
	file := os.Getenv(ResultsEnv)
	if os.Getenv("CONFORMANCE_WRITE") == "" || file == "" {
		t.Skip("make conformance writes the document")
	}
	d := document{results: readResults(t, file), disabled: disabledRules(t)}
	d.sections, _ = readRules(t)
	if err := os.WriteFile(documentFile, []byte(d.text()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range d.sections {
		for _, r := range s.Rules {
			switch state := d.state(s, r); {
			case state == "FAILS":
				t.Errorf("%s fails: %v", r.ID, d.results[r.ID])
			case state == "pass" && r.Open != "":
				t.Errorf("%s passes; its open reason is out of date: %s", r.ID, r.Open)
			case state == "not run":
				t.Errorf("%s: its tests did not run", r.ID)
			}
		}
	}
}

func readResults(t testing.TB, file string) map[string]map[place]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := map[string]map[place]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var r Result
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if r.Rule == "ours" {
			continue
		}
		if found[r.Rule] == nil {
			found[r.Rule] = map[place]string{}
		}
		p := placeOf(&r)
		if before := found[r.Rule][p]; before == "" || worse(r.Outcome, before) {
			found[r.Rule][p] = r.Outcome
		}
	}
	return found
}

// placeOf is where a reader finds the test: a scenario's file, else the test's
// name without its cases.
func placeOf(r *Result) place {
	name, rest, _ := strings.Cut(r.Test, "/")
	if name == "TestScenarios" {
		scenario, _, _ := strings.Cut(rest, "/")
		return place{file: r.Package + "/testdata/scenarios/" + scenario + ".yaml"}
	}
	return place{r.Package, name}
}

func worse(a, b string) bool {
	order := []string{"skip", "pass", "fail"}
	return slices.Index(order, a) > slices.Index(order, b)
}

// state is a rule's result: pass when everything that shows it passed.
func (d *document) state(s section, r rule) string {
	outcomes := map[string]int{}
	for _, o := range d.results[r.ID] {
		outcomes[o]++
	}
	switch {
	case s.Pending != "":
		return "pending"
	case outcomes["fail"] > 0:
		return "FAILS"
	case outcomes["pass"] > 0:
		return "pass"
	case r.Open != "":
		return "open"
	}
	return "not run"
}

func (d *document) text() string {
	var b strings.Builder
	b.WriteString(`# Conformance

Written by ` + "`make conformance`" + ` from the outcomes of the tests; do not edit. A rule passes when every scenario and
test that names it passed. *Disabled* tells what happened to the rule's own test when the rule was taken out of the
source (` + "`make prove`" + `, internal/conformance/mutations.yaml). The rules are those of OpenRTB 2.5 and 2.6 and of the
documents around them, in our words; the priorities are ours.

`)
	d.writeCounts(&b)
	d.writeOpen(&b, "must", "Musts that are not proven")
	d.writeOpen(&b, "should", "Shoulds that are not had")
	d.writeOpen(&b, "nice", "Nice to have, and not had")
	for _, s := range d.sections {
		d.writeSection(&b, s)
	}
	return b.String()
}

func (d *document) writeCounts(b *strings.Builder) {
	b.WriteString("| section | musts | pass | open | pending | disabled and failed | shoulds | pass |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	var total [7]int
	for _, s := range d.sections {
		var n [7]int
		for _, r := range s.Rules {
			state := d.state(s, r)
			if r.Priority == "must" {
				n[0]++
				n[1] += count(state == "pass")
				n[2] += count(state != "pass" && state != "pending")
				n[3] += count(state == "pending")
				n[4] += count(d.disabled[r.ID] == failsAsItMust)
			} else if r.Priority == "should" {
				n[5]++
				n[6] += count(state == "pass")
			}
		}
		fmt.Fprintf(b, "| %s %s | %d | %d | %d | %d | %d | %d | %d |\n", s.ID, s.Name, n[0], n[1], n[2], n[3], n[4], n[5], n[6])
		for i := range n {
			total[i] += n[i]
		}
	}
	fmt.Fprintf(b, "| all | %d | %d | %d | %d | %d | %d | %d |\n\n", total[0], total[1], total[2], total[3], total[4], total[5], total[6])
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (d *document) writeOpen(b *strings.Builder, priority, title string) {
	var lines []string
	for _, s := range d.sections {
		for _, r := range s.Rules {
			switch state := d.state(s, r); {
			case r.Priority != priority, state == "pass":
			case s.Pending != "":
				lines = append(lines, fmt.Sprintf("- **%s** %s Pending: %s.\n", r.ID, r.Text, s.Pending))
			default:
				lines = append(lines, fmt.Sprintf("- **%s** %s %s: %s.\n", r.ID, r.Text, strings.ToUpper(state[:1])+state[1:], r.Open))
			}
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "## %s\n\n%s\n", title, strings.Join(lines, ""))
	}
}

func (d *document) writeSection(b *strings.Builder, s section) {
	fmt.Fprintf(b, "## %s. %s\n\n", s.ID, s.Name)
	if s.Pending != "" {
		fmt.Fprintf(b, "Pending: %s.\n\n", s.Pending)
	}
	b.WriteString("| rule | | what | shown by | result | disabled |\n|---|---|---|---|---|---|\n")
	for _, r := range s.Rules {
		var shown []string
		for p := range d.results[r.ID] {
			shown = append(shown, p.link())
		}
		slices.Sort(shown)
		text := r.Text
		if r.Note != "" {
			text += " (" + r.Note + ")"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", r.ID, r.Priority, text, strings.Join(shown, ", "), d.state(s, r), d.disabled[r.ID])
	}
	b.WriteString("\n")
}

// link leads to a scenario's file; a test is named with its package.
func (p place) link() string {
	if p.name != "" {
		return p.file + "." + p.name
	}
	name := strings.TrimSuffix(p.file[strings.LastIndexByte(p.file, '/')+1:], ".yaml")
	return "[" + name + "](../" + p.file + ")"
}

// TestProveDocumentIsCurrent reports where docs/conformance.md is out of date: a
// rule that it lacks, a test or scenario that no longer exists, a must that neither
// passed nor has a reason, and a must whose mutations have not all been shown to
// fail its tests. It runs with PROVE=1 only (make stale, make prove).
func TestProveDocumentIsCurrent(t *testing.T) {
	needsProve(t)
	text, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "); len(cells) == 6 {
			rows[strings.TrimSpace(cells[0])] = cells
		}
	}
	sections, _ := readRules(t)
	places, disabled := placesInTree(t), disabledRules(t)
	for _, s := range sections {
		for _, r := range s.Rules {
			if r.Priority == "must" && r.Open == "" && slices.Contains(provenSections, s.ID) && disabled[r.ID] != failsAsItMust {
				t.Errorf("%s is a must; disabled.txt says %q of disabling it; run PROVE=1 PROVE_RULES=missing go test -run TestProveDisabled ./internal/conformance", r.ID, disabled[r.ID])
			}
			cells := rows[r.ID]
			if cells == nil {
				t.Errorf("docs/conformance.md lacks %s; run make conformance", r.ID)
				continue
			}
			state := cells[4]
			if r.Priority == "must" && state != "pass" && r.Open == "" && s.Pending == "" {
				t.Errorf("%s is a must, and docs/conformance.md says %q", r.ID, state)
			}
			if state == "pass" && !shownBy(cells[3], places[r.ID]) {
				t.Errorf("%s: docs/conformance.md says pass by %s, which is not all there any more; run make conformance", r.ID, cells[3])
			}
		}
	}
}

// shownBy tells whether everything that a row names is still in the tree.
func shownBy(cell string, places []place) bool {
	for _, name := range strings.Split(cell, ", ") {
		if !slices.ContainsFunc(places, func(p place) bool { return p.link() == name }) {
			return false
		}
	}
	return true
}
