package config

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"rebound/campaigns"
	"rebound/internal/spec"
)

// filePrefix begins an entry that is the name of a file with entries.
const filePrefix = "file:"

// listEntry returns an entry of a list. The name of a file in it is relative to
// the file of the configuration.
func listEntry(n *node) string {
	if name, ok := strings.CutPrefix(n.text, filePrefix); ok && name != "" {
		return filePrefix + resolve(n.src.dir, name)
	}
	return n.text
}

// supply compiles the section supply and loads its lists. Lists of lines are
// loaded with the campaigns.
func (l *loader) supply(s *Snapshot, o Options) {
	var previous *campaigns.Tables
	if o.Previous != nil {
		previous = o.Previous.Tables
	}
	s.Tables = campaigns.NewTables(func(name string) (fs.File, error) { return l.fsys.Open(name) }, previous, o.fresh)
	l.tables = s.Tables
	rules, report := campaigns.CompileSupply(&s.File.Supply, s.Tables)
	l.Include("supply", report)
	s.Supply = rules
}

// approvals collects the states of creatives at exchanges: from the creatives'
// own field, then from the file, which takes precedence.
func (l *loader) approvals(s *Snapshot) {
	var ids []string
	for i := range s.Exchanges {
		ids = append(ids, s.Exchanges[i].ID)
	}
	check := func(at place, path string, a campaigns.Approval) {
		problems := a.Check(s.CreativeIndex, ids)
		for _, p := range problems {
			p.File, p.Line, p.Path = at.file, at.line, path
			l.place(p)
		}
		if len(problems) == 0 {
			s.Approvals = append(s.Approvals, a)
		}
	}
	for i := range s.Creatives {
		c := &s.Creatives[i]
		if s.CreativeIndex[c.ID] == nil {
			continue // it has other problems
		}
		for _, exchange := range sortedNames(c.Approval) {
			p := "creatives[" + strconv.Itoa(i) + "].approval." + exchange
			at, _ := l.find(p)
			check(at, p, campaigns.Approval{Creative: c.ID, Exchange: exchange, State: c.Approval[exchange]})
		}
	}
	name := s.File.Approvals.File
	if name == "" {
		return
	}
	text, err := l.read(name)
	if err != nil {
		l.Add("approvals.file", "file "+spec.Quote(name)+": "+reason(err), "a file that can be read")
		return
	}
	list, lines, err := campaigns.ReadApprovals(bytes.NewReader(text))
	if err != nil {
		l.Add("approvals.file", err.Error(), "a file of approvals")
	}
	for i, a := range list {
		check(place{name, lines[i]}, "approvals.file", a)
	}
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Approve returns which creatives may not be shown where, by the configuration
// and by later approvals, which take precedence.
func (s *Snapshot) Approve(since []campaigns.Approval) *campaigns.Approvals {
	required := make(map[string]bool, len(s.Profiles))
	for id, p := range s.Profiles {
		required[id] = p.RequiresApproval
	}
	return campaigns.NewApprovals(append(slices.Clone(s.Approvals), since...), s.CreativeIndex, required)
}

// Lists returns the files that are watched for changes while the program runs:
// lists, feeds, approvals and exchange rates, with slashes.
func (s *Snapshot) Lists() []string {
	var names []string
	for _, f := range s.Tables.Files() {
		names = append(names, f.Name)
	}
	for i := range s.Feeds {
		names = append(names, path.Clean(s.Feeds[i].File))
	}
	for _, name := range []string{s.File.Approvals.File, s.File.Rates.File} {
		if name != "" {
			names = append(names, path.Clean(name))
		}
	}
	return names
}
