package campaigns

import (
	"bytes"
	"strconv"
	"strings"

	"rebound/internal/spec"
	"rebound/rtb"
)

// safety is where a line must not be shown, by the rules of its advertiser, its
// campaign and its own.
type safety struct {
	cats       []category
	words      words
	domains    names
	bundles    names
	publishers texts
	chain      chainRule
	adsTxt     adsTxtRule
}

// category is a blocked category of one taxonomy.
type category struct {
	tax int
	id  string
}

// chainRule holds a line's requirements for supply chains.
type chainRule uint8

const (
	chainOff chainRule = iota
	chainValid
	chainComplete
)

var chainNames = []string{"off", "valid", "complete"}

// adsTxtRule holds a line's requirements for ads.txt.
type adsTxtRule uint8

const (
	adsTxtOff adsTxtRule = iota
	adsTxtListed
	adsTxtDirect
)

var adsTxtNames = []string{"off", "listed", "direct"}

// empty reports whether there are no rules.
func (s *safety) empty() bool {
	return len(s.cats) == 0 && s.words.empty() && len(s.domains)+len(s.bundles)+len(s.publishers) == 0 &&
		s.chain == chainOff && s.adsTxt == adsTxtOff
}

// check reports whether the place is safe, as [rtb.NoBidNone] or why not.
// exchange is the id of the requesting exchange.
func (s *safety) check(f *Facts, exchange string) rtb.NoBidReason {
	switch {
	case f.blocked(s.domains, s.bundles), len(s.publishers) > 0 && publisherIn(s.publishers, f.o.Supply.PublisherID, exchange),
		s.categoryBlocked(&f.o.Supply), s.words.on(f):
		return rtb.NoBidSiteBlocked
	case s.chain != chainOff && !f.schain().satisfies(s.chain):
		return rtb.NoBidSChain
	case s.adsTxt != adsTxtOff && !f.sellers().satisfies(s.adsTxt):
		return rtb.NoBidAdsTxt
	}
	return rtb.NoBidNone
}

// publisherIn reports whether a list has a publisher's id, alone or with the
// exchange's.
func publisherIn(t texts, id []byte, exchange string) bool {
	if len(id) == 0 {
		return false
	}
	var buf [256]byte
	return t.has(id) || t.has(append(append(append(buf[:0], exchange...), '/'), id...))
}

// categoryBlocked compares the place's categories with the blocked ones. If the
// line blocks categories, but none in the taxonomy of the request, they cannot
// be compared and the place counts as blocked. A place without categories
// passes.
func (s *safety) categoryBlocked(u *rtb.Supply) bool {
	if len(s.cats) == 0 || len(u.Cats) == 0 {
		return false
	}
	tax, comparable := max(u.CatTax, 1), false
	for i := range s.cats {
		c := &s.cats[i]
		if c.tax != tax {
			continue
		}
		comparable = true
		for _, cat := range u.Cats {
			if len(cat) >= len(c.id) && rtb.EqualFold(cat[:len(c.id)], c.id) && (len(cat) == len(c.id) || cat[len(c.id)] == '-') {
				return true
			}
		}
	}
	return !comparable
}

// words are single words and phrases.
type words struct {
	single  []*textSet
	phrases [][]byte // with a space around each word
}

func (w *words) empty() bool { return len(w.single)+len(w.phrases) == 0 }

// on reports whether one of the words is in the page's address.
func (w *words) on(f *Facts) bool {
	if w.empty() || len(f.o.Supply.Page) == 0 {
		return false
	}
	f.pageWords()
	for _, set := range w.single {
		for _, t := range f.terms {
			if set.hashSet.has(t) {
				return true
			}
		}
	}
	for _, p := range w.phrases {
		if bytes.Contains(f.words, p) {
			return true
		}
	}
	return false
}

// wordSink collects words and phrases.
type wordSink struct {
	single  []uint64
	phrases [][]byte
}

func (s *wordSink) add(row string) bool {
	text := appendWords(nil, []byte(strings.ToLower(row)))
	if len(text) < 3 || len(text) > foldBytes {
		return false
	}
	if bytes.Count(text, []byte{' '}) > 2 {
		s.phrases = append(s.phrases, text)
		return true
	}
	h, ok := hashFold(text[1 : len(text)-1])
	s.single = append(s.single, h)
	return ok
}

func (s *wordSink) words() (w words) {
	if len(s.single) > 0 {
		w.single = []*textSet{{newHashSet(s.single)}}
	}
	w.phrases = s.phrases
	return w
}

func (c *compiler) words(path string, entries []string) (out words) {
	var own wordSink
	files, _ := c.fill(path, entries, &own, "a word, a phrase, or file:name")
	for _, name := range files {
		var sink wordSink
		if w, ok := c.table(path, "words", name, &sink, func() any { return sink.words() }).(words); ok {
			out.single = append(out.single, w.single...)
			out.phrases = append(out.phrases, w.phrases...)
		}
	}
	w := own.words()
	out.single = append(out.single, w.single...)
	out.phrases = append(out.phrases, w.phrases...)
	return out
}

// safety compiles the rules of one level.
func (c *compiler) safety(path string, s *SafetySpec) safety {
	out := safety{
		words:      c.words(path+".block_words", s.BlockWords),
		domains:    c.hosts(path+".block_domains", s.BlockDomains),
		bundles:    c.bundles(path+".block_bundles", s.BlockBundles),
		publishers: c.texts(path+".block_publishers", s.BlockPublishers, wantPublisher),
		chain:      chainRule(c.choose(path+".require_schain", s.RequireSChain, chainNames, 0)),
		adsTxt:     adsTxtRule(c.choose(path+".require_ads_txt", s.RequireAdsTxt, adsTxtNames, 0)),
	}
	if out.adsTxt != adsTxtOff && !c.in.HasSellers {
		c.Add(path+".require_ads_txt", spec.Quote(s.RequireAdsTxt), "supply.sellers, the table of ads.txt to look sellers up in")
	}
	for i, text := range s.BlockCat {
		cat := category{1, text}
		if tax, id, ok := strings.Cut(text, ":"); ok {
			n, err := strconv.Atoi(tax)
			cat = category{n, id}
			if err != nil || n < 1 {
				cat.id = ""
			}
		} else if !strings.HasPrefix(text, "IAB") {
			cat.id = ""
		}
		if cat.id == "" || len(cat.id) > 32 {
			c.Add(spec.At(path+".block_cat", i), spec.Quote(text), "a category of Content Taxonomy 1.0 such as IAB25, or taxonomy:id such as 7:483")
		}
		out.cats = append(out.cats, cat)
	}
	return out
}

const wantPublisher = "a publisher's id, exchange/id, or file:name"

// plus returns the rules of both levels; nil if there are none. Where the lower level has
// no rules of its own, they are the upper level's.
func (s *safety) plus(o safety) *safety {
	switch {
	case o.empty():
		return s
	case s == nil:
		return &o
	}
	join := func(a, b words) words {
		return words{append(a.single[:len(a.single):len(a.single)], b.single...), append(a.phrases[:len(a.phrases):len(a.phrases)], b.phrases...)}
	}
	return &safety{
		cats: append(s.cats[:len(s.cats):len(s.cats)], o.cats...), words: join(s.words, o.words),
		domains: append(s.domains[:len(s.domains):len(s.domains)], o.domains...), bundles: append(s.bundles[:len(s.bundles):len(s.bundles)], o.bundles...),
		publishers: append(s.publishers[:len(s.publishers):len(s.publishers)], o.publishers...),
		chain:      max(s.chain, o.chain), adsTxt: max(s.adsTxt, o.adsTxt),
	}
}
