package exchange

import (
	"time"

	"rebound/rtb"
)

// rootMember reads one member of the bid request (OpenRTB 2.6 §3.2.1).
func (d *Decoder) rootMember(o *rtb.Opportunity) {
	s, h := &d.s, &d.head
	at := s.i
	switch string(s.key) {
	case "id":
		o.ID = s.exact(s.value(), maxID)
	case "imp":
		h.imp = at
		h.impGiven = d.filledArray()
	case "tmax":
		o.TMax = min(time.Duration(max(s.readInt(0), 0))*time.Millisecond, maxTMax)
	case "test":
		o.Test = s.readFlag() == rtb.Yes
	case "at":
		if n := s.readInt(0); n > 0 {
			o.At = n
		}
	case "cur":
		h.cur = at
		s.skip()
	case "cattax":
		d.catTax(o)
	case "site":
		h.site = d.inventory(h.site)
	case "app":
		h.app = d.inventory(h.app)
	case "dooh":
		h.dooh = d.inventory(h.dooh)
	case "user":
		d.user(o)
	case "regs":
		d.regs(o)
	case "device":
		d.device(o)
	case "source":
		if h.source == 0 {
			h.source = s.mark()
		} else {
			d.source()
		}
	case "ext":
		d.rootExt(o)
	case "wseat":
		d.markList(o, listWSeat)
	case "bseat":
		d.markList(o, listBSeat)
	case "bcat":
		d.markList(o, listBCat)
	case "acat":
		d.markList(o, listACat)
	case "badv":
		d.markList(o, listBAdv)
	case "bapp":
		d.markList(o, listBApp)
	case "wlang":
		d.markList(o, listWLang)
	case "wlangb":
		d.markList(o, listWLangB)
	default:
		d.rootOther(o)
	}
}

// catTax reads the taxonomy of the category lists. If it is not a number, or if
// there are two that differ, the meaning of the lists is unknown.
func (d *Decoder) catTax(o *rtb.Opportunity) {
	v := d.s.value()
	if !v.given() {
		return
	}
	n, ok := integer(v)
	if !ok || n <= 0 || o.CatTax != 0 && o.CatTax != n {
		d.head.catTaxBad = true
		return
	}
	o.CatTax = n
}

// rootOther reads block and allow lists and objects whose key is in another letter case; of
// the objects only the restrictions count.
func (d *Decoder) rootOther(o *rtb.Opportunity) {
	s := &d.s
	for i := range listNames {
		if s.keyFolds(listNames[i].name) {
			d.markList(o, listPlace(i))
			return
		}
	}
	switch {
	case s.keyFolds("regs"):
		d.regs(o)
	case s.keyFolds("user"), s.keyFolds("device"):
		d.strayPrivacy(o)
	case s.keyFolds("source"):
		d.source()
	default:
		s.skip()
	}
}

// markList notes where a block or allow list starts. With a second one it is unknown which
// one applies.
func (d *Decoder) markList(o *rtb.Opportunity, list listPlace) {
	o.BlockListsBad = o.BlockListsBad || d.head.lists[list] != 0
	d.head.lists[list] = d.s.i
	d.s.skip()
}

// keyFolds reports whether the last key is name in any letter case (ASCII).
func (s *scanner) keyFolds(name string) bool { return rtb.EqualFold(s.key, name) }

// filledArray skips the value at hand and reports whether it is an array with at
// least one element.
func (d *Decoder) filledArray() bool {
	s := &d.s
	at := s.i
	s.skip()
	if s.err != 0 || s.b[at] != '[' {
		return false
	}
	return s.b[s.space(at+1)] != ']'
}

// inventory skips site, app or dooh and returns its offset, or 0 if it is null.
func (d *Decoder) inventory(before int) int {
	at := d.s.i
	if !d.s.value().given() {
		if before != 0 {
			d.head.inventories--
		}
		return 0
	}
	if before == 0 {
		d.head.inventories++
	}
	return at
}

// currencies reads cur: a list of codes, or a text with one or more. Unreadable
// codes are ignored; if no code is left, CurBad is set.
func (d *Decoder) currencies(o *rtb.Opportunity) {
	s := &d.s
	from := len(d.texts)
	list, bad := d.textList(maxInts, labeledCodes)
	o.Currencies = o.Currencies[:0]
	for _, code := range list {
		if c, ok := rtb.ParseCurrency(code); ok {
			o.Currencies = append(o.Currencies, c)
		} else {
			bad = true
		}
	}
	d.texts = d.texts[:from]
	o.CurBad = bad && len(o.Currencies) == 0 && s.err == 0
}

// source reads source (OpenRTB 2.6 §3.2.2) for its supply chains. Chains of a
// second source apply too, but only one of each place can be read.
func (d *Decoder) source() {
	s, h := &d.s, &d.head
	if !s.enter('{') {
		h.schainBad = s.value().given() || h.schainBad
		return
	}
	for s.member() {
		switch {
		case s.keyFolds("schain"):
			d.markChain(0)
		case s.keyFolds("ext"):
			if !s.enter('{') {
				h.schainBad = s.value().given() || h.schainBad
				continue
			}
			for s.member() {
				if s.keyFolds("schain") {
					d.markChain(1)
				} else {
					s.skip()
				}
			}
		default:
			s.skip()
		}
	}
}

// markChain notes where a supply chain starts. A second one in the same place
// makes the chains unreadable.
func (d *Decoder) markChain(place int) {
	at := d.s.mark()
	d.head.schainBad = d.head.schainBad || at != 0 && d.head.schain[place] != 0
	if at != 0 {
		d.head.schain[place] = at
	}
}

// mark skips a value and returns its offset, or 0 if it is null.
func (s *scanner) mark() int {
	at := s.i
	if !s.value().given() {
		return 0
	}
	return at
}

// rootExt reads ext of the request: the oldest place of the supply chain, and
// flags against personalization.
func (d *Decoder) rootExt(o *rtb.Opportunity) {
	s := &d.s
	if !s.open('{') {
		return
	}
	for s.member() {
		switch string(s.key) {
		case "schain":
			d.markChain(2)
		case "coppa":
			// The standard does not define it here, so only a clear yes counts.
			if s.readFlag() == rtb.Yes {
				o.Signals.COPPA = rtb.Yes
			}
		case "npa":
			o.Signals.NPA = o.Signals.NPA.Or(s.readFlag())
		case "clktrkrq":
			f := s.readFlag()
			o.ClickTracking = o.ClickTracking || f == rtb.Yes || f == rtb.Unreadable
		case "privacy_treatments":
			d.treatments(o)
		case "bid_feedback":
			if v := s.value(); v.kind == kindArray {
				o.BidFeedback = v.raw
			}
		default:
			s.skip()
		}
	}
}
