package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"rebound/creatives"
	"rebound/internal/cli"
	"rebound/internal/inventory"
)

// starter is the configuration that init writes.
//
//go:embed starter
var starter embed.FS

// starterFiles are the files of the starter and where they are written. Files with a
// secret are readable by their owner only.
var starterFiles = []struct {
	from, to string
	mode     fs.FileMode
}{
	{"starter/rebound.yaml", "rebound.yaml", 0o600},
	{"starter/products.tsv", "products.tsv", 0o644},
	{"starter/card.html", "creatives/card.html", 0o644},
	{"starter/request.json", "request.json", 0o644},
}

// initConfig writes a starter configuration into a folder.
func (p *program) initConfig(_ context.Context, args []string) int {
	flags := p.flags("init")
	domain := flags.String("domain", "shop.example", "`domain` of the shop: its landing pages and product links")
	var dir string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		dir, args = args[0], args[1:]
	}
	if dir == "" {
		file, status, done := p.parseWithFile(flags, args)
		if done {
			return status
		}
		dir = file
	} else if status, done := p.parse(flags, args); done {
		return status
	}
	host := inventory.ASCIIHost(*domain)
	if !creatives.ValidHost(host) {
		fmt.Fprintf(p.stderr, "init: got --domain %q; want a host name such as shop.example\n", *domain)
		return cli.ExitUsage
	}
	key, err := writeStarter(dir, host)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	path := filepath.Join(dir, "rebound.yaml")
	fmt.Fprintf(p.stdout, `wrote %[1]s and the files that it names

The key with which the shop's servers send events, shown this once:
  %[2]s

next:
  bidder check %[1]s
  bidder try --config %[1]s --exchange my-exchange --event view_item:SKU1@2h %[3]s
  bidder serve --config %[1]s
`, path, key, filepath.Join(dir, "request.json"))
	return cli.ExitDone
}

// writeStarter writes the files, none of which may exist, and returns the key for the
// shop's servers.
func writeStarter(dir, domain string) (key string, err error) {
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("cannot generate a secret: %w", err)
	}
	key = hex.EncodeToString(random[16:])
	sum := sha256.Sum256([]byte(key))
	values := struct{ Domain, Secret, KeyHash string }{domain, hex.EncodeToString(random[:16]), hex.EncodeToString(sum[:])}
	for _, f := range starterFiles {
		to := filepath.Join(dir, filepath.FromSlash(f.to))
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cannot write a starter configuration: got %s, which exists; want a folder without it", to)
		}
	}
	for _, f := range starterFiles {
		t, err := template.New(filepath.Base(f.from)).Delims("[[", "]]").ParseFS(starter, f.from)
		if err != nil {
			return "", fmt.Errorf("cannot write a starter configuration: %w", err)
		}
		var b strings.Builder
		if err := t.Execute(&b, values); err != nil {
			return "", fmt.Errorf("cannot write a starter configuration: %w", err)
		}
		to := filepath.Join(dir, filepath.FromSlash(f.to))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", fmt.Errorf("cannot make folder: %w", err)
		}
		if err := os.WriteFile(to, []byte(b.String()), f.mode); err != nil {
			return "", fmt.Errorf("cannot write a starter configuration: %w", err)
		}
	}
	return key, nil
}
