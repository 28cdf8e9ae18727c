package events

import (
	"slices"

	"rebound/rtb"
)

// Limits of a configuration in several facts.
const (
	partBytes    = 512 << 10 // rules of one fact, as JSON; the log stores facts of at most 1 MiB
	maxParts     = 4096
	maxOpenParts = 64 // configurations that are not complete, one of each node
)

// Split returns the configuration in as many parts as its rules need. The same rules
// always give the same parts.
func (c *Config) Split() []Config {
	var parts []Config
	from, size := 0, 0
	var quoted []byte
	for i, r := range c.Rules {
		quoted = rtb.AppendQuoted(quoted[:0], r)
		if n := len(quoted) + 1; i > from && size+n > partBytes {
			parts = append(parts, Config{Hash: c.Hash, ActivatedAt: c.ActivatedAt, Rules: c.Rules[from:i:i]})
			from, size = i, n
		} else {
			size += n
		}
	}
	parts = append(parts, Config{Hash: c.Hash, ActivatedAt: c.ActivatedAt, Rules: c.Rules[from:]})
	if len(parts) > 1 {
		for i := range parts {
			parts[i].Part, parts[i].Parts = i+1, len(parts)
		}
	}
	return parts
}

// ConfigParts collects the parts of configurations. It holds at most one incomplete
// configuration of each node, because a node activates one at a time. Views store it as
// JSON.
type ConfigParts struct {
	Open []OpenConfig `json:"open"` // in the order of their first facts
}

// OpenConfig is a configuration some parts of which are still missing.
type OpenConfig struct {
	Node  string     `json:"node"`
	ID    string     `json:"id"`    // see [Config.ID]
	Rules [][]string `json:"rules"` // by part; nil for those that are missing
}

// ID identifies one activation of a configuration by a node.
func (c *Config) ID(node string) string {
	return node + " " + c.Hash + " " + c.ActivatedAt.UTC().Format("20060102T150405.000000000")
}

// Add adds the fact of a node. If that completes a configuration, Add returns its rules
// and true. A fact of one part is complete. Facts with a wrong number are ignored.
func (p *ConfigParts) Add(node string, c *Config) (rules []string, complete bool) {
	id := c.ID(node)
	p.Open = slices.DeleteFunc(p.Open, func(o OpenConfig) bool { return o.Node == node && o.ID != id })
	if c.Parts == 0 {
		return c.Rules, true
	}
	if c.Parts > maxParts || c.Part < 1 || c.Part > c.Parts || len(c.Rules) == 0 {
		return nil, false
	}
	i := slices.IndexFunc(p.Open, func(o OpenConfig) bool { return o.ID == id })
	if i < 0 {
		if len(p.Open) == maxOpenParts {
			p.Open = slices.Delete(p.Open, 0, 1)
		}
		i = len(p.Open)
		p.Open = append(p.Open, OpenConfig{Node: node, ID: id, Rules: make([][]string, c.Parts)})
	}
	have := p.Open[i].Rules
	if len(have) != c.Parts {
		return nil, false
	}
	have[c.Part-1] = c.Rules
	if slices.ContainsFunc(have, func(r []string) bool { return len(r) == 0 }) {
		return nil, false
	}
	p.Open = slices.Delete(p.Open, i, i+1)
	return slices.Concat(have...), true
}
