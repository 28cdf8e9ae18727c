package config

import (
	"time"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/internal/spec"
	"rebound/privacy"
	"rebound/rtb"
)

// Snapshot is one configuration, checked, with all defaults filled in, and
// compiled. It is immutable.
type Snapshot struct {
	// Hash names the content: of every file read but the feeds. 32 hex digits.
	Hash  string
	Path  string   // the file that was loaded
	Files []string // every file read; feeds and lists are among them
	// File is the configuration as written, defaults filled in where they are
	// plain values.
	File

	Profiles      map[string]*exchange.Profile // by id
	AudienceSet   *audiences.Set
	CreativeIndex map[string]*creatives.Creative // by id
	FeedIndex     map[string]*creatives.Feed     // by id
	Index         *campaigns.Index
	Policy        *privacy.Policy
	Rates         *rtb.Rates        // nil: none
	Supply        *campaigns.Supply // nil: nothing is asked of supply
	Tables        *campaigns.Tables // the list files
	// Approvals are what configuration and file say of creatives at exchanges.
	Approvals []campaigns.Approval
	// EIDSources are the sources of user.eids that are read, in their order.
	EIDSources []string
	// Warnings are things that work and are risky.
	Warnings []spec.Problem
	// Rows are the rows of feeds that were skipped, by feed id.
	Rows map[string]spec.Problems
}

// Options are what loading depends on beside the files.
type Options struct {
	// Getenv finds the environment variables of ${NAME}; nil: none are set.
	Getenv func(name string) (string, bool)
	// Previous is the snapshot in use; its feeds stay where a new file is much
	// smaller. Nil at start.
	Previous *Snapshot
	// Now decides whether rates are stale, for the warning; zero: not checked.
	Now time.Time
}
