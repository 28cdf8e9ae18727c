package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rebound/internal/cli"
)

const (
	// retireAfter is how long a key of notices verifies after another one began to
	// sign: the longest notice_ttl that can be configured, and a day.
	retireAfter = 8 * 24 * time.Hour
	// maxTokenKeys bounds how many keys can be in use at once.
	maxTokenKeys = 16
)

// keysVerb is "bidder keys rotate".
func (p *program) keysVerb(_ context.Context, args []string) int {
	if len(args) == 0 || args[0] != "rotate" {
		fmt.Fprint(p.stderr, "usage: bidder keys rotate --data DIR\n")
		return cli.ExitUsage
	}
	fs := p.flags("keys")
	dir := fs.String("data", "./data", "data `folder`")
	if status, done := p.parse(fs, args[1:]); done {
		return status
	}
	k, err := rotateKeys(*dir, p.now(), rand.Reader)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintf(p.stdout, "key %d signs notices from the next start on; %d older keys verify those in flight\n", k.Tokens[0].ID, len(k.Tokens)-1)
	return cli.ExitDone
}

// rotateKeys gives a data folder a new key for notices. The older ones verify
// until none of their notices can be in flight. A running bidder continues with
// the keys that it has read; notices that it signs until then verify after its
// restart.
func rotateKeys(dir string, now time.Time, random io.Reader) (*keyFile, error) {
	path := filepath.Join(dir, "keys.json")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot rotate keys: %s does not exist; it is made by the first start", path)
	}
	k, err := loadKeys(dir, random)
	if err != nil {
		return nil, err
	}
	kept := k.Tokens[:1:1]
	for i := 1; i < len(k.Tokens); i++ {
		if after := k.Tokens[i-1].Since; after.IsZero() || now.Sub(after) < retireAfter {
			kept = append(kept, k.Tokens[i])
		}
	}
	if len(kept) >= maxTokenKeys {
		return nil, fmt.Errorf("cannot rotate keys: %d keys may still have notices in flight; want to rotate at most %d times in 8 days", len(kept), maxTokenKeys-1)
	}
	next := tokenKey{ID: unusedID(k.Tokens), Secret: make(secret, 32), Since: now.UTC().Truncate(time.Second)}
	if _, err := io.ReadFull(random, next.Secret); err != nil {
		return nil, fmt.Errorf("cannot rotate keys: %w", err)
	}
	k.Tokens = append([]tokenKey{next}, kept...)
	k.Sum = k.sum()
	b, err := json.MarshalIndent(k, "", "  ")
	if err == nil {
		err = writeSynced(path, append(b, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot rotate keys: %w", err)
	}
	return k, nil
}

// unusedID returns the next unused id after that of the newest key, so that ids
// are reused only long after their keys have retired.
func unusedID(keys []tokenKey) byte {
	used := map[byte]bool{}
	for _, k := range keys {
		used[k.ID] = true
	}
	id := keys[0].ID + 1
	for used[id] {
		id++
	}
	return id
}
