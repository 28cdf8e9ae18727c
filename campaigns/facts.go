package campaigns

import (
	"bytes"

	"rebound/rtb"
)

// Facts are what lines ask about one request, worked out once, when the first
// line asks. It is reused: [Facts.Begin] starts the next request. It is not safe
// for concurrent use.
type Facts struct {
	o       *rtb.Opportunity
	supply  *Supply
	asi     []string
	precise bool
	user    bool // what the request says of its user may be read

	have   factSet
	device deviceFacts
	where  where
	domain hostKeys // site.domain
	page   hostKeys // the host of site.page
	app    bundleKeys
	words  []byte   // the page's path, in lower case, a blank around each word
	terms  []uint64 // hashes of the words
	chain  chainState
	seller sellerState
}

// factSet says which facts are worked out.
type factSet uint16

const (
	factDevice factSet = 1 << iota
	factWhere
	factHosts
	factWords
	factChain
	factSeller
)

// Begin starts a request. supply may be nil; asi are the domains that the
// exchange's own node in a supply chain may have, none for any. precise and user
// tell whether privacy lets exact coordinates, and the user's own keywords and
// segments, be used.
func (f *Facts) Begin(o *rtb.Opportunity, supply *Supply, asi []string, precise, user bool) {
	f.o, f.supply, f.asi, f.precise, f.user, f.have = o, supply, asi, precise, user, 0
}

// keywords are those of the request that may be read.
func (f *Facts) keywords() [][]byte {
	if f.user {
		return f.o.Keywords
	}
	return f.o.Keywords[:min(f.o.UserKeywords, len(f.o.Keywords))]
}

// End forgets the request, whose memory is borrowed.
func (f *Facts) End() {
	f.o, f.supply, f.asi, f.have = nil, nil, nil, 0
	f.where = where{}
}

func (f *Facts) first(x factSet) bool {
	if f.have&x != 0 {
		return false
	}
	f.have |= x
	return true
}

func (f *Facts) devices() *deviceFacts {
	if f.first(factDevice) {
		f.device.set(&f.o.Device)
	}
	return &f.device
}

func (f *Facts) place() *where {
	if f.first(factWhere) {
		f.where.set(f.o, f.precise)
	}
	return &f.where
}

// hosts works out the keys of site and app.
func (f *Facts) hosts() {
	if !f.first(factHosts) {
		return
	}
	u := &f.o.Supply
	f.domain, f.page, f.app = hostKeys{}, hostKeys{}, bundleKeys{}
	if u.App {
		f.app.set(u.Bundle)
		return
	}
	if len(u.Domain) > 0 {
		f.domain.set(u.Domain)
	}
	if len(u.Page) > 0 {
		f.page.set(u.Page)
	}
	if !f.domain.known {
		f.domain = f.page
	}
}

// listed tells whether one of the lists holds the site or the app.
func (f *Facts) listed(h hosts, b bundles) bool {
	if len(h) == 0 && len(b) == 0 {
		return false
	}
	f.hosts()
	if f.o.Supply.App {
		return b.has(&f.app)
	}
	return h.has(&f.domain)
}

// blocked is as listed, and looks at the page's host too: a site may name itself
// differently from where it is.
func (f *Facts) blocked(h hosts, b bundles) bool {
	if f.listed(h, b) {
		return true
	}
	return len(h) > 0 && !f.o.Supply.App && f.page.known && f.page.full != f.domain.full && h.has(&f.page)
}

// unnamed tells that the request names neither site nor app.
func (f *Facts) unnamed() bool {
	f.hosts()
	if f.o.Supply.App {
		return !f.app.known
	}
	return !f.domain.known
}

// maxPage is how much of a page's address is searched for words.
const maxPage = 2048

// pageWords works the words of the page's path out.
func (f *Facts) pageWords() {
	if !f.first(factWords) {
		return
	}
	page := f.o.Supply.Page
	page = page[:min(len(page), maxPage)]
	if i := bytes.Index(page, []byte("://")); i >= 0 {
		page = page[i+3:]
		if i = bytes.IndexAny(page, "/?#"); i < 0 {
			i = len(page)
		}
		page = page[i:]
	}
	f.words = appendWords(f.words[:0], page)
	f.terms = f.terms[:0]
	from := 1
	for i := 1; i < len(f.words); i++ {
		if f.words[i] == ' ' {
			if h, ok := hashFold(f.words[from:i]); ok {
				f.terms = append(f.terms, h)
			}
			from = i + 1
		}
	}
}

// appendWords appends the words of a text, percent-encoding undone, in lower
// case (ASCII), a blank before, between and behind them. What is not a letter or
// digit parts words; bytes beyond ASCII are letters.
func appendWords(dst, text []byte) []byte {
	dst = append(dst, ' ')
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' && i+2 < len(text) {
			hi, lo := hexDigit(text[i+1]), hexDigit(text[i+2])
			if hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		c = lower(c)
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c >= 0x80:
			dst = append(dst, c)
		case dst[len(dst)-1] != ' ':
			dst = append(dst, ' ')
		}
	}
	if dst[len(dst)-1] != ' ' {
		dst = append(dst, ' ')
	}
	return dst
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
