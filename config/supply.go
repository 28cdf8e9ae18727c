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

// filePrefix begins an entry of a list that names a file of entries.
const filePrefix = "file:"

// listEntry is an entry of a list: a file's name in it is relative to the
// configuration's file.
func listEntry(n *node) string {
	if name, ok := strings.CutPrefix(n.text, filePrefix); ok && name != "" {
		return filePrefix + resolve(n.src.dir, name)
	}
	return n.text
}

// supply loads the lists of the section supply; what lines name is loaded with
// the campaigns.
func (l *loader) supply(s *Snapshot, o Options) {
	var previous *campaigns.Tables
	if o.Previous != nil {
		previous = o.Previous.Tables
	}
	s.Tables = campaigns.NewTables(func(name string) (fs.File, error) { return l.fsys.Open(name) }, previous)
	l.tables = s.Tables
	rules, report := campaigns.CompileSupply(&s.File.Supply, s.Tables)
	l.Include("supply", report)
	s.Supply = rules
}

// approvals gathers what is known of creatives at exchanges: the creatives' own
// field, then the file, which wins.
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
			continue // it has problems of its own
		}
		for _, exchange := range sortedNames(c.Approval) {
			p := "creatives[" + strconv.Itoa(i) + "].approval." + exchange
			check(l.find(p), p, campaigns.Approval{Creative: c.ID, Exchange: exchange, State: c.Approval[exchange]})
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

// Approve works out which creatives may not be shown where: by the configuration,
// and by what was said since, which wins.
func (s *Snapshot) Approve(since []campaigns.Approval) *campaigns.Approvals {
	required := make(map[string]bool, len(s.Profiles))
	for id, p := range s.Profiles {
		required[id] = p.RequiresApproval
	}
	return campaigns.NewApprovals(append(slices.Clone(s.Approvals), since...), s.CreativeIndex, required)
}

// Lists are the files that are looked at for changes while the program runs: lists,
// approvals and exchange rates, slash-separated.
func (s *Snapshot) Lists() []string {
	var names []string
	for _, f := range s.Tables.Files() {
		names = append(names, f.Name)
	}
	for _, name := range []string{s.File.Approvals.File, s.File.Rates.File} {
		if name != "" {
			names = append(names, path.Clean(name))
		}
	}
	return names
}
