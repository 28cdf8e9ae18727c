package campaigns

import (
	"bytes"
	"slices"
	"strings"

	"rebound/creatives"
	"rebound/internal/inventory"
	"rebound/rtb"
)

// maxLabels is how many of the last labels of a host are looked up.
const maxLabels = 12

// nameKeys are the hashes of a host and of its parent domains, or of an app's id
// and of its prefixes, for lookups in lists.
type nameKeys struct {
	known   bool
	n       int
	full    uint64
	parents [maxLabels]uint64 // of the last 1, 2, ... labels, or of the prefixes up to each dot
}

func (k *nameKeys) forget() { k.known, k.n, k.full = false, 0, 0 }

// cleanHost returns the host name of a URL or of a bare host, without www and
// surrounding dots, in ASCII.
func cleanHost(b []byte) []byte {
	if !isPlainHost(b) {
		b = hostOfURL(b)
	}
	if len(b) > 4 && rtb.EqualFold(b[:4], "www.") {
		b = b[4:]
	}
	return b
}

// isPlainHost reports whether a text is a host and nothing else, as most domains of sites.
func isPlainHost(b []byte) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	return len(b) > 0 && b[0] != '.' && b[len(b)-1] != '.'
}

// hostOfURL returns the host name of a URL or of a bare host, without surrounding dots, in
// ASCII.
func hostOfURL(b []byte) []byte {
	b = bytes.TrimSpace(b)
	start, end := inventory.HostPart(b)
	b = b[start:end]
	for len(b) > 0 && (b[0] == '.' || b[0] == ' ') {
		b = b[1:]
	}
	for n := len(b) - 1; n >= 0 && (b[n] == '.' || b[n] == ' '); n-- {
		b = b[:n]
	}
	if inventory.NeedsASCII(b) {
		b = []byte(inventory.ASCIIHost(string(b)))
	}
	return b
}

// setHost computes the keys of a host in a request, as [cleanHost] returns it.
func (k *nameKeys) setHost(host []byte) {
	var buf [foldBytes]byte
	k.forget()
	host, ok := fold(&buf, host)
	if !ok {
		return
	}
	k.full, k.known = hashExact(host), true
	for i := len(host) - 1; i > 0 && k.n < maxLabels; i-- {
		if host[i-1] == '.' {
			k.parents[k.n] = hashExact(host[i:])
			k.n++
		}
	}
	if k.n < maxLabels {
		k.parents[k.n] = k.full
		k.n++
	}
}

// nameSet is a list of hosts or apps, some with everything below them.
type nameSet struct{ below, exact hashSet }

func (s *nameSet) has(k *nameKeys) bool {
	if len(s.below.rows) > 0 {
		for i := range k.n {
			if s.below.has(k.parents[i]) {
				return true
			}
		}
	}
	return len(s.exact.rows) > 0 && k.known && s.exact.has(k.full)
}

// names are the lists of one field.
type names []*nameSet

func (n names) has(k *nameKeys) bool {
	return slices.ContainsFunc(n, func(s *nameSet) bool { return s.has(k) })
}

// nameFilter rules out most names that are in none of some lists without a lookup (a Bloom
// filter with one hash).
type nameFilter [4]uint64

// filterRows is from how many rows on a filter would rule out too few names. It then lets all
// names through.
const filterRows = 64

func (n *nameFilter) add(h uint64) { n[h>>62] |= 1 << (h >> 56 % 64) }

func (n *nameFilter) addAll(list names) {
	for _, s := range list {
		if len(s.below.rows)+len(s.exact.rows) > filterRows {
			*n = nameFilter{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
			return
		}
		for _, rows := range [][]uint64{s.below.rows, s.exact.rows} {
			for _, h := range rows {
				n.add(h)
			}
		}
	}
}

// addKeys adds everything by which a list may have a host or an app.
func (n *nameFilter) addKeys(k *nameKeys) {
	if !k.known {
		return
	}
	n.add(k.full)
	for _, h := range k.parents[:k.n] {
		n.add(h)
	}
}

// meets reports whether the two may have a name in common.
func (n *nameFilter) meets(o *nameFilter) bool {
	return n[0]&o[0]|n[1]&o[1]|n[2]&o[2]|n[3]&o[3] != 0
}

// nameRows are the hashes of the rows of a list of hosts or apps.
type nameRows struct{ below, exact []uint64 }

func (r *nameRows) add(name string, below bool) bool {
	k, ok := hashFold(name)
	if below {
		r.below = append(r.below, k)
	} else {
		r.exact = append(r.exact, k)
	}
	return ok
}

func (r *nameRows) set() *nameSet { return &nameSet{newHashSet(r.below), newHashSet(r.exact)} }

// rowSink collects the rows of a list, one text at a time. add reports whether
// a row is valid.
type rowSink interface{ add(row string) bool }

type hostSink struct{ nameRows }

func (h *hostSink) add(row string) bool {
	name, exact := strings.CutPrefix(row, "=")
	if !exact {
		name = strings.TrimPrefix(strings.TrimPrefix(row, "*"), ".")
	}
	host := string(cleanHost([]byte(name)))
	return len(host) <= 253 && creatives.ValidHost(strings.ToLower(host)) && h.nameRows.add(host, !exact)
}

// setBundle computes the keys of an app in a request.
func (k *nameKeys) setBundle(bundle []byte) {
	var buf [foldBytes]byte
	k.forget()
	bundle, ok := fold(&buf, inventory.Bundle(bundle))
	if !ok {
		return
	}
	k.full, k.known = hashExact(bundle), true
	for i := range bundle {
		if bundle[i] == '.' && i > 0 && k.n < maxLabels {
			k.parents[k.n] = hashExact(bundle[:i])
			k.n++
		}
	}
}

type bundleSink struct{ nameRows }

func (b *bundleSink) add(row string) bool {
	row = string(inventory.Bundle([]byte(row)))
	prefix, below := strings.CutSuffix(row, ".*")
	return !strings.ContainsAny(row, " \t/") && b.nameRows.add(prefix, below)
}

// textSet is a list of texts that are compared as they are.
type textSet struct{ hashSet }

func (s *textSet) has(text []byte) bool { return len(s.rows) > 0 && s.hashSet.has(hashExact(text)) }

type textSink struct{ rows []uint64 }

func (t *textSink) add(row string) bool {
	t.rows = append(t.rows, hashExact([]byte(row)))
	return len(row) <= 1024
}

func (t *textSink) set() *textSet { return &textSet{newHashSet(t.rows)} }
