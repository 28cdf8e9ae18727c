package exchange

import "rebound/rtb"

// fieldSet is a set of bid fields that an exchange may require.
type fieldSet uint16

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
)

var fieldNames = map[string]fieldSet{
	"adomain": fieldADomain, "attr": fieldAttr, "bundle": fieldBundle, "cat": fieldCat, "cid": fieldCID,
	"crid": fieldCRID, "dealid": fieldDealID, "iurl": fieldIURL, "language": fieldLanguage,
	"burl": fieldBURL, "nurl": fieldNURL,
}

// Fits tells whether the exchange takes the offer: markup is there, nothing is
// too long and nothing required is missing. Otherwise field names what is
// wrong. An empty attr is written as [] where it is required.
func (p *Profile) Fits(of *rtb.Offer) (field string, ok bool) {
	lack := func(f fieldSet, empty bool) bool { return p.required&f != 0 && empty }
	switch {
	case len(of.Markup) == 0:
		return "adm", false
	case p.AdmMaxBytes > 0 && len(of.Markup) > p.AdmMaxBytes:
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

// Requires tells whether the exchange drops bids without the field.
func (p *Profile) Requires(field string) bool { return p.required&fieldNames[field] != 0 }

// Attrs are the creative attributes that every bid declares beside its
// creative's own.
func (p *Profile) Attrs() []int { return p.attr }
