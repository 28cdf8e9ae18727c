package exchange

import (
	"strconv"
	"strings"

	"rebound/rtb"
)

// fieldSet is a set of bid fields.
type fieldSet uint32

const (
	fieldADomain fieldSet = 1 << iota
	fieldAttr
	fieldBundle
	fieldCat
	fieldCID
	fieldCRID
	fieldDealID
	fieldIURL
	fieldLanguage
	fieldBURL
	fieldNURL
	fieldLURL
	fieldAPI
	fieldAPIs
	fieldProtocol
	fieldExp
	fieldDur
	fieldMType
	fieldCatTax
	fieldRatio
)

// requirableFields are the fields that a profile can require of every bid.
var requirableFields = map[string]fieldSet{
	"adomain": fieldADomain, "attr": fieldAttr, "bundle": fieldBundle, "cat": fieldCat, "cid": fieldCID,
	"crid": fieldCRID, "dealid": fieldDealID, "iurl": fieldIURL, "language": fieldLanguage,
	"burl": fieldBURL, "nurl": fieldNURL,
}

// newerFields are the bid fields that versions since 2.4 introduced, with the
// minor version that did.
var newerFields = map[string]struct {
	field fieldSet
	minor int
}{
	"api": {fieldAPI, 4}, "protocol": {fieldProtocol, 4}, "exp": {fieldExp, 4},
	"burl": {fieldBURL, 5}, "lurl": {fieldLURL, 5}, "language": {fieldLanguage, 5}, "wratio": {fieldRatio, 5},
	"mtype": {fieldMType, 6}, "cattax": {fieldCatTax, 6}, "apis": {fieldAPIs, 6}, "dur": {fieldDur, 6},
}

// bidFields works out which fields bids carry: those of the profile's version, and
// newer ones that it lists.
func (c *compiler) bidFields(s *ProfileSpec, p *Profile) {
	minor, err := strconv.Atoi(strings.TrimPrefix(p.OpenRTBVersion, "2."))
	p.fields = ^fieldSet(0)
	for _, f := range newerFields {
		if err == nil && f.minor > minor {
			p.fields &^= f.field
		}
	}
	for _, name := range s.BidFields {
		f, ok := newerFields[name]
		c.check(ok, "bid_fields", strconv.Quote(name), "one of "+strings.Join(sortedKeys(newerFields), ", "))
		p.fields |= f.field
	}
	p.notices[rtb.NoticeBill] = p.notices[rtb.NoticeBill] && p.sends(fieldBURL)
	p.notices[rtb.NoticeLoss] = p.notices[rtb.NoticeLoss] && p.sends(fieldLURL)
	for name, f := range requirableFields {
		c.check(p.required&f == 0 || p.sends(f), "required_bid_fields", name, "a field of OpenRTB "+p.OpenRTBVersion+", or one listed in bid_fields")
	}
}

// sends reports whether bids carry a field.
func (p *Profile) sends(f fieldSet) bool { return p.fields&f != 0 }

// Fits reports whether the exchange accepts the offer: it has markup, nothing is
// too long and no required field is missing. Otherwise field names the problem. An
// empty attr is written as [] if it is required.
func (p *Profile) Fits(of *rtb.Offer) (field string, ok bool) {
	lack := func(f fieldSet, empty bool) bool { return p.required&f != 0 && empty }
	switch {
	case of.MarkupSize == 0 && !p.RegisteredMarkup:
		return "adm", false
	case p.AdmMaxBytes > 0 && of.MarkupSize > p.AdmMaxBytes:
		return "adm_max", false
	case len(of.CreativeID) > p.CRIDMax, lack(fieldCRID, of.CreativeID == ""):
		return "crid", false
	case lack(fieldBURL, len(of.BURL) == 0):
		return "burl", false
	case lack(fieldNURL, len(of.NURL) == 0):
		return "nurl", false
	case lack(fieldADomain, len(of.AdDomains) == 0):
		return "adomain", false
	case lack(fieldBundle, of.Bundle == ""):
		return "bundle", false
	case lack(fieldCat, len(of.Cats) == 0):
		return "cat", false
	case lack(fieldCID, of.Campaign == ""):
		return "cid", false
	case lack(fieldDealID, len(of.Deal) == 0):
		return "dealid", false
	case lack(fieldIURL, of.IURL == ""):
		return "iurl", false
	case lack(fieldLanguage, of.Language == ""):
		return "language", false
	}
	for _, d := range of.AdDomains {
		if len(d) > p.ADomainLenMax {
			return "adomain", false
		}
	}
	return "", true
}

// Requires reports whether the exchange drops bids without the field.
func (p *Profile) Requires(field string) bool { return p.required&requirableFields[field] != 0 }

// Attrs returns the creative attributes that every bid declares in addition to
// those of its creative.
func (p *Profile) Attrs() []int { return p.attr }
