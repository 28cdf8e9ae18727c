package campaigns

import (
	"fmt"
	"math"
	"strings"

	"rebound/internal/spec"
	"rebound/rtb"
)

// geo is where the devices of a line may be. Most places are countries, which are bits; the
// others are looked at only if the country of the device has one.
type geo struct {
	include, exclude []place // that are more than a country, or not in one
	anywhere         bool    // nothing is included
	includesAbroad   bool    // an included place has no country
	excludesAbroad   bool    // an excluded place has none
	excludesCountry  bool    // an excluded place has one
	exact            bool    // a place has a postcode or a circle
	countries        *countryTable
}

// countryTable has the bits of all countries. Lines whose places are in the same countries
// share it.
type countryTable [(26*26 + 63) / 64]countryBits

// countryBits are sets of 64 countries, by their index.
type countryBits struct {
	in, out         uint64 // the whole country is included, or excluded
	partIn, partOut uint64 // include, or exclude, has a place in it
}

// countryIndex numbers countries; -1 is no country.
func countryIndex(c rtb.Country) int {
	if c == (rtb.Country{}) {
		return -1
	}
	return int(c[0]-'A')*26 + int(c[1]-'A')
}

// place is one place. All fields that are set must match.
type place struct {
	country rtb.Country
	prefix  bool // zip matches all postcodes that begin with it
	circle  bool
	region  region // of the country; 0: any
	city    string // lower case
	zip     string // lower case, without spaces
	lat     float64
	lon     float64
	km      float64
}

// region is the code of a part of a country (ISO 3166-2, without the country) as a number,
// without regard to case.
type region uint32

// maxRegion is the length of the longest code of a region.
const maxRegion = 3

// newRegion returns the region with a code; 0 if no region has such a code.
func newRegion[T ~string | ~[]byte](code T) (r region) {
	if len(code) == 0 || len(code) > maxRegion {
		return 0
	}
	r = 1 // tells codes of different lengths apart
	for i := range len(code) {
		r = r<<8 | region(rtb.Lower(code[i]))
	}
	return r
}

// where is the location of the device as the request gives it.
type where struct {
	country  rtb.Country
	index    int // of the country
	region   region
	device   *rtb.Device
	lat, lon float64
}

// coarse is how many parts a degree has if privacy forbids exact locations: a
// hundredth is at most 1.1 km (TCF 2.2, special feature 1).
const coarse = 100

func (w *where) set(o *rtb.Opportunity, precise bool) {
	d := &o.Device
	*w = where{device: d, lat: d.Lat, lon: d.Lon}
	country := d.Country
	if len(country) == 0 {
		country = o.Signals.Country
	}
	w.country, _ = rtb.ParseCountry(country)
	w.index, w.region = countryIndex(w.country), regionOf(d.Region, w.country)
	if !precise {
		w.lat, w.lon = math.Trunc(d.Lat*coarse)/coarse, math.Trunc(d.Lon*coarse)/coarse
	}
}

// TargetsExactPlaces reports whether the lines with this targeting depend on a postcode or
// on coordinates, which a recorded request may have lost.
func (t *Targeting) TargetsExactPlaces() bool { return t.exact }

// matches reports whether the device is in one of the included places and in
// none of the excluded ones. A place does not match what the request leaves
// out, except that a line that excludes countries also excludes an unknown
// country.
func (g *geo) matches(w *where) bool {
	if w.index < 0 {
		return (g.anywhere || g.includesAbroad && anyHolds(g.include, w)) && !g.excludesCountry && !(g.excludesAbroad && anyHolds(g.exclude, w))
	}
	bits, bit := &g.countries[w.index/64], uint64(1)<<(w.index%64)
	if bits.out&bit != 0 {
		return false
	}
	if !g.anywhere && bits.in&bit == 0 && !((g.includesAbroad || bits.partIn&bit != 0) && anyHolds(g.include, w)) {
		return false
	}
	return !((g.excludesAbroad || bits.partOut&bit != 0) && anyHolds(g.exclude, w))
}

func anyHolds(places []place, w *where) bool {
	for i := range places {
		if places[i].holds(w) {
			return true
		}
	}
	return false
}

func (p *place) holds(w *where) bool {
	d := w.device
	switch {
	case p.country != (rtb.Country{}) && p.country != w.country,
		p.region != 0 && p.region != w.region,
		p.city != "" && !rtb.EqualFold(d.City, p.city),
		p.zip != "" && !zipIs(d.ZIP, p.zip, p.prefix),
		p.circle && !(d.HasGeo && distanceKM(w.lat, w.lon, p.lat, p.lon) <= p.km):
		return false
	}
	return true
}

// regionOf returns the region of a device in a country. Senders write the code of ISO 3166-2
// with and without the country.
func regionOf(code []byte, country rtb.Country) region {
	if len(code) > 3 && code[2] == '-' && rtb.EqualFold(code[:2], country.String()) {
		code = code[3:]
	}
	return newRegion(code)
}

// zipIs compares postcodes without regard to case and spaces.
func zipIs(got []byte, want string, prefix bool) bool {
	at := 0
	for _, c := range got {
		if c == ' ' || c == '-' {
			continue
		}
		if at == len(want) {
			return prefix
		}
		if rtb.Lower(c) != want[at] {
			return false
		}
		at++
	}
	return at == len(want)
}

