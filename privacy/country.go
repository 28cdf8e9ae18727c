package privacy

import (
	"strings"

	"rebound/rtb"
)

// region is the privacy regime that a country implies.
type region uint8

const (
	regionUnknown region = iota // no country, or an unknown code
	regionOther
	regionGDPR
	regionUS
)

// DefaultGDPRCountries are the countries in which a request without a gdpr flag
// is treated as subject to the GDPR: the European Economic Area, including the
// territories of its members that belong to the Union and have their own codes,
// the United Kingdom and Switzerland.
const DefaultGDPRCountries = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE " +
	"IS LI NO EU AX GP MQ GF RE YT MF GB CH"

// usCountries are the United States and the territories under its federal law.
const usCountries = "US PR GU VI AS MP UM"

// regions maps a country's code to its region.
type regions struct {
	alpha2 [26 * 26]region
	alpha3 [26 * 26 * 26]region
}

// newRegions builds the map; gdpr holds codes of either length. It returns the
// codes that do not exist.
func newRegions(gdpr []string) (m *regions, unknown []string) {
	m = new(regions)
	three := make(map[string]string)
	for _, pair := range strings.Fields(rtb.CountryCodes) {
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

// of returns the region of a country code in any letter case.
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

// letters returns the index of a code of two or three ASCII letters, and -1 for
// anything else.
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
