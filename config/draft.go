package config

import (
	"reflect"
	"slices"
	"strings"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/internal/spec"
)

// draftFile is the name of the text of a draft in problems.
const draftFile = "draft"

// Draft compiles the audiences of a snapshot with a draft of one: text is the fields of an
// entry of audiences, as YAML or JSON, which replaces the audience with the id or is added.
// Only fields that a configuration file may have are read, and no other file. The error is
// [spec.Problems].
func (s *Snapshot) Draft(advertiser, id string, text []byte) (*audiences.Set, error) {
	l := &loader{files: map[string][]byte{draftFile: text}, top: place{file: draftFile}, blocks: map[string]*node{}, words: map[string]string{}}
	var draft audiences.Spec
	if n := l.parse(draftFile, l.top, ""); n != nil {
		l.decode(n, reflect.ValueOf(&draft).Elem(), "", "")
	}
	if len(l.found) > 0 {
		return nil, spec.Problems(sorted(l.found))
	}
	draft.ID, draft.Advertiser = id, advertiser
	specs := slices.Clone(s.Audiences)
	at := slices.IndexFunc(specs, func(a audiences.Spec) bool { return a.ID == id })
	if at < 0 {
		at = len(specs)
		specs = append(specs, draft)
	}
	specs[at] = draft
	set, problems := s.compileAudiences(specs)
	if len(problems) == 0 {
		return set, nil
	}
	for i := range problems {
		p := &problems[i]
		p.File, p.Path = draftFile, strings.TrimPrefix(p.Path, spec.At("audiences", at)+".")
	}
	return nil, problems
}

// compileAudiences compiles audiences and those that every advertiser has.
func (s *Snapshot) compileAudiences(specs []audiences.Spec) (*audiences.Set, spec.Problems) {
	for i := range specs {
		for j := range s.Advertisers {
			if a := &s.Advertisers[j]; a.ID == specs[i].Advertiser || len(s.Advertisers) == 1 {
				specs[i].Currency = a.Currency
			}
		}
	}
	var ids []string
	for i := range s.Advertisers {
		if id := s.Advertisers[i].ID; spec.ValidID(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
			specs = append(specs, campaigns.BuyersSpec(id), campaigns.SuppressedSpec(id))
		}
	}
	return audiences.Compile(specs, ids)
}
