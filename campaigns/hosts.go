package campaigns

import (
	"bytes"
	"strings"

	"rebound/creatives"
	"rebound/internal/inventory"
)

// maxLabels is how many of the last labels of a host are looked up.
const maxLabels = 12

// hostKeys are the hashes of a host and of its parent domains, for lookups in
// lists.
type hostKeys struct {
	known  bool
	n      int
	full   uint64
	suffix [maxLabels]uint64 // of the last 1, 2, ... labels
}

// cleanHost returns the host name of a URL or of a bare host, without www and
// surrounding dots, in ASCII.
func cleanHost(b []byte) []byte {
	b = bytes.TrimSpace(b)
	start, end := inventory.HostPart(b)
	b = bytes.Trim(b[start:end], ". ")
	if inventory.NeedsASCII(b) {
		b = []byte(inventory.ASCIIHost(string(b)))
	}
	if len(b) > 4 && foldEqual(b[:4], "www.") {
		b = b[4:]
	}
	return b
}

// set computes the keys of a host in a request.
func (k *hostKeys) set(host []byte) {
	*k = hostKeys{}
	host = cleanHost(host)
	if k.full, k.known = hashFold(host); !k.known {
		return
	}
	for i := len(host) - 1; i >= 0 && k.n < maxLabels; i-- {
		if i == 0 {
			k.suffix[k.n] = k.full
			k.n++
		} else if host[i-1] == '.' {
			k.suffix[k.n], _ = hashFold(host[i:])
			k.n++
		}
	}
}

// hostSet is a list of hosts, some with their subdomains and some without.
type hostSet struct{ below, exact hashSet }

func (s *hostSet) has(k *hostKeys) bool {
	if len(s.below.rows) > 0 {
		for i := range k.n {
			if s.below.has(k.suffix[i]) {
				return true
			}
		}
	}
	return len(s.exact.rows) > 0 && k.known && s.exact.has(k.full)
}

// rowSink collects the rows of a list, one text at a time. add reports whether
// a row is valid.
type rowSink interface{ add(row string) bool }

type hostSink struct{ below, exact []uint64 }

func (h *hostSink) add(row string) bool {
	only, exact := strings.CutPrefix(row, "=")
	if !exact {
		only = strings.TrimPrefix(strings.TrimPrefix(row, "*"), ".")
	}
	host := cleanHost([]byte(only))
	if len(host) > 253 || !creatives.ValidHost(strings.ToLower(string(host))) {
		return false
	}
	k, ok := hashFold(host)
	if exact {
		h.exact = append(h.exact, k)
	} else {
		h.below = append(h.below, k)
	}
	return ok
}

func (h *hostSink) set() *hostSet { return &hostSet{newHashSet(h.below), newHashSet(h.exact)} }

// bundleKeys are the hashes of an app's id and of its prefixes up to each dot.
type bundleKeys struct {
	known  bool
	n      int
	full   uint64
	prefix [maxLabels]uint64
}

func (k *bundleKeys) set(bundle []byte) {
	*k = bundleKeys{}
	bundle = inventory.Bundle(bundle)
	if k.full, k.known = hashFold(bundle); !k.known {
		return
	}
	for i := range bundle {
		if bundle[i] == '.' && i > 0 && k.n < maxLabels {
			k.prefix[k.n], _ = hashFold(bundle[:i])
			k.n++
		}
	}
}

// bundleSet is a list of apps: single ones, and all with a prefix.
type bundleSet struct{ exact, below hashSet }

func (s *bundleSet) has(k *bundleKeys) bool {
	if len(s.below.rows) > 0 {
		for i := range k.n {
			if s.below.has(k.prefix[i]) {
				return true
			}
		}
	}
	return len(s.exact.rows) > 0 && k.known && s.exact.has(k.full)
}

type bundleSink struct{ exact, below []uint64 }

func (b *bundleSink) add(row string) bool {
	row = string(inventory.Bundle([]byte(row)))
	if strings.ContainsAny(row, " \t/") {
		return false
	}
	prefix, below := strings.CutSuffix(row, ".*")
	k, ok := hashFold(prefix)
	if below {
		b.below = append(b.below, k)
	} else {
		b.exact = append(b.exact, k)
	}
	return ok
}

func (b *bundleSink) set() *bundleSet { return &bundleSet{newHashSet(b.exact), newHashSet(b.below)} }

// textSet is a list of texts that are compared as they are.
type textSet struct{ hashSet }

func (s *textSet) has(text []byte) bool { return len(s.rows) > 0 && s.hashSet.has(hashExact(text)) }

type textSink struct{ rows []uint64 }

func (t *textSink) add(row string) bool {
	t.rows = append(t.rows, hashExact([]byte(row)))
	return len(row) <= 1024
}

func (t *textSink) set() *textSet { return &textSet{newHashSet(t.rows)} }
