package campaigns

import (
	"bytes"

	"rebound/audiences"
	"rebound/rtb"
)

// Facts are properties of one request that lines target. Each is computed once,
// when the first line needs it. Facts are reused: [Facts.Begin] starts the next
// request. They are not safe for concurrent use.
type Facts struct {
	o       *rtb.Opportunity
	supply  *Supply
	asi     []string
	precise bool
	user    bool // the user's own keywords and segments may be read

	request audiences.Request

	have               factSet
	class, os, browser uint16 // of the device; 0: unknown

	where  where
	domain nameKeys // site.domain
	page   nameKeys // the host of site.page
	app    nameKeys
	store  nameKeys // of the app's page in a store
	names  nameFilter
	words  []byte   // the page's path in lower case, with a space around each word
	terms  []uint64 // hashes of the words
	chain  chainState
	seller sellerState

	checked *safety         // the rules that were checked last
	verdict rtb.NoBidReason // of them
	clock   zoneClock
}

// factSet is the set of facts that have been computed.
type factSet uint16

const (
	factClass factSet = 1 << iota
	factOS
	factBrowser
	factWhere
	factHosts
	factWords
	factChain
	factSeller
)

// Begin starts a request. supply may be nil. asi are the domains that the
// exchange's own node in a supply chain may have; none allows any. precise and
// user report whether privacy permits exact coordinates, and the user's own
// keywords and segments.
func (f *Facts) Begin(o *rtb.Opportunity, supply *Supply, asi []string, precise, user bool) {
	f.o, f.supply, f.asi, f.precise, f.user, f.have = o, supply, asi, precise, user, 0
	f.checked = nil
	f.request = audiences.Request{Opportunity: o, User: user}
}

// Request returns the request as the rules of audiences test it.
func (f *Facts) Request() *audiences.Request { return &f.request }

// keywords returns the keywords of the request that may be read.
func (f *Facts) keywords() [][]byte {
	if f.user {
		return f.o.Keywords
	}
	return f.o.Keywords[:min(f.o.UserKeywords, len(f.o.Keywords))]
}

// End drops the request, whose memory is borrowed.
func (f *Facts) End() {
	f.o, f.supply, f.asi, f.have, f.checked = nil, nil, nil, 0, nil
	f.where, f.request = where{}, audiences.Request{}
}

func (f *Facts) first(x factSet) bool {
	if f.have&x != 0 {
		return false
	}
	f.have |= x
	return true
}

func (f *Facts) deviceClass() uint16 {
	if f.first(factClass) {
		f.class = classOf(&f.o.Device)
	}
	return f.class
}

func (f *Facts) deviceOS() uint16 {
	if f.first(factOS) {
		f.os = osOf(&f.o.Device)
	}
	return f.os
}

func (f *Facts) deviceBrowser() uint16 {
	if f.first(factBrowser) {
		f.browser = browserOf(&f.o.Device)
	}
	return f.browser
}

func (f *Facts) place() *where {
	if f.first(factWhere) {
		f.where.set(f.o, f.precise)
	}
	return &f.where
}

// hosts computes the keys of the site and the app.
func (f *Facts) hosts() {
	if f.first(factHosts) {
		f.setNames()
	}
}

func (f *Facts) setNames() {
	f.setHosts()
	f.names = nameFilter{}
	for _, k := range [...]*nameKeys{&f.domain, &f.page, &f.app, &f.store} {
		f.names.addKeys(k)
	}
}

func (f *Facts) setHosts() {
	u := &f.o.Supply
	domain := cleanHost(u.Domain)
	f.domain.setHost(domain)
	f.page.forget()
	f.app.forget()
	f.store.forget()
	if u.App {
		f.app.setBundle(u.Bundle)
		if len(u.StoreURL) > 0 {
			f.store.setBundle(u.StoreURL)
		}
		if !f.app.known {
			f.app = f.store
		}
		return
	}
	if len(u.Page) > 0 {
		f.setPage(domain)
	}
	if !f.domain.known {
		f.domain = f.page
	}
}

// setPage computes the keys of the page's host, which most sites also give as domain.
func (f *Facts) setPage(domain []byte) {
	if host := cleanHost(f.o.Supply.Page); bytes.Equal(host, domain) {
		f.page = f.domain
	} else {
		f.page.setHost(host)
	}
}

// mayBeIn reports whether lists with a filter may hold a name of the site or the app.
func (f *Facts) mayBeIn(list *nameFilter) bool {
	f.hosts()
	return list.meets(&f.names)
}

// safe is the check of safety rules, which is made once for lines with the same rules.
func (f *Facts) safe(s *safety, exchange string) rtb.NoBidReason {
	if f.checked != s {
		f.checked, f.verdict = s, s.check(f, exchange)
	}
	return f.verdict
}

// listed reports whether one of the lists has the site or the app.
func (f *Facts) listed(h, b names) bool {
	if len(h) == 0 && len(b) == 0 {
		return false
	}
	f.hosts()
	if f.o.Supply.App {
		return b.has(&f.app)
	}
	return h.has(&f.domain)
}

// blocked reports whether one of the lists holds any name of the site or the app. A
// site may name a domain that differs from the host of its page; an app has a store
// id, a page in a store, and the domain of its maker.
func (f *Facts) blocked(h, b names) bool {
	if f.listed(h, b) {
		return true
	}
	if len(h) == 0 && len(b) == 0 {
		return false
	}
	if f.o.Supply.App {
		return f.store.known && f.store.full != f.app.full && b.has(&f.store) || f.domain.known && h.has(&f.domain)
	}
	return len(h) > 0 && f.page.known && f.page.full != f.domain.full && h.has(&f.page)
}

// unnamed reports whether the request names neither a site nor an app.
func (f *Facts) unnamed() bool {
	f.hosts()
	if f.o.Supply.App {
		return !f.app.known
	}
	return !f.domain.known
}

// maxPage is how many bytes of a page's address are searched for words.
const maxPage = 2048

// pageWords computes the words of the page's path.
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

// appendWords appends the words of a percent-encoded text in lower case
// (ASCII), with a space before, between and after them. Characters other than
// letters and digits separate words; bytes beyond ASCII are letters.
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
		c = rtb.Lower(c)
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
