package config

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rebound/campaigns"
)

// Archive keeps the inputs of activated configurations in a folder: every file that was
// read, feeds, lists and exchange rates included, without secrets, and the approvals of
// creatives. Each activation is a folder of its own, which is complete once it has its
// name. Files that an earlier activation has too are hard links to its own.
//
// Secrets that are written in a file are replaced there; secrets from the environment were
// never in it. [Archive.Load] puts values of the same form in place of both.
type Archive struct{ Dir string }

// ArchiveDir returns the folder of a data folder's archive.
func ArchiveDir(data string) string { return filepath.Join(data, "configs") }

// manifestName is the file of an activation that says what the others are.
const manifestName = "manifest.json"

// Activation is the manifest of one activation.
type Activation struct {
	V           int                  `json:"v"`            // 1
	Config      string               `json:"config"`       // hash of the configuration
	ActivatedAt time.Time            `json:"activated_at"` // for the first time
	Path        string               `json:"path"`         // name of the file that was loaded
	Files       []Archived           `json:"files"`
	Approvals   []campaigns.Approval `json:"approvals,omitempty"` // made since, through the admin API
	// Placeholders are what fields with secrets get when it is loaded, by path.
	Placeholders map[string]string `json:"placeholders,omitempty"`
}

// Archived is one file of an activation.
type Archived struct {
	Name   string `json:"name"`   // as the configuration names it
	Stored string `json:"stored"` // name in the activation's folder, compressed with gzip
	Sum    string `json:"sum"`    // SHA-256 of the file as it was read
	Size   int64  `json:"size"`   // of the stored content, before compression
}

// inputFile is one file that was read, with the hash of its content.
type inputFile struct {
	name string
	sum  [sha256.Size]byte
}

// sources returns every file that was read.
func (l *loader) sources(s *Snapshot) []inputFile {
	var list []inputFile
	for name, content := range l.files {
		list = append(list, inputFile{name, sha256.Sum256(content)})
	}
	for _, t := range s.Tables.Files() {
		list = append(list, inputFile{t.Name, t.Sum})
	}
	for i := range s.Feeds {
		if f := s.FeedIndex[s.Feeds[i].ID]; f != nil {
			list = append(list, inputFile{s.Feeds[i].File, f.Sum})
		}
	}
	slices.SortFunc(list, func(a, b inputFile) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(list, func(a, b inputFile) bool { return a.name == b.name })
}

// secret is the value of a field that may be a secret.
type secret struct {
	file, path string
	literal    string // as written in the file; empty if it is from the environment
	mask       string // a value of the same form
}

// noteSecret notes the value of a field that may be a secret, as written and as used.
func (l *loader) noteSecret(n *node, path, value string) {
	if l.quiet || path == "data.node" {
		return
	}
	x := secret{file: n.src.name, path: path, mask: maskOf(path, value)}
	if !envName.MatchString(n.text) {
		x.literal = n.text
	}
	l.secrets = append(l.secrets, x)
}

// privateKey begins the mask of a private key, which [Archive.Load] generates.
const privateKey = "private key"

// maskOf returns a value of the same form as a secret, from which nothing of it can be
// learned but its length.
func maskOf(path, value string) string {
	switch {
	case path == "data.nats":
		return ""
	case strings.Contains(value, "-----BEGIN"):
		return privateKey
	}
	return strings.Map(func(r rune) rune {
		if r == '=' {
			return r
		}
		return 'A'
	}, value)
}

// Put stores the inputs of a configuration and the approvals made since, unless they are
// stored already, and returns their id, which bid records name. A file that is no longer
// what was loaded is an error: decisions cannot be repeated with another one.
func (a *Archive) Put(s *Snapshot, since []campaigns.Approval, now time.Time) (id string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot archive configuration %s: %w", s.Hash, err)
		}
	}()
	m := &Activation{V: 1, Config: s.Hash, ActivatedAt: now.UTC(), Path: s.Path, Approvals: since, Placeholders: map[string]string{}}
	for _, x := range s.secrets {
		m.Placeholders[x.path] = x.mask
	}
	for i, f := range s.sources {
		m.Files = append(m.Files, Archived{Name: f.name, Stored: strconv.Itoa(i) + "-" + path.Base(strings.TrimPrefix(f.name, builtin)) + ".gz", Sum: hex.EncodeToString(f.sum[:])})
	}
	if id, err = m.id(); err != nil {
		return "", err
	}
	dir := filepath.Join(a.Dir, id)
	if _, err := os.Stat(filepath.Join(dir, manifestName)); err == nil {
		return id, a.Use(id, now)
	}
	for id, f := range s.FeedIndex {
		if f != nil && f.Kept != "" {
			return "", fmt.Errorf("feed %s is that of an earlier file: %s", id, f.Kept)
		}
	}
	if err := os.MkdirAll(a.Dir, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(a.Dir, temporary)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // it is gone after a successful rename
	if err := a.fill(tmp, s, m); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", err
	}
	return id, errors.Join(syncFolder(a.Dir), a.Use(id, now))
}

