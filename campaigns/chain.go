package campaigns

import (
	"strings"

	"rebound/rtb"
)

// chainStatus is the quality of a supply chain.
type chainStatus uint8

const (
	chainAbsent chainStatus = iota
	chainBad                // unreadable, of another version, without nodes, or ending at another exchange
	chainPartial
	chainWhole
)

// chainState holds the results of checks of a request's supply chain.
type chainState struct {
	status  chainStatus
	blocked bool // at least one node is blocked
}

func (c chainState) satisfies(r chainRule) bool {
	if r == chainComplete {
		return c.status == chainWhole
	}
	return c.status != chainBad
}

// schain verifies the supply chain (IAB Tech Lab, SupplyChain object): version
// 1, nodes with asi and sid, and the requesting exchange as the last node.
func (f *Facts) schain() chainState {
	if f.first(factChain) {
		f.chain = chainState{status: chainStatusOf(&f.o.SChain, f.asi)}
		if f.supply != nil && f.chain.status != chainAbsent {
			f.chain.blocked = f.supply.nodeBlocked(&f.o.SChain)
		}
	}
	return f.chain
}

func chainStatusOf(c *rtb.SChain, asi []string) chainStatus {
	switch {
	case !c.Present:
		return chainAbsent
	case c.Bad, len(c.Nodes) == 0, len(c.Ver) == 0, c.Ver[0] != '1', len(c.Ver) > 1 && c.Ver[1] != '.':
		return chainBad
	}
	for i := range c.Nodes {
		if len(c.Nodes[i].ASI) == 0 || len(c.Nodes[i].SID) == 0 {
			return chainBad
		}
	}
	for _, end := range c.Ends[:c.Chains] {
		if len(asi) > 0 && !oneOf(asi, c.Nodes[end].ASI) {
			return chainBad
		}
	}
	if !c.Complete {
		return chainPartial
	}
	return chainWhole
}

func oneOf(list []string, text []byte) bool {
	for _, s := range list {
		if rtb.EqualFold(text, s) {
			return true
		}
	}
	return false
}

// nodeBlocked reports whether a node of a chain is a blocked seller. A chain that
// cannot be read whole may hide one, so it is blocked where any seller is.
func (s *Supply) nodeBlocked(c *rtb.SChain) bool {
	if c.Bad && len(s.blockedSellers) > 0 {
		return true
	}
	for i := range c.Nodes {
		for _, set := range s.blockedSellers {
			if set.has(&c.Nodes[i]) {
				return true
			}
		}
	}
	return false
}

// sellerSet holds advertising systems, and single accounts of systems.
type sellerSet struct{ systems, accounts hashSet }

func (s *sellerSet) has(n *rtb.SChainNode) bool {
	asi, ok := hashFold(cleanHost(n.ASI))
	return ok && (s.systems.has(asi) || s.accounts.has(pair(asi, hashExact(n.SID))))
}

type sellerNameSink struct{ systems, accounts []uint64 }

func (s *sellerNameSink) add(row string) bool {
	name, sid, account := strings.Cut(row, "/")
	asi, ok := hashFold(cleanHost([]byte(name)))
	if account {
		sid = strings.TrimSpace(sid)
		s.accounts = append(s.accounts, pair(asi, hashExact([]byte(sid))))
		return ok && sid != ""
	}
	s.systems = append(s.systems, asi)
	return ok
}

func (s *sellerNameSink) set() *sellerSet {
	return &sellerSet{newHashSet(s.systems), newHashSet(s.accounts)}
}

func (c *compiler) sellerNames(path string, entries []string) []*sellerSet {
	return lists(c, path, "sellers-blocked", entries, new(sellerNameSink), "asi, asi/sid, or file:name")
}

// sellerStatus is how a publisher's ads.txt lists the seller.
type sellerStatus uint8

const (
	sellerMissing sellerStatus = iota // the table does not have the publisher
	sellerUnlisted
	sellerReseller
	sellerDirect
)

type sellerState struct {
	status  sellerStatus
	missing bool // a publisher that the table does not have is allowed
}

