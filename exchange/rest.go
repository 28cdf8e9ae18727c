package exchange

import (
	"bytes"
	"slices"

	"rebound/rtb"
)

// Rest decodes the impressions and the remaining members of the request that the
// last successful call of Head read, into the same o. Of the members that [rtb.Parts]
// names it reads those in parts and leaves the others empty. Before that it checks the
// JSON of the values that Head skipped. A non-nil error is a [DecodeError].
func (d *Decoder) Rest(p *Profile, o *rtb.Opportunity, parts rtb.Parts) error {
	d.parts = parts
	if d.s.err == 0 {
		d.s.err = d.s.check()
	}
	if d.s.err != 0 {
		return d.s.err
	}
	d.blockLists(o)
	if d.head.cur != 0 {
		d.s.at(d.head.cur)
		d.currencies(o)
	}
	d.restOfDevice(o)
	d.supply(o)
	o.UserKeywords = len(o.Keywords)
	d.restOfUser(o)
	if d.head.source != 0 {
		d.s.at(d.head.source)
		d.source()
	}
	o.SChain.Present, o.SChain.Bad = d.head.schainBad, d.head.schainBad
	for _, at := range d.head.schain {
		if at != 0 {
			d.schain(o, at)
		}
	}
	return d.imps(p, o)
}

// at moves to the start of a value whose offset Head recorded.
func (s *scanner) at(i int) { s.i = i }

// blockLists reads the request's block and allow lists. One that is present and
// cannot be read forbids every bid.
func (d *Decoder) blockLists(o *rtb.Opportunity) {
	dst := [len(listNames)]*[][]byte{listWSeat: &o.WSeat, listBSeat: &o.BSeat, listBCat: &o.BCat, listACat: &o.ACat,
		listBAdv: &o.BAdv, listBApp: &o.BApp, listWLang: &o.WLang, listWLangB: &o.WLangB}
	for i, at := range d.head.lists {
		if at == 0 {
			continue
		}
		d.s.at(at)
		var bad bool
		if list := listNames[i]; list.invites {
			*dst[i], bad = d.inviteList(maxBlocked, list.form)
		} else {
			*dst[i], bad = d.textList(maxBlocked, list.form)
		}
		o.BlockListsBad = o.BlockListsBad || bad
	}
	if o.CatTax <= 0 {
		o.CatTax = 1
	}
	if d.head.catTaxBad && len(o.BCat)+len(o.ACat) > 0 {
		o.BlockListsBad = true
	}
}

// schain reads one supply chain (IAB Tech Lab, SupplyChain object) and adds it to
// those that were read before. Every chain of the request applies; one that
// repeats an earlier chain adds nothing. A chain that cannot be read completely
// is bad.
func (d *Decoder) schain(o *rtb.Opportunity, at int) {
	s, c := &d.s, &o.SChain
	s.at(at)
	first := !c.Present
	c.Present = true
	if !s.enter('{') {
		c.Bad = true
		return
	}
	complete, from, lists := rtb.Absent, len(c.Nodes), 0
	var ver []byte
	for s.member() {
		switch string(s.key) {
		case "complete":
			complete = complete.Or(s.readFlag())
		case "ver":
			ver = s.readText()
		case "nodes":
			lists++
			if !s.enter('[') {
				s.skip()
				c.Bad = true
				continue
			}
			for s.element() {
				d.schainNode(c, from+maxNodes)
			}
		default:
			s.skip()
		}
	}
	c.Bad = c.Bad || complete == rtb.Unreadable || lists != 1 || len(c.Nodes) == from
	c.Complete = complete == rtb.Yes && (first || c.Complete)
	if first || len(ver) == 0 || ver[0] != '1' {
		c.Ver = ver
	}
	if repeats(c.Nodes[:from], c.Nodes[from:]) {
		c.Nodes = c.Nodes[:from]
	} else if len(c.Nodes) > from {
		c.Ends[c.Chains] = len(c.Nodes) - 1
		c.Chains++
	}
}

// repeats reports whether the nodes of a chain are those of the chains before it.
func repeats(before, nodes []rtb.SChainNode) bool {
	return len(nodes) > 0 && slices.EqualFunc(before, nodes, func(a, b rtb.SChainNode) bool {
		return bytes.Equal(a.ASI, b.ASI) && bytes.Equal(a.SID, b.SID)
	})
}

func (d *Decoder) schainNode(c *rtb.SChain, room int) {
	s := &d.s
	if len(c.Nodes) == room || !s.enter('{') {
		c.Bad = true
		s.skip()
		return
	}
	var n rtb.SChainNode
	for s.member() {
		switch string(s.key) {
		case "asi":
			c.Bad = c.Bad || n.ASI != nil
			n.ASI = s.asciiHost(bytes.TrimSpace(s.readText()))
		case "sid":
			c.Bad = c.Bad || n.SID != nil
			n.SID = bytes.TrimSpace(s.readText())
		default:
			s.skip()
		}
	}
	c.Bad = c.Bad || len(n.ASI) == 0 || len(n.SID) == 0
	c.Nodes = append(c.Nodes, n)
}

// restOfUser reads the user's segments and keywords (OpenRTB 2.6 §3.2.20-22).
func (d *Decoder) restOfUser(o *rtb.Opportunity) {
	s := &d.s
	if d.head.user == 0 || !d.parts.Has(rtb.PartKeywords|rtb.PartSegments) {
		return
	}
	s.at(d.head.user)
	if !s.enter('{') {
		return
	}
	for s.member() {
		switch string(s.key) {
		case "keywords", "kwarray":
			d.keywords(o)
		case "data":
			o.UserSegments = o.UserSegments[:0]
			if !d.parts.Has(rtb.PartSegments) || !s.enter('[') {
				s.skip()
				continue
			}
			for s.element() {
				d.data(o)
			}
		default:
			s.skip()
		}
	}
}

// data reads one provider's segments.
func (d *Decoder) data(o *rtb.Opportunity) {
	s := &d.s
	if !s.open('{') {
		return
	}
	var id, name []byte
	tax, from := 0, len(o.UserSegments)
	for s.member() {
		switch string(s.key) {
		case "id":
			id = s.readText()
		case "name":
			name = s.readText()
		case "segtax":
			tax = s.readInt(tax)
		case "ext":
			if !s.open('{') {
				continue
			}
			for s.member() {
				if string(s.key) == "segtax" {
					tax = s.readInt(tax)
				} else {
					s.skip()
				}
			}
		case "segment":
			o.UserSegments = o.UserSegments[:from]
			d.segments(o)
		default:
			s.skip()
		}
	}
	if len(name) == 0 {
		name = id
	}
	for i := from; i < len(o.UserSegments); i++ {
		o.UserSegments[i].Provider, o.UserSegments[i].SegTax = name, tax
	}
}

func (d *Decoder) segments(o *rtb.Opportunity) {
	s := &d.s
	if !s.open('[') {
		return
	}
	for s.element() {
		if !s.open('{') {
			continue
		}
		var id []byte
		for s.member() {
			if string(s.key) == "id" {
				id = s.readText()
			} else {
				s.skip()
			}
		}
		if len(id) > 0 && len(o.UserSegments) < maxTexts {
			o.UserSegments = append(o.UserSegments, rtb.UserSegment{ID: id})
		}
	}
}