// earthKM is the mean radius of the earth.
const earthKM = 6371.0088

// distanceKM returns the length in kilometres of the great circle between two
// places in degrees (haversine).
func distanceKM(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	dLat, dLon := (lat2-lat1)*rad/2, (lon2-lon1)*rad/2
	a := math.Sin(dLat)*math.Sin(dLat) + math.Cos(lat1*rad)*math.Cos(lat2*rad)*math.Sin(dLon)*math.Sin(dLon)
	return 2 * earthKM * math.Asin(math.Sqrt(min(a, 1)))
}

func (c *compiler) geo(path string, s *GeoSpec) *geo {
	if len(s.Include) == 0 && len(s.Exclude) == 0 {
		return nil
	}
	include, exclude := c.places(path+".include", s.Include), c.places(path+".exclude", s.Exclude)
	g := newGeo(include, exclude)
	g.countries = shared(c, "countries", fmt.Sprint(*g.countries), g.countries)
	return shared(c, "geo", fmt.Sprintf("%#v %#v", include, exclude), g)
}

// newGeo compiles included and excluded places.
func newGeo(include, exclude []place) *geo {
	g := &geo{anywhere: len(include) == 0, countries: &countryTable{}}
	for _, p := range include {
		g.exact = g.exact || p.zip != "" || p.circle
		bits, bit := g.bits(p.country)
		switch {
		case bit != 0 && p == place{country: p.country}:
			bits.in |= bit
			continue
		case bit != 0:
			bits.partIn |= bit
		default:
			g.includesAbroad = true
		}
		g.include = append(g.include, p)
	}
	for _, p := range exclude {
		g.exact = g.exact || p.zip != "" || p.circle
		bits, bit := g.bits(p.country)
		g.excludesCountry = g.excludesCountry || bit != 0
		switch {
		case bit != 0 && p == place{country: p.country}:
			bits.out |= bit
			continue
		case bit != 0:
			bits.partOut |= bit
		default:
			g.excludesAbroad = true
		}
		g.exclude = append(g.exclude, p)
	}
	return g
}

// bits returns where the bit of a country is, and the bit; 0 for no country.
func (g *geo) bits(c rtb.Country) (*countryBits, uint64) {
	n := countryIndex(c)
	if n < 0 {
		return nil, 0
	}
	return &g.countries[n/64], 1 << (n % 64)
}

// zipSpaces removes what people write between the parts of a postcode.
var zipSpaces = strings.NewReplacer(" ", "", "-", "")

func (c *compiler) places(path string, specs []PlaceSpec) []place {
	out := make([]place, 0, len(specs))
	for i := range specs {
		out = append(out, c.place(spec.At(path, i), &specs[i]))
	}
	return out
}

func (c *compiler) place(path string, s *PlaceSpec) place {
	p := place{city: strings.ToLower(s.City), km: s.KM}
	if s.Country != "" {
		var ok bool
		if p.country, ok = rtb.ParseCountry(s.Country); !ok {
			c.Add(path+".country", spec.Quote(s.Country), "a code of ISO 3166-1 such as CA or CAN")
		}
	}
	if s.Region != "" {
		code := strings.TrimPrefix(strings.ToUpper(s.Region), p.country.String()+"-")
		if p.region = newRegion(code); p.region == 0 || s.Country == "" {
			c.Add(path+".region", spec.Quote(s.Region), "a code of ISO 3166-2 such as ON, and its country")
		}
	}
	zip, prefix := strings.CutSuffix(s.ZIP, "*")
	p.zip, p.prefix = zipSpaces.Replace(strings.ToLower(zip)), prefix
	if s.ZIP != "" && p.zip == "" {
		c.Add(path+".zip", spec.Quote(s.ZIP), "a postcode such as 10001, or its beginning such as M5V*")
	}
	if s.ZIP != "" && s.Country == "" {
		c.Add(path+".country", "nothing", "the country of the postcode")
	}
	c.circle(path, s, &p)
	if *s == (PlaceSpec{}) {
		c.Add(path, "nothing", "a country, or a table with country, region, city, zip, or lat, lon and km")
	}
	return p
}

func (c *compiler) circle(path string, s *PlaceSpec, p *place) {
	if s.Lat == nil && s.Lon == nil && s.KM == 0 {
		return
	}
	if s.Lat == nil || s.Lon == nil || s.KM == 0 {
		c.Add(path, "an incomplete circle", "lat, lon and km together")
		return
	}
	p.circle, p.lat, p.lon = true, *s.Lat, *s.Lon
	number := func(x float64) string { return spec.Float(x) }
	if !(p.lat >= -90 && p.lat <= 90) {
		c.Add(path+".lat", number(p.lat), "-90 to 90")
	}
	if !(p.lon >= -180 && p.lon <= 180) {
		c.Add(path+".lon", number(p.lon), "-180 to 180")
	}
	if !(p.km >= 0.1 && p.km <= 20000) {
		c.Add(path+".km", number(p.km), "0.1 to 20000")
	}
	if p.km < 1 && p.km >= 0.1 {
		c.Warn(path+".km", number(p.km), "1 or more: if privacy forbids exact locations, they are rounded to about a kilometre")
	}
}
