// Package scale writes configurations of a chosen size: as many lines, audiences,
// creatives and products as a large advertiser has, each line with targeting,
// dayparts, caps and several creatives.
//
// It guarantees that the same options give the same files, that the files pass
// "bidder check", and that how many lines a visitor is a candidate for does not
// depend on the time of day. Budgets and frequency caps are far beyond what a load
// test spends. Prices are in US dollars. The load test and the tests and benchmarks
// of other rooms call it; it depends on no other room.
package scale

import (
	"fmt"
	"os"
	"path/filepath"
)

// Options are the size of a configuration. Zero values mean the defaults.
type Options struct {
	// Lines is the number of lines; default 10,000.
	Lines int
	// Advertisers share the lines and audiences equally; default one for each 2,500
	// lines.
	Advertisers int
	// Audiences is the number of audiences, each of visitors of a few products;
	// default a fifth of Lines. An advertiser has at most 1,000.
	Audiences int
	// Products is the number of products of each advertiser, SKU1 to SKUn; default as
	// many as its audiences.
	Products int
	// Candidates is for about how many lines a visitor of one product of one
	// advertiser is a candidate; default 100, at most the lines of an advertiser.
	Candidates int
}

// Limits of [Options].
const (
	MaxLines    = 200_000
	MaxProducts = 200_000

	maxAudiences = 1000 // of one advertiser
)

// Key is the key of the first advertiser's server events. That of advertiser n, from
// 2 on, has "-n" appended.
const Key = "demo-shop-key"

// withDefaults fills in the defaults and returns an error for sizes that cannot be
// written.
func (o Options) withDefaults() (Options, error) {
	o.Lines = orDefault(o.Lines, 10_000)
	o.Advertisers = orDefault(o.Advertisers, (o.Lines+2499)/2500)
	o.Audiences = orDefault(o.Audiences, max(o.Lines/5, o.Advertisers))
	o.Products = orDefault(o.Products, max(o.Audiences/max(o.Advertisers, 1), 1))
	o.Candidates = orDefault(o.Candidates, min(100, max(o.Lines/max(o.Advertisers, 1), 1)))
	for _, f := range []struct {
		name           string
		n, least, most int
	}{
		{"lines", o.Lines, 1, MaxLines},
		{"advertisers", o.Advertisers, 1, o.Lines},
		{"audiences", o.Audiences, o.Advertisers, min(o.Lines, maxAudiences*o.Advertisers)},
		{"products", o.Products, 1, MaxProducts},
		{"candidates", o.Candidates, 1, max(o.Lines/max(o.Advertisers, 1), 1)},
	} {
		if f.n < f.least || f.n > f.most {
			return o, fmt.Errorf("cannot write configuration: got %d %s; want %d to %d", f.n, f.name, f.least, f.most)
		}
	}
	return o, nil
}

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Main is the name of the file that includes all others.
const Main = "rebound.yaml"

// Files returns the files of a configuration by name. [Main] includes the others.
func Files(o Options) (map[string][]byte, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"card.html": []byte(card)}
	var list []*advertiser
	for n := range o.Advertisers {
		a := o.advertiser(n)
		list = append(list, a)
		files[a.id+"/products.tsv"] = a.products()
		files[a.id+"/audiences.yaml"] = a.audiencesFile()
		files[a.id+"/creatives.yaml"] = a.creativesFile()
		files[a.id+"/campaigns.yaml"] = a.campaignsFile()
	}
	files[Main] = mainFile(list)
	return files, nil
}

// Write writes a configuration to a folder, which it creates if necessary, and
// returns the path of [Main].
func Write(dir string, o Options) (string, error) {
	files, err := Files(o)
	if err != nil {
		return "", err
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("cannot write configuration: %w", err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return "", fmt.Errorf("cannot write configuration: %w", err)
		}
	}
	return filepath.Join(dir, Main), nil
}