// temporary begins the names of folders that are not complete.
const temporary = ".new-"

// id returns the id of the inputs: a hash of everything but the time.
func (m *Activation) id() (string, error) {
	x := *m
	x.ActivatedAt, x.Placeholders = time.Time{}, nil
	b, err := json.Marshal(&x)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// fill writes the files of an activation into a folder.
func (a *Archive) fill(dir string, s *Snapshot, m *Activation) error {
	have := a.stored()
	for i := range m.Files {
		f := &m.Files[i]
		literals := literalsOf(s.secrets, f.Name)
		if old, ok := have[f.Sum]; ok && len(literals) == 0 && os.Link(old.path, filepath.Join(dir, f.Stored)) == nil {
			f.Size = old.size
			continue
		}
		if err := store(filepath.Join(dir, f.Stored), s.fsys, f, literals); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, manifestName), append(b, '\n')); err != nil {
		return err
	}
	return syncFolder(dir)
}

// storedFile is a file that an activation has.
type storedFile struct {
	path string
	size int64
}

// stored returns the files of all activations, by the hash of what they were made of.
func (a *Archive) stored() map[string]storedFile {
	have := map[string]storedFile{}
	for _, id := range a.ids() {
		m, err := a.Read(id)
		if err != nil {
			continue // Load says why
		}
		for _, f := range m.Files {
			have[f.Sum] = storedFile{filepath.Join(a.Dir, id, f.Stored), f.Size}
		}
	}
	return have
}

func literalsOf(secrets []secret, file string) (list []string) {
	for _, x := range secrets {
		if x.file == file && x.literal != "" {
			list = append(list, x.literal)
		}
	}
	return list
}

// store compresses a file of a configuration, without its secrets, and syncs it.
func store(name string, fsys fs.FS, f *Archived, literals []string) error {
	in, err := openSource(fsys, f.Name)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	var content io.Reader = io.TeeReader(in, sum)
	if len(literals) > 0 {
		text, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		if text, err = withoutSecrets(text, literals); err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err == nil {
		if f.Size, err = io.Copy(z, content); err == nil {
			err = z.Close()
		}
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.Sum {
		return errors.New("it has changed since it was loaded")
	}
	return nil
}

// removed is what files of an archive have in place of a secret.
const removed = "${REMOVED}"

// withoutSecrets replaces secrets in a YAML file.
func withoutSecrets(text []byte, literals []string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	replace(&doc, literals)
	out, err := yaml.Marshal(&doc)
	for _, x := range literals {
		if err == nil && bytes.Contains(out, []byte(x)) {
			return nil, errors.New("a secret of it is also in a comment, or part of another value")
		}
	}
	return out, err
}

func replace(n *yaml.Node, literals []string) {
	if n.Kind == yaml.ScalarNode && slices.Contains(literals, n.Value) {
		n.Value, n.Style, n.Tag = removed, yaml.DoubleQuotedStyle, "!!str"
	}
	for _, c := range n.Content {
		replace(c, literals)
	}
}