func (s sellerState) satisfies(r adsTxtRule) bool {
	switch s.status {
	case sellerMissing:
		return s.missing
	case sellerReseller:
		return r == adsTxtListed
	}
	return s.status == sellerDirect
}

// sellerTable holds the rows of many ads.txt files, in 8 bytes for each row and
// each publisher.
type sellerTable struct{ publishers, direct, resellers hashSet }

// sellers looks up the seller: the last node of the supply chain or, without a
// chain, the publisher's account at the exchange. A subdomain without rows of
// its own takes those of its parent domain; an app is found by its domain or
// its bundle.
func (f *Facts) sellers() sellerState {
	if !f.first(factSeller) {
		return f.seller
	}
	f.seller = sellerState{}
	if f.supply == nil || f.supply.sellers == nil {
		return f.seller
	}
	f.seller.missing = f.supply.missingAllow
	f.hosts()
	u := &f.o.Supply
	keys := f.domain
	if u.App {
		keys.setHost(u.Domain)
		if f.app.known {
			f.lookUp(f.app.full)
		}
	}
	for i := keys.n - 1; i >= 0 && f.seller.status == sellerMissing; i-- {
		f.lookUp(keys.parents[i])
	}
	if f.seller.status < sellerReseller && len(u.InventoryDomain) > 0 {
		keys.setHost(u.InventoryDomain)
		for i := keys.n - 1; i >= 0 && f.seller.status < sellerReseller; i-- {
			f.lookUp(keys.parents[i])
		}
	}
	return f.seller
}

// lookUp looks up the seller in the rows of one publisher, and keeps the best
// status found so far.
func (f *Facts) lookUp(publisher uint64) {
	t := f.supply.sellers
	if !t.publishers.has(publisher) {
		return
	}
	status := sellerUnlisted
	if c := &f.o.SChain; c.Present && len(c.Nodes) > 0 {
		status = sellerDirect // of several chains the worst one counts
		for _, end := range c.Ends[:c.Chains] {
			n, of := &c.Nodes[end], sellerUnlisted
			if system, ok := hashFold(cleanHost(n.ASI)); ok {
				of = t.status(publisher, system, n.SID)
			}
			status = min(status, of)
		}
	} else {
		for _, asi := range f.asi {
			if system, ok := hashFold(asi); ok {
				status = max(status, t.status(publisher, system, f.o.Supply.PublisherID))
			}
		}
	}
	f.seller.status = max(f.seller.status, status)
}

func (t *sellerTable) status(publisher, system uint64, sid []byte) sellerStatus {
	row := pair(pair(publisher, system), hashExact(sid))
	switch {
	case len(sid) == 0:
		return sellerUnlisted
	case t.direct.has(row):
		return sellerDirect
	case t.resellers.has(row):
		return sellerReseller
	}
	return sellerUnlisted
}

// sellerSink collects rows of domain, asi, sid, and DIRECT or RESELLER.
type sellerSink struct{ publishers, direct, resellers []uint64 }

func (s *sellerSink) add(row string) bool {
	cells := strings.FieldsFunc(row, func(r rune) bool { return r == '\t' || r == ',' })
	if len(cells) < 4 {
		return false
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	publisher, ok := hashFold(cleanHost([]byte(cells[0])))
	system, ok2 := hashFold(cleanHost([]byte(cells[1])))
	if !ok || !ok2 || cells[2] == "" {
		return false
	}
	key := pair(pair(publisher, system), hashExact([]byte(cells[2])))
	switch strings.ToUpper(cells[3]) {
	case "DIRECT":
		s.direct = append(s.direct, key)
	case "RESELLER":
		s.resellers = append(s.resellers, key)
	default:
		return false
	}
	if n := len(s.publishers); n == 0 || s.publishers[n-1] != publisher {
		s.publishers = append(s.publishers, publisher)
	}
	return true
}

func (s *sellerSink) table() *sellerTable {
	return &sellerTable{newHashSet(s.publishers), newHashSet(s.direct), newHashSet(s.resellers)}
}
