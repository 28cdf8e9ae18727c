package campaigns

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
)

// Scopes are the permissions of a key.
type Scopes uint8

// The scopes.
const (
	ScopeEvents Scopes = 1 << iota
	ScopeLists
	ScopeFeeds
	ScopeAudiences
	ScopePrivacy
	// ScopeEventsConsented is ScopeEvents of a sender that vouches for the consent of
	// its visitors: an event without privacy signals is accepted.
	ScopeEventsConsented
	ScopeReports
)

var scopeNames = []string{"events", "lists", "feeds", "audiences", "privacy", "events_consented", "reports"}

// Has reports whether all scopes in want are permitted.
func (s Scopes) Has(want Scopes) bool { return s&want == want }

// String returns the names of the scopes, separated by commas.
func (s Scopes) String() string {
	var names []string
	for i, name := range scopeNames {
		if s.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Key is the hash of an advertiser's key.
type Key struct {
	SHA256 [sha256.Size]byte
	Scopes Scopes
}

// Authenticate returns the advertiser and the scopes of a bearer token, or nil
// if the token is unknown. It compares every key in constant time.
func (x *Index) Authenticate(token []byte) (*Advertiser, Scopes) {
	sum := sha256.Sum256(token)
	var found *Advertiser
	var scopes Scopes
	for _, a := range x.advertisers {
		for i := range a.Keys {
			if subtle.ConstantTimeCompare(sum[:], a.Keys[i].SHA256[:]) == 1 {
				found, scopes = a, a.Keys[i].Scopes
			}
		}
	}
	return found, scopes
}
