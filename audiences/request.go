package audiences

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Request is the part of a bid request that rules may test.
type Request struct {
	Opportunity *rtb.Opportunity
	// User reports whether privacy permits the user's own keywords and segments.
	User bool
}

// Limits of one rule about the request.
const (
	maxKeywords = 1000
	maxKeyword  = 256 // bytes
)

// requestTest is a rule about the request; one of its fields is set.
type requestTest struct {
	keywords  map[string]struct{} // folded
	segments  map[string]struct{} // ids of provider and taxonomy
	provider  string
	taxonomy  int
	countries []rtb.Country
	cats      []string
}

// request compiles a rule about the request.
func (c *compiler) request(r *Rule, at place) node {
	c.leaves++
	c.cost++
	t := &requestTest{}
	switch {
	case r.RequestKeyword != nil:
		t.keywords = c.words(at.path+".request.keyword", r.RequestKeyword)
	case r.RequestGeo != nil:
		c.countries(t, r.RequestGeo, at.path+".request.geo")
	case r.RequestCat != nil:
		for i, cat := range r.RequestCat {
			if cat = strings.ToUpper(strings.TrimSpace(cat)); cat == "" {
				c.Add(spec.At(at.path+".request.cat", i), "an empty category", "a category such as IAB17 or IAB17-44")
			}
			t.cats = append(t.cats, cat)
		}
	default:
		t.provider, t.taxonomy = r.RequestSegment.Provider, r.RequestSegment.SegTax
		t.segments = map[string]struct{}{}
		for _, id := range r.RequestSegment.ID {
			t.segments[id] = struct{}{}
		}
		if _, empty := t.segments[""]; empty || len(t.segments) == 0 {
			c.Add(at.path+".request.segment.id", "none", "at least one segment id")
		}
	}
	return node{kind: nodeRequest, request: t}
}

func (c *compiler) countries(t *requestTest, codes Values, path string) {
	for i, code := range codes {
		country, ok := rtb.ParseCountry(strings.TrimSpace(code))
		if !ok {
			c.Add(spec.At(path, i), spec.Quote(code), "a country code of ISO 3166-1, such as DE or DEU")
		}
		t.countries = append(t.countries, country)
	}
}

// words returns the keywords in the form in which they are compared.
func (c *compiler) words(path string, list Values) map[string]struct{} {
	if len(list) == 0 || len(list) > maxKeywords {
		c.Add(path, strconv.Itoa(len(list))+" keywords", "1 to "+strconv.Itoa(maxKeywords))
	}
	out := map[string]struct{}{}
	for i, w := range list {
		var buf [maxKeyword]byte
		folded, ok := foldKeyword(buf[:0], []byte(w))
		if !ok || len(folded) == 0 {
			c.Add(spec.At(path, i), spec.Quote(w), "a keyword of 1 to "+strconv.Itoa(maxKeyword)+" bytes")
		}
		out[string(folded)] = struct{}{}
	}
	return out
}

// foldKeyword appends a keyword in lower case, without white space around it. It returns
// false for one that does not fit into dst, whose capacity is maxKeyword.
func foldKeyword(dst, word []byte) ([]byte, bool) {
	for len(word) > 0 && word[0] <= ' ' {
		word = word[1:]
	}
	for len(word) > 0 && word[len(word)-1] <= ' ' {
		word = word[:len(word)-1]
	}
	for len(word) > 0 {
		r, n := utf8.DecodeRune(word)
		if len(dst)+utf8.UTFMax > cap(dst) {
			return dst, false
		}
		dst, word = utf8.AppendRune(dst, unicode.ToLower(r)), word[n:]
	}
	return dst, true
}

// holds reports whether a request meets the rule.
func (t *requestTest) holds(r *Request) bool {
	o := r.Opportunity
	switch {
	case t.keywords != nil:
		return t.hasKeyword(r)
	case t.segments != nil:
		return r.User && t.hasSegment(o.UserSegments)
	case t.cats != nil:
		for _, cat := range o.Supply.Cats {
			if t.hasCategory(cat) {
				return true
			}
		}
		return false
	}
	code := o.Device.Country
	if len(code) == 0 {
		code = o.Signals.Country
	}
	country, ok := rtb.ParseCountry(code)
	for _, c := range t.countries {
		if ok && c == country {
			return true
		}
	}
	return false
}

// parts returns the parts of the request that the rule tests.
func (t *requestTest) parts() rtb.Parts {
	switch {
	case t.keywords != nil:
		return rtb.PartKeywords
	case t.segments != nil:
		return rtb.PartSegments
	case t.cats != nil:
		return rtb.PartCategories
	}
	return 0
}

func (t *requestTest) hasKeyword(r *Request) bool {
	list := r.Opportunity.Keywords
	if !r.User {
		list = list[:min(r.Opportunity.UserKeywords, len(list))]
	}
	var buf [maxKeyword]byte
	for _, w := range list {
		if folded, ok := foldKeyword(buf[:0], w); ok {
			if _, found := t.keywords[string(folded)]; found {
				return true
			}
		}
	}
	return false
}

func (t *requestTest) hasSegment(list []rtb.UserSegment) bool {
	for i := range list {
		s := &list[i]
		if t.taxonomy != 0 && s.SegTax != t.taxonomy || t.provider != "" && !rtb.EqualFold(s.Provider, t.provider) {
			continue
		}
		if _, ok := t.segments[string(s.ID)]; ok {
			return true
		}
	}
	return false
}

// hasCategory reports whether a category is one of the rule's, or below one.
func (t *requestTest) hasCategory(cat []byte) bool {
	for _, want := range t.cats {
		if len(cat) >= len(want) && rtb.EqualFold(cat[:len(want)], want) && (len(cat) == len(want) || cat[len(want)] == '-') {
			return true
		}
	}
	return false
}
