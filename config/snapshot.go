package config

import (
	"io/fs"
	"time"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/internal/spec"
	"rebound/privacy"
	"rebound/rtb"
)

// Snapshot is one configuration: checked, with all defaults filled in, and
// compiled. It is immutable.
type Snapshot struct {
	// Hash is the hash of every file read but the feeds: 32 hex digits.
	Hash  string
	Path  string   // the file that was loaded
	Files []string // every file read, feeds and lists included
	// File is the configuration as written, with the defaults of plain values
	// filled in.
	File

	Profiles      map[string]*exchange.Profile // by id
	AudienceSet   *audiences.Set
	CreativeIndex map[string]*creatives.Creative // by id
	FeedIndex     map[string]*creatives.Feed     // by id
	Index         *campaigns.Index
	Policy        *privacy.Policy
	Rates         *rtb.Rates        // nil: none
	Supply        *campaigns.Supply // nil: no rules about supply
	Tables        *campaigns.Tables // the list files
	// Approvals are the states of creatives at exchanges, from the
	// configuration and its file.
	Approvals []campaigns.Approval
	// EIDSources are the sources of user.eids that are read, in order.
	EIDSources []string
	// Warnings are settings that work but are risky.
	Warnings []spec.Problem
	// FeedReports are the problems in the rows of each feed, by id.
	FeedReports map[string]*creatives.FeedReport

	feedOptions map[string]creatives.FeedOptions // without the previous feed

	sources []inputFile // every file read
	secrets []secret
	fsys    fs.FS // that the files are in
}

// StartSettings returns a snapshot with only those sections that have settings which
// are read once, at the start. It keeps nothing else of s in memory.
func (s *Snapshot) StartSettings() *Snapshot {
	return &Snapshot{Hash: s.Hash, Path: s.Path, File: File{Version: s.Version, Listen: s.Listen, Data: s.Data, Logs: s.Logs, Privacy: s.Privacy}}
}

// Options are the inputs of loading other than the files.
type Options struct {
	// Getenv returns the environment variable of ${NAME}; nil means that none
	// are set.
	Getenv func(name string) (string, bool)
	// Previous is the snapshot in use, whose feeds are kept if new files are
	// much smaller. Nil at start.
	Previous *Snapshot
	// Now is the time for the warning about stale rates; zero disables it.
	Now time.Time

	placeholders map[string]string // of secrets, by path; not nil for a configuration from an archive
}
