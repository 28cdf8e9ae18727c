package reference

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// Every alerting rule uses metrics that exist, and has an entry in the runbook, which
// has no entry without a rule.
func TestAlertingRules(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read("deploy/prometheus-rules.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	reference, runbook := read("docs/reference.md"), read("docs/runbook.md")
	metric := regexp.MustCompile(`rebound_[a-z_]+`)
	alerts := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			alerts[r.Alert] = true
			if !strings.Contains(runbook, "\n## "+r.Alert+"\n") || r.Annotations["runbook"] != "docs/runbook.md#"+strings.ToLower(r.Alert) {
				t.Errorf("%s has no entry in the runbook, or links to another", r.Alert)
			}
			if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("%s has no summary or severity", r.Alert)
			}
			for _, m := range metric.FindAllString(r.Expr, -1) {
				if !strings.Contains(reference, "`"+m+"`") && !strings.Contains(reference, "`"+m+"{") {
					t.Errorf("%s uses %s, which does not exist", r.Alert, m)
				}
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(runbook, -1) {
		if !alerts[m[1]] {
			t.Errorf("the runbook describes %s, which no rule raises", m[1])
		}
	}
	if len(alerts) < 20 {
		t.Errorf("got %d alerts; want all of them", len(alerts))
	}
}
