package privacy

import (
	"strings"

	"rebound/rtb"
)

// region is what a country means for the gate.
type region uint8

const (
	regionUnknown region = iota // no country, or none that exists
	regionOther
	regionGDPR
	regionUS
)

// countries are the codes of ISO 3166-1 and those in use beside it.
const countries = rtb.CountryCodes

// DefaultGDPRCountries are the countries where a request that says nothing of
// the GDPR is taken to be under it: the European Economic Area with the
// territories of members that are part of the Union and have codes of their
// own, the United Kingdom and Switzerland.
const DefaultGDPRCountries = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE " +
	"IS LI NO EU AX GP MQ GF RE YT MF GB CH"

// usCountries are the United States and the territories where its federal law
// holds.
const usCountries = "US PR GU VI AS MP UM"

// regions maps a country's code to its region.
type regions struct {
	alpha2 [26 * 26]region
	alpha3 [26 * 26 * 26]region
}

// newRegions fills the map; gdpr are codes of either length. Codes that do not
// exist are given back.
func newRegions(gdpr []string) (m *regions, unknown []string) {
	m = new(regions)
	three := make(map[string]string)
	for _, pair := range strings.Fields(countries) {
		three[pair[:2]] = pair[2:]
		three[pair[2:]] = pair[2:]
		m.set(pair[:2], regionOther)
		m.set(pair[2:], regionOther)
	}
	mark := func(code string, to region) {
		canonical, ok := three[strings.ToUpper(code)]
		if !ok {
			unknown = append(unknown, code)
			return
		}
		for alias, c := range three {
			if c == canonical {
				m.set(alias, to)
			}
		}
	}
	for _, code := range strings.Fields(usCountries) {
		mark(code, regionUS)
	}
	for _, code := range gdpr {
		mark(code, regionGDPR)
	}
	return m, unknown
}

func (m *regions) set(code string, to region) {
	if i := letters([]byte(code)); len(code) == 2 {
		m.alpha2[i] = to
	} else {
		m.alpha3[i] = to
	}
}

// of is the region of a country as a request writes it; letters of either case.
func (m *regions) of(code []byte) region {
	i := letters(code)
	switch {
	case i < 0:
		return regionUnknown
	case len(code) == 2:
		return m.alpha2[i]
	case len(code) == 3:
		return m.alpha3[i]
	}
	return regionUnknown
}

// letters is the number that two or three ASCII letters spell, -1 for anything
// else.
func letters(code []byte) int {
	if len(code) < 2 || len(code) > 3 {
		return -1
	}
	n := 0
	for _, c := range code {
		c |= 0x20
		if c < 'a' || c > 'z' {
			return -1
		}
		n = n*26 + int(c-'a')
	}
	return n
}
