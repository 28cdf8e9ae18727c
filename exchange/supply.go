package exchange

import "rebound/rtb"

// supply reads the inventory: site, app or dooh (OpenRTB 2.6 §3.2.13, §3.2.14,
// §3.2.32).
func (d *Decoder) supply(o *rtb.Opportunity) {
	h, u := &d.head, &o.Supply
	u.Site, u.App, u.DOOH = h.site != 0, h.app != 0, h.dooh != 0
	at := h.site + h.app + h.dooh // only one is set
	if at == 0 {
		return
	}
	s := &d.s
	s.at(at)
	if !s.enter('{') {
		return
	}
	for s.member() {
		d.supplyMember(o)
	}
	if u.CatTax <= 0 {
		u.CatTax = 1
	}
}

func (d *Decoder) supplyMember(o *rtb.Opportunity) {
	s, u := &d.s, &o.Supply
	switch string(s.key) {
	case "id":
		u.ID = s.readText()
	case "domain":
		u.Domain = s.asciiHost(s.readText())
	case "page":
		u.Page = s.asciiHost(s.readText())
	case "bundle":
		u.Bundle = s.readText()
	case "storeurl":
		u.StoreURL = s.readText()
	case "cattax":
		u.CatTax = s.readInt(0)
	case "cat", "sectioncat", "pagecat":
		d.cats(u)
	case "keywords", "kwarray":
		d.keywords(o)
	case "inventorypartnerdomain":
		u.InventoryDomain = s.asciiHost(s.readText())
	case "publisher":
		d.publisher(u)
	case "content":
		d.content(o)
	case "ext":
		d.supplyExt(u)
	default:
		s.skip()
	}
}

func (d *Decoder) cats(u *rtb.Supply) {
	if !d.parts.Has(rtb.PartCategories) {
		d.s.skip()
		return
	}
	u.Cats, _ = d.s.appendTexts(u.Cats, maxTexts, plainTexts)
}

// keywords adds the keywords at hand.
func (d *Decoder) keywords(o *rtb.Opportunity) {
	if !d.parts.Has(rtb.PartKeywords) {
		d.s.skip()
		return
	}
	o.Keywords = d.s.appendKeywords(o.Keywords)
}

func (d *Decoder) publisher(u *rtb.Supply) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		if string(s.key) == "id" {
			u.PublisherID = s.readText()
		} else {
			s.skip()
		}
	}
}

// content reads the content that the ad would appear in (OpenRTB 2.6 §3.2.16).
func (d *Decoder) content(o *rtb.Opportunity) {
	s := &d.s
	if !d.parts.Has(rtb.PartCategories|rtb.PartKeywords) || !s.enter('{') {
		s.skip()
		return
	}
	for s.member() {
		switch string(s.key) {
		case "cat":
			d.cats(&o.Supply)
		case "keywords", "kwarray":
			d.keywords(o)
		default:
			s.skip()
		}
	}
}

func (d *Decoder) supplyExt(u *rtb.Supply) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		if string(s.key) == "inventorypartnerdomain" && len(u.InventoryDomain) == 0 {
			u.InventoryDomain = s.asciiHost(s.readText())
		} else {
			s.skip()
		}
	}
}
