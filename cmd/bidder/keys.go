package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rebound/events"
	"rebound/rtb"
	"rebound/tracking"
)

// secret is 32 random bytes, encoded as base64 in the file.
type secret []byte

// keyFile is data/keys.json: the secrets behind the keys, cookies and tokens of
// this data folder. Without it every stored key is meaningless and every notice
// in flight fails verification; anyone who can read it can forge notices. Token
// keys rotate: the first one signs, all of them verify.
type keyFile struct {
	Keyring secret     `json:"keyring"`        // derives keys from identifiers
	Hash    string     `json:"hash,omitempty"` // how it does so; folders from before it was named have none
	Cookies secret     `json:"cookies"`        // checksums of visitor ids
	Tokens  []tokenKey `json:"tokens"`         // notices
	Sum     string     `json:"sum"`            // checksum of the other fields
}

type tokenKey struct {
	ID     byte      `json:"id"`
	Secret secret    `json:"secret"`
	Since  time.Time `json:"since,omitzero"` // when it started signing; zero for the first key
}

// loadKeys reads the secrets of a data folder, or creates them on its first
// start, readable by the owner only.
func loadKeys(dir string, random io.Reader) (*keyFile, error) {
	path := filepath.Join(dir, "keys.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKeys(path, random)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read keys: %w", err)
	}
	var k keyFile
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("cannot read keys: %s is damaged; restore it from a backup, "+
			"because stored visitors cannot be found without it: %w", path, err)
	}
	if len(k.Keyring) != 32 || len(k.Cookies) != 32 || len(k.Tokens) == 0 {
		return nil, fmt.Errorf("cannot read keys: %s is incomplete; want keyring and cookies of 32 bytes and a token key", path)
	}
	if _, err := k.keyring(); err != nil {
		return nil, fmt.Errorf("cannot read keys: %s: %w", path, err)
	}
	if k.Sum != "" && k.Sum != k.sum() {
		return nil, fmt.Errorf("cannot read keys: %s is damaged or was edited: got sum %q; want %q: restore it from a backup, or, if you have edited it, remove sum", path, k.Sum, k.sum())
	}
	for _, t := range k.Tokens {
		if len(t.Secret) != 32 {
			return nil, fmt.Errorf("cannot read keys: %s: token key %d has %d bytes; want 32", path, t.ID, len(t.Secret))
		}
	}
	return &k, nil
}

// checkKeys refuses to create keys in a folder with data that was stored under
// other keys: every visitor would silently become unknown, and cookies and
// notices in flight would become invalid.
func (a *app) checkKeys() error {
	dir := a.bound.Data.Dir
	if _, err := os.Stat(filepath.Join(dir, "keys.json")); a.flags.newKeys || !errors.Is(err, fs.ErrNotExist) {
		return nil // other problems of the file are reported when it is read
	}
	for _, stored := range []string{a.bound.Logs.Facts.Dir, filepath.Join(dir, "views")} {
		list, err := os.ReadDir(stored)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot look for stored facts: %w", err)
		}
		if len(list) > 0 {
			return fmt.Errorf("cannot start: %s is missing, but %s holds data that was stored under it: restore keys.json from a backup, "+
				"or start with --new-keys, which makes existing visitors unknown, and cookies and notices in flight invalid", filepath.Join(dir, "keys.json"), stored)
		}
	}
	return nil
}

func makeKeys(path string, random io.Reader) (*keyFile, error) {
	if random == nil {
		random = rand.Reader
	}
	k := &keyFile{Keyring: make(secret, 32), Hash: rtb.HashSip, Cookies: make(secret, 32), Tokens: []tokenKey{{ID: 1, Secret: make(secret, 32)}}}
	for _, s := range []secret{k.Keyring, k.Cookies, k.Tokens[0].Secret} {
		if _, err := io.ReadFull(random, s); err != nil {
			return nil, fmt.Errorf("cannot make keys: %w", err)
		}
	}
	k.Sum = k.sum()
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("cannot make keys: %w", err)
	}
	if err := writeSynced(path, append(b, '\n')); err != nil {
		return nil, fmt.Errorf("cannot make keys: %w", err)
	}
	return k, nil
}

// writeSynced writes a file atomically and syncs it. Only the owner can read it.
func writeSynced(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after a successful rename, as expected
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// keyring returns the keyring that derives keys from identifiers.
func (k *keyFile) keyring() (*rtb.Keyring, error) {
	return rtb.OpenKeyring([32]byte(k.Keyring), k.Hash)
}

func (k *keyFile) tokenKeys() []tracking.Key {
	keys := make([]tracking.Key, len(k.Tokens))
	for i, t := range k.Tokens {
		keys[i] = tracking.Key{ID: t.ID, Secret: [32]byte(t.Secret)}
	}
	return keys
}

// fingerprint identifies the secrets under which identifiers are stored,
// without revealing them. The log remembers it, and the nodes of a fleet
// compare it. Token keys, which rotate, are not part of it.
func (k *keyFile) fingerprint() string {
	sum := sha256.Sum256(append(append(append([]byte("keys"), k.Keyring...), k.Cookies...), k.Hash...))
	return hex.EncodeToString(sum[:8])
}

// sum returns the expected value of Sum, which detects a changed bit that is still valid base64.
func (k keyFile) sum() string {
	k.Sum = ""
	return events.Checksum(k)
}
